"""Secret values do not stand in log lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "[secret]"
WORD: Final = 4
"""A shorter value is only hidden where it stands alone, or it would hide half of every line."""


class Masks:
    """The secret values of each app, as one pattern."""

    def __init__(self) -> None:
        self._patterns: dict[str, re.Pattern[str]] = {}

    def put(self, app_id: str, values: Iterable[str]) -> None:
        """Replace an app's values by these."""
        parts = {part for value in values for part in _parts(value)}
        self._patterns.pop(app_id, None)
        if parts:
            longest_first = sorted(parts, key=len, reverse=True)
            self._patterns[app_id] = re.compile("|".join(map(_pattern, longest_first)))

    def hide(self, app_id: str, text: str) -> str:
        """Return the text with the app's values hidden."""
        pattern = self._patterns.get(app_id)
        return text if pattern is None else pattern.sub(HIDDEN, text)


def _parts(value: str) -> Iterable[str]:
    """A value of several lines is printed line by line."""
    yield from (line for line in value.splitlines() if len(line) > 1)
    if value.strip():
        yield value


def _pattern(value: str) -> str:
    escaped = re.escape(value)
    return escaped if len(value) >= WORD else rf"(?<!\w){escaped}(?!\w)"
