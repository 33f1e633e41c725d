"""Secret values are hidden in log lines."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Final

from kernel.public import Mask

KEEP: Final = 3600.0
"""Seconds that a value stays hidden at least after it was replaced, or its app removed: the worker
that has it goes on until another is up, and then ends what it was at."""
MAX_REPLACED: Final = 1000
"""Replaced values of one app that stay hidden, the newest ones."""


class Masks:
    """The secret values of each app."""

    def __init__(self) -> None:
        self._apps: dict[str, _Values] = {}

    def put(self, app_id: str, values: Iterable[str]) -> None:
        """Replace an app's values by these; the old ones stay hidden for a while."""
        known = self._apps.setdefault(app_id, _Values())
        known.put(frozenset(values))
        if not known.mask:
            del self._apps[app_id]

    def hide(self, app_id: str, text: str) -> str:
        """Return the text with the app's values hidden."""
        known = self._apps.get(app_id)
        return text if known is None else known.mask.hide(text)

    def keep_only(self, app_ids: Collection[str]) -> None:
        """Drop the values of other apps once those have been gone for a while."""
        now = time.monotonic()
        for app_id, known in list(self._apps.items()):
            if app_id in app_ids:
                known.gone_at = None
            elif known.gone_at is None:
                known.gone_at = now
            elif now - known.gone_at >= KEEP:
                del self._apps[app_id]


class _Values:
    """An app's values: the current ones, and replaced ones that a worker may still have."""

    __slots__ = ("_current", "_replaced", "gone_at", "mask")

    def __init__(self) -> None:
        self._current: frozenset[str] = frozenset()
        self._replaced: dict[str, float] = {}
        """When each was replaced, the oldest first."""
        self.mask = Mask(())
        self.gone_at: float | None = None
        """Since when the app is known to be gone."""

    def put(self, values: frozenset[str]) -> None:
        """Replace the current values."""
        now = time.monotonic()
        replaced = self._replaced | dict.fromkeys(self._current - values, now)
        kept = [
            (value, at) for value, at in replaced.items() if value not in values and now - at < KEEP
        ]
        before = self._current | self._replaced.keys()
        self._current, self._replaced = values, dict(kept[-MAX_REPLACED:])
        self.gone_at = None
        if (hidden := values | self._replaced.keys()) != before:
            self.mask = Mask(hidden)
