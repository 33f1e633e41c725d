"""When keys were used last: written once a minute, however often they are used."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from time import monotonic
from typing import Final

from kernel.public import Batcher, Statements, Unavailable

from . import store

EVERY: Final = 45.0
"""Seconds after which a further use of a key is written."""
MAX_KEYS: Final = 10_000
"""Keys whose last use is remembered."""


class KeyUses:
    """Notes uses at the cost of a look at the clock."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._noted: dict[str, float] = {}
        self._batcher = Batcher[tuple[str, str], None](self._write, linger=0.2)

    def running(self) -> AbstractAsyncContextManager[object]:
        """Write what is noted, for as long as the context lasts."""
        return self._batcher.running()

    def note(self, key_id: str, address: str) -> None:
        """Note that a key is used."""
        now = monotonic()
        if now - self._noted.get(key_id, -EVERY) < EVERY:
            return
        if len(self._noted) >= MAX_KEYS:
            self._noted.clear()
        self._noted[key_id] = now
        with suppress(Unavailable):  # too many wait
            self._batcher.add((key_id, address))

    async def _write(self, uses: Sequence[tuple[str, str]]) -> None:
        last = dict(uses)
        await store.note_uses(self._statements, list(last), list(last.values()))
