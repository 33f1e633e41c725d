"""The calls that the owner of a child process gets about it."""

from __future__ import annotations

from kernel.public import LogLevel

from .protocol import to_text


class Listener:
    """The owner of a child. Called on the event loop; must not block."""

    def on_line(self, line: bytes) -> None:
        """Handle a whole line of its output."""
        self.on_noise("stdout", to_text(line))

    def on_noise(self, level: LogLevel, text: str) -> None:
        """Handle output that is no message."""

    def on_unreadable(self, ids: list[str], why: str) -> None:
        """Handle an unreadable line that may be the outcome of one of these calls."""

    def on_gone(self, ending: str) -> None:
        """Handle its end, after all of its output; `ending` says how it ended."""
