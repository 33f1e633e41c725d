"""Handlers on threads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from .context import Work


class Threads:
    """Runs handlers on threads. Quick ones share a thread, and those that block have one each."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, answer: Callable[..., None]) -> None:
        self._answer = answer
        self._pool = ThreadPoolExecutor(64, thread_name_prefix="handler")
        self._due: deque[Work] = deque()
        """Handlers that wait for a thread."""
        self._is_called = False
        """Whether a thread is woken in this turn."""
        self._is_waking = False
        """Whether a thread was woken that has not begun."""
        self._futures: set[Future[None]] = set()

    def check(self) -> None:
        """Start the first thread. Raises where the account has no room for it."""
        self._pool.submit(int)

    def add(self, work: Work) -> None:
        """Run a handler in the next turn."""
        if not self._is_called:
            self._is_called = True
            self.loop.call_soon(self.call)
        self._due.append(work)

    def call(self) -> None:
        """Have a thread run what is due."""
        self._is_called = False
        if not self._is_waking:  # else that one sees what was added
            self._wake()

    async def run(self, work: Callable[[], None]) -> None:
        """Run what may block, and wait for it."""
        await self.loop.run_in_executor(self._pool, work)

    def list_futures(self) -> list[asyncio.Future[None]]:
        """Return what to wait for until no thread runs a handler."""
        return [asyncio.wrap_future(future) for future in list(self._futures)]

    def _wake(self) -> None:
        """Have a thread run what waits for one. It wakes another thread where more than one handler
        waits."""
        self._is_waking = True
        try:
            future = self._pool.submit(self._run_due)
        except RuntimeError:  # no further thread can start; one of those that run takes it
            return
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    def _run_due(self) -> None:
        self._is_waking = False
        while self._due:
            try:
                work = self._due.popleft()
            except IndexError:  # another thread has it
                return
            if self._due and not self._is_waking:
                self._wake()
            self._answer(*work)
