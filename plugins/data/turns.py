"""What takes long, a few at a time for each app or user: nobody has all the connections for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from kernel.public import Unavailable

SEARCHES: Final = 3
"""Searches of an app that are under way at once: fewer than there are connections for them."""
MAX_SEARCHES_WAITING: Final = 100

LISTS: Final = 2
"""Complete lists of one user: half of those that a process reads at once; each has a connection."""
MAX_LISTS_WAITING: Final = 20
"""A page of a client may ask for several."""

MAX_WAIT: Final = 5.0
"""Seconds that one waits for its turn, in memory and not on a connection."""


class Turns:
    """Each holder, an app or a user, has `at_once` of them; so many more may wait."""

    def __init__(self, at_once: int, waiting: int, message: str) -> None:
        self._at_once = at_once
        self._most = at_once + waiting
        self._message = message
        self._turns: dict[str, anyio.Semaphore] = {}
        self._present: dict[str, int] = {}

    @asynccontextmanager
    async def turn(self, holder: str | None) -> AsyncGenerator[None]:
        """Hold a turn; the server itself, None, needs none.

        Raises Unavailable where too many wait, or for too long.
        """
        if holder is None:
            yield
            return
        present = self._present.get(holder, 0)
        if present >= self._most:
            raise self._refusal()
        turns = self._turns.setdefault(holder, anyio.Semaphore(self._at_once))
        self._present[holder] = present + 1
        try:
            await self._take(turns)
            try:
                yield
            finally:
                turns.release()
        finally:
            self._present[holder] -= 1
            if not self._present[holder]:
                del self._present[holder], self._turns[holder]

    async def _take(self, turns: anyio.Semaphore) -> None:
        try:
            with anyio.fail_after(MAX_WAIT):
                await turns.acquire()
        except TimeoutError:
            raise self._refusal() from None

    def _refusal(self) -> Unavailable:
        return Unavailable(self._message, retry_after=5)
