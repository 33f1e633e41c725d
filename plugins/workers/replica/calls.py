"""Calls and jobs that a worker has not answered yet."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Final

from kernel.public import (
    Caller,
    HandlerFailed,
    NotFound,
    Unavailable,
    WorkerLost,
    WorkerStopped,
)

MAX_PENDING: Final = 64
"""Calls of one worker at the same moment, and as many jobs."""

Progress = Callable[[bytes], Awaitable[None]]


class Call:
    """One of them; `request_id` is what audit rows of its writes carry."""

    __slots__ = ("caller", "future", "is_job", "latest", "progress", "request_id", "unwanted")

    def __init__(
        self, caller: Caller | None, request_id: str, progress: Progress | None = None
    ) -> None:
        self.caller = caller
        self.request_id = request_id
        self.progress = progress
        self.latest: bytes | None = None
        """How far the job is, as long as that was not handed on."""
        self.unwanted = False
        """Whether its end was asked for, to which who has not got it yet pays no heed."""
        self.is_job = progress is not None
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()


class Calls:
    """Those of one worker, by ids that are ours: a worker can settle no other's."""

    def __init__(self) -> None:
        self._pending: dict[str, Call] = {}
        self._jobs = 0
        """How many of them are jobs."""
        self._numbers = itertools.count(1)
        self._idle = asyncio.Event()
        self._idle.set()
        self._lost = False

    def next_id(self) -> str:
        """Make an id for an rpc."""
        return f"r{next(self._numbers)}"

    def find(self, call_id: str) -> Call | None:
        """Return a call that is still pending."""
        return self._pending.get(call_id)

    def add(self, call_id: str, call: Call) -> None:
        """Keep a call while somebody waits for it, until `remove`. Raises Unavailable."""
        if self._lost:
            raise Unavailable("the worker is gone")
        same = self._jobs if call.is_job else len(self._pending) - self._jobs
        if same >= MAX_PENDING:
            raise Unavailable("the worker has too many calls to answer already")
        if call_id in self._pending:
            raise Unavailable("the worker is at this job already")
        self._pending[call_id] = call
        if call.is_job:
            self._jobs += 1
        else:
            self._idle.clear()

    def remove(self, call_id: str, call: Call) -> None:
        """Nobody waits for a call any more."""
        del self._pending[call_id]
        call.future.cancel()
        if call.is_job:
            self._jobs -= 1
        elif len(self._pending) == self._jobs:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no rpc is pending; jobs may take long, and are given again."""
        await self._idle.wait()

    def succeed(self, call_id: str, result: bytes) -> None:
        """Hand a result to who waits for it; nobody may."""
        call = self._pending.get(call_id)
        if call is not None and not call.future.done():
            call.future.set_result(result)

    def fail(self, call_id: str, message: str) -> None:
        """Hand on an error that the app's own code raised, or that stands for its answer."""
        call = self._pending.get(call_id)
        if call is None or call.future.done():
            return
        unknown = not call.is_job and message.strip().lower().startswith("unknown method")
        call.future.set_exception(NotFound(message) if unknown else HandlerFailed(message))
        call.future.exception()  # seen, whether or not somebody still waits

    def lose_all(self, why: str, *, on_purpose: bool) -> None:
        """The worker is gone: nobody waits in vain, and no call is accepted any more."""
        self._lost = True
        lost = WorkerStopped if on_purpose else WorkerLost
        for call in self._pending.values():
            if not call.future.done():
                call.future.set_exception(lost(why))
                call.future.exception()
