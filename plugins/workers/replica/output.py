"""What a worker writes, on its way into the log of its app."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from functools import cached_property

import msgspec

from kernel.public import LogLevel
from plugins.workers.child.protocol import AppEvent, describe_value, to_text
from plugins.workers.host import AppLogs

from .attempt import Attempt
from .masking import Mask, mask_json, mask_text


class Output:
    """The output of one attempt, without the secrets that it was started with."""

    def __init__(
        self, attempt: Attempt, app_id: str, secrets: Collection[str], logs: AppLogs
    ) -> None:
        self._attempt = attempt
        self._app_id = app_id
        self._secrets = secrets
        self._logs = logs
        self.tail: deque[str] = deque(maxlen=30)
        """The last lines while it came up, for the message when it does not."""

    @cached_property
    def _mask(self) -> Mask:
        """Hides the secrets, from whichever plugin.

        Made for the first output that may have one: it takes time.
        """
        return Mask(self._secrets)

    def write(self, level: LogLevel, text: str, request_id: str = "") -> None:
        """Write a line into the log, for a request or job where that is known."""
        text = self._hide(text)
        if self._attempt.is_starting:
            self.tail.append(text[:400])
        self._write_hidden(level, text, request_id)

    def write_event(self, event: AppEvent) -> None:
        """Write an event that the app reports into the log."""
        encoded = msgspec.json.encode({"name": event.name, "data": event.data})
        hidden = mask_json(msgspec.Raw(encoded), self._mask)
        self._write_hidden("event", self._hide(to_text(bytes(hidden))))

    def describe(self, value: msgspec.Raw) -> str:
        """Make a text of a value, with secrets hidden in the texts within it."""
        return describe_value(mask_json(value, self._mask))

    def describe_error(self, error: msgspec.Raw) -> str:
        """Make a text of the error of a handler, for its caller."""
        return mask_text(self.describe(error), self._mask)

    def _hide(self, text: str) -> str:
        return self._mask.hide(text) if self._mask else text

    def _write_hidden(self, level: LogLevel, text: str, request_id: str = "") -> None:
        if not self._attempt.is_disowned:
            self._logs.write(self._app_id, level, text, request_id)
