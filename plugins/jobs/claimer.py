"""Looks for jobs that the workers of this process can run, when told and now and then."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import anyio

from .config import JobsConfig
from .models import Asked, Claimed
from .slots import Slots
from .store import JobsStore

SOONEST: Final = 0.02
"""Seconds between two looks at what has become due."""


class Claimer:
    """`running` names the workers that take jobs, `start` runs what was claimed under a token,
    `announce` tells the other processes that an app has jobs due."""

    def __init__(
        self,
        config: JobsConfig,
        store: JobsStore,
        slots: Slots,
        *,
        running: Callable[[], Sequence[str]],
        start: Callable[[Claimed, str], None],
        announce: Callable[[str], None],
    ) -> None:
        self._config = config
        self._store = store
        self._slots = slots
        self._running = running
        self._start = start
        self._announce = announce
        self._doubtful: list[str] = []
        """Tokens of claims whose answer never came."""
        self._woken = anyio.Event()
        self._next_look = 0.0

    def feed(self, app_ids: Iterable[str] | None) -> None:
        """Jobs of these apps are due, or of any."""
        if self._slots.feed(app_ids):
            self._woken.set()

    def wake(self) -> None:
        """A place has become free."""
        self._woken.set()

    def look_in(self, seconds: float) -> None:
        """Some jobs become due then."""
        self._next_look = min(self._next_look, time.monotonic() + max(seconds, SOONEST))
        self._woken.set()

    async def step(self) -> None:
        """Wait until there may be something, and claim it. Raises Unavailable."""
        with anyio.move_on_after(self._next_look - time.monotonic()):
            await self._woken.wait()
        self._woken = anyio.Event()
        await self.give_back()
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + self._config.poll
            self._slots.feed(None)
            if self._running():
                await self._ripen()
        while asked := self._slots.ask(self._running()):
            await self._claim(asked)
            if time.monotonic() >= self._next_look:
                break  # busy apps could keep it here for as long as they have jobs

    async def give_back(self) -> None:
        """Give back what was claimed by statements whose answers were lost. Raises Unavailable."""
        if self._doubtful:
            await self._store.unclaim(self._doubtful)
            self._doubtful.clear()

    async def _claim(self, asked: Sequence[Asked]) -> None:
        token = str(uuid.uuid4())
        self._doubtful.append(token)
        try:
            jobs = await self._store.claim(asked, token, self._config.lease)
        except BaseException:
            self._slots.answered(asked, None)
            raise
        self._doubtful.remove(token)
        self._slots.answered(asked, jobs)
        for job in jobs:
            self._start(job, token)

    async def _ripen(self) -> None:
        ripened = await self._store.ripen()
        for app_id in ripened.apps:
            self._announce(app_id)
        if ripened.next is not None:
            self.look_in(ripened.next)
