"""Calls and jobs that a worker has not answered yet."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Final

from kernel.public import (
    Caller,
    HandlerFailed,
    HandlerUnavailable,
    NotFound,
    Unavailable,
    WorkerLost,
    WorkerStopped,
)

MAX_PENDING: Final = 64
"""Calls at once, and as many jobs."""

Progress = Callable[[bytes], Awaitable[None]]


class Call:
    """A call or a job; audit rows of its writes carry `request_id`."""

    __slots__ = (
        "caller", "deadline", "future", "is_cancelled", "is_job", "latest", "progress",
        "request_id", "seconds",
    )  # fmt: skip

    def __init__(
        self,
        future: asyncio.Future[bytes],
        caller: Caller | None,
        request_id: str,
        progress: Progress | None = None,
    ) -> None:
        self.future = future
        self.caller = caller
        self.request_id = request_id
        self.progress = progress
        self.latest: bytes | None = None
        """The progress of the job that is not passed on yet."""
        self.is_cancelled = False
        """Whether it was cancelled; a worker that has not received it ignores that."""
        self.is_job = progress is not None
        self.seconds = 0.0
        self.deadline = math.inf
        """How long it may take, and until when; see `Calls.limit_time`."""

    def succeed(self, result: bytes) -> None:
        """Settle it with its result."""
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, message: str, *, unavailable: bool = False) -> None:
        """Settle it with an error of the app's code, or one that replaces its answer."""
        if unavailable:
            self.fail_with(HandlerUnavailable(message))
        elif not self.is_job and message.strip().lower().startswith("unknown method"):
            self.fail_with(NotFound(message))
        else:
            self.fail_with(HandlerFailed(message))

    def fail_with(self, error: Exception) -> None:
        """Settle it with an error."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # marks it as seen, although the caller may be gone


class Calls:
    """The pending calls of one worker, by ids of our own: no worker can settle another's."""

    def __init__(self) -> None:
        self._pending: dict[str, Call] = {}
        self._jobs = 0
        self.find = self._pending.get
        """Return the call with an id, or None if none is pending."""
        self._numbers = itertools.count(1)
        self._idle: asyncio.Event | None = None
        """Set when no rpc is pending any more, for those that wait for that."""
        self._is_lost = False
        self._sweep_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    # Kept, because before Python 3.12 each look for it is a system call.
    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def make_future(self) -> asyncio.Future[bytes]:
        """Make the future of a call."""
        return self._loop.create_future()

    def make_id(self) -> str:
        """Make an id for an rpc."""
        return f"r{next(self._numbers)}"

    def add(self, call_id: str, call: Call) -> None:
        """Keep a call until `remove`. Raises Unavailable."""
        if self._is_lost:
            raise Unavailable("the worker is gone")
        alike = self._jobs if call.is_job else len(self._pending) - self._jobs
        if alike >= MAX_PENDING:
            raise Unavailable("the worker has too many calls to answer already")
        if call_id in self._pending:
            raise Unavailable("the worker is at this job already")
        self._pending[call_id] = call
        self._jobs += call.is_job

    def limit_time(self, call: Call, seconds: float) -> None:
        """Fail a pending call that is not settled in this time. One timer serves all calls."""
        loop = self._loop
        call.seconds = seconds
        call.deadline = loop.time() + seconds
        if call.deadline < self._sweep_at:
            self._stop_timer()
            self._sweep_at = call.deadline
            self._timer = loop.call_later(seconds, self._sweep)

    def _sweep(self) -> None:
        """Fail what is late, and look again when the next call may be."""
        now = self._loop.time()
        self._timer = None
        self._sweep_at = math.inf
        running = [call for call in self._pending.values() if not call.future.done()]
        for call in sorted(running, key=lambda call: call.deadline):
            if call.deadline <= now:
                call.fail_with(HandlerFailed(f"rpc timeout ({call.seconds:g}s)"))
            elif call.deadline < math.inf:
                self._sweep_at = call.deadline
                self._timer = self._loop.call_later(call.deadline - now, self._sweep)
                break

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def remove(self, call_id: str, call: Call) -> None:
        """Drop a call that has ended, or whose caller is gone."""
        del self._pending[call_id]
        if not call.future.done():
            call.future.cancel()
        self._jobs -= call.is_job
        if self._idle is not None and len(self._pending) == self._jobs:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until no rpc is pending. Jobs may take long, and run again elsewhere."""
        if self._idle is None:
            self._idle = asyncio.Event()
        if len(self._pending) > self._jobs:
            self._idle.clear()
            await self._idle.wait()

    def lose_all(self, why: str, *, on_purpose: bool) -> None:
        """Fail every call, because the worker is gone, and accept none any more."""
        self._is_lost = True
        self._stop_timer()
        kind = WorkerStopped if on_purpose else WorkerLost
        for call in self._pending.values():
            call.fail_with(kind(why))
