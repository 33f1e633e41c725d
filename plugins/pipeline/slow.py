"""What is known of slow writes, so that no other write waits for the next one like it."""

from __future__ import annotations

import asyncio
from typing import Final

from kernel.public import Query

REMEMBERED_SECONDS: Final = 10.0
"""How long a slow write is remembered. Then the next one shows whether it is slow still."""
MAX_REMEMBERED: Final = 1000


class SlowWrites:
    """What made a write slow a moment ago: a record that it wrote to, or its text.

    A record may be locked by any other writer. A text may be slow for all records, as by a trigger.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._until: dict[str | bytes, float] = {}

    def note(self, query: Query, key: str | None, *, timed_out: bool) -> None:
        """Remember a write that waited for a lock, or one that timed out while it ran.

        `key` names its record: it is empty for a create, and None for a write that is never sent
        with others.
        """
        if key:
            self._add(key)
        if timed_out or key == "":
            self._add(query)

    def contains(self, name: str | bytes) -> bool:
        """Whether writes to a record, or of a text, were slow a moment ago."""
        if not self._until:  # nearly always
            return False
        until = self._until.get(name)
        if until is None:
            return False
        if until < self._loop.time():
            del self._until[name]
            return False
        return True

    def _add(self, name: str | bytes) -> None:
        """Keep a name; the one that was kept first makes room."""
        self._until.pop(name, None)
        if len(self._until) >= MAX_REMEMBERED:
            del self._until[next(iter(self._until))]
        self._until[name] = self._loop.time() + REMEMBERED_SECONDS
