"""The app's log."""

from __future__ import annotations

from .wire import Wire


class Log:
    """Writes lines to the app's log; that of a context names its call or job."""

    def __init__(self, wire: Wire, call_id: str | None = None) -> None:
        self._wire = wire
        self._call_id = call_id

    def debug(self, *parts: object) -> None:
        """Log a message for debugging."""
        self._wire.log("debug", parts, self._call_id)

    def info(self, *parts: object) -> None:
        """Log a message."""
        self._wire.log("info", parts, self._call_id)

    def warn(self, *parts: object) -> None:
        """Log a warning."""
        self._wire.log("warn", parts, self._call_id)

    warning = warn

    def error(self, *parts: object) -> None:
        """Log an error."""
        self._wire.log("error", parts, self._call_id)
