"""Searches that look at every record: a few at a time for each app."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from kernel.public import Unavailable

AT_ONCE: Final = 3
"""Fewer than there are connections for them, so that no app has them all."""

MAX_WAITING: Final = 100
MAX_WAIT: Final = 5.0
"""Searches of an app that wait for their turn, and for how many seconds."""


class Turns:
    """Who searches waits for the others of the same app, in memory and not on a connection."""

    def __init__(self) -> None:
        self._apps: dict[str, anyio.Semaphore] = {}
        self._inside: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, app_id: str) -> AsyncGenerator[None]:
        """Have one of the turns of an app. Raises Unavailable where too many wait, or too long."""
        if self._inside[app_id] >= AT_ONCE + MAX_WAITING:
            raise _crowded()
        turns = self._apps.setdefault(app_id, anyio.Semaphore(AT_ONCE))
        self._inside[app_id] += 1
        try:
            await _taken(turns)
            try:
                yield
            finally:
                turns.release()
        finally:
            self._inside[app_id] -= 1
            if not self._inside[app_id]:
                del self._inside[app_id], self._apps[app_id]


async def _taken(turns: anyio.Semaphore) -> None:
    try:
        with anyio.fail_after(MAX_WAIT):
            await turns.acquire()
    except TimeoutError:
        raise _crowded() from None


def _crowded() -> Unavailable:
    return Unavailable("too many searches of this app are under way", retry_after=5)
