"""Secrets do not stand in what a worker says, where that leaves by another way than the log.

The rule is the log's (`masking.py` of the plugin logs), which may be off, and knows the secrets of
now rather than those that a worker was started with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, cast

import msgspec

from .protocol import MAX_LINE

HIDDEN: Final = "[secret]"
WORD: Final = 4
"""A shorter value is only hidden where it stands alone, or it would hide half of every text."""

_TOO_LARGE: Final = msgspec.Raw(msgspec.json.encode(f"over {MAX_LINE // 2**20} MB"))


class Mask:
    """The secret values of one worker, as one pattern."""

    def __init__(self, values: Iterable[str]) -> None:
        parts = {part for value in values for part in _parts(value)}
        longest_first = sorted(parts, key=len, reverse=True)
        joined = "|".join(map(_pattern, longest_first))
        self._pattern = re.compile(joined) if joined else None

    def hide(self, text: str) -> str:
        """Return a text with the values hidden; to be cut afterwards, or half a value is left."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def hide_within(self, value: msgspec.Raw) -> msgspec.Raw:
        """Return JSON with the values hidden in texts that look different there than they are.

        Without a backslash they look the same, and `hide` finds them when the JSON has become a
        text. So it does in a value that is a bare text.
        """
        raw = bytes(value)
        if self._pattern is None or b"\\" not in raw or raw.lstrip().startswith(b'"'):
            return value
        if len(raw) > MAX_LINE:
            return _TOO_LARGE
        try:
            found = msgspec.json.decode(raw)
            hidden = self._hide_in(found)
            return value if hidden == found else msgspec.Raw(msgspec.json.encode(hidden))
        except (msgspec.DecodeError, RecursionError):
            return value

    def _hide_in(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, list):
            return [self._hide_in(item) for item in cast("list[Any]", value)]
        if isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            return {self.hide(key): self._hide_in(member) for key, member in members.items()}
        return value


def _parts(value: str) -> Iterable[str]:
    """A value of several lines is printed line by line."""
    yield from (line for line in value.splitlines() if len(line) > 1)
    if value.strip():
        yield value


def _pattern(value: str) -> str:
    escaped = re.escape(value)
    return escaped if len(value) >= WORD else rf"(?<!\w){escaped}(?!\w)"
