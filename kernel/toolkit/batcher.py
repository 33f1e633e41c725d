"""Items that arrive at the same time go to the database in one statement."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass
from typing import Any, Generic, NamedTuple, Self, TypeVar

import anyio
import msgspec
import structlog

from kernel.errors import BadRequest, Unavailable, failure
from kernel.toolkit.backoff import Backoff

T = TypeVar("T")
R = TypeVar("R")

log = structlog.get_logger("caudex.toolkit")


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a batcher.

    A batch has at most `items` items and ends with the one that brings it to `bytes`. When
    `waiting` items wait already, the next one is refused with the text `full`.
    """

    items: int = 500
    bytes: int = 4_000_000
    waiting: int = 10_000
    full: str = "too many requests at once"


class Retry(Backoff, frozen=True, kw_only=True):
    """Which errors are worth another try, and the pauses before it."""

    on: tuple[type[Exception], ...] = (Unavailable,)


_LIMITS = BatchLimits()
_NO_RETRY = Retry(on=())


@dataclass(eq=False)
class Batcher(Generic[T, R]):
    """Collects the items that arrive while a flush is under way, and flushes them together.

    `flush` receives a batch and returns a result for each item, an exception for one that failed,
    or None when there are no results. When it raises an error of `retry`, the batch is sent again
    before later items; an item whose own result is such an error goes behind them. When it raises
    BadRequest for several items, each is sent alone, so that one bad item fails alone. Any other
    error is the result of every item.

    A lone item is flushed at once, or `delay` seconds later. `linger` is the number of seconds
    between two flushes. `size` returns an item's bytes.
    """

    flush: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception] | None]]
    limits: BatchLimits = _LIMITS
    _: KW_ONLY
    size: Callable[[T], int] = lambda item: 0
    delay: float = 0.0
    linger: float = 0.0
    retry: Retry = _NO_RETRY

    def __post_init__(self) -> None:
        self._queue = deque[_Waiting]()
        self._sending = list[_Waiting]()
        self._wake = asyncio.Event()
        self._open = False

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, item: T) -> None:
        """Take an item; an error of its flush is logged. Raises Unavailable when too many wait."""
        self._put(item, None)

    async def submit(self, item: T) -> R:
        """Take an item, and return its result. Raises its error, or Unavailable."""
        if not self._open:
            raise Unavailable("the server stops")
        future = asyncio.Future[R | Exception]()
        self._put(item, future)
        result = await future
        if not isinstance(result, Exception):
            return result
        try:
            raise result
        finally:
            del result, future  # see `errors.forget_frames`

    @asynccontextmanager
    async def running(self, drain: float = 5.0) -> AsyncGenerator[Self]:
        """Flush in the background; at the end flush the rest, for at most `drain` seconds.

        `len` counts items that remain even then; their callers get Unavailable.
        """
        self._open = True
        async with anyio.create_task_group() as tasks:
            drained = anyio.Event()
            tasks.start_soon(self._run, drained)
            try:
                yield self
            finally:
                self._open = False
                self._wake.set()
                with anyio.move_on_after(drain, shield=True):
                    await drained.wait()
                tasks.cancel_scope.cancel()
                self._stop()

    def _put(self, item: T, future: asyncio.Future[R | Exception] | None) -> None:
        if len(self._queue) >= self.limits.waiting:
            raise Unavailable(self.limits.full)
        self._queue.append(_Waiting(item, future))
        self._wake.set()

    async def _run(self, drained: anyio.Event) -> None:
        failures = 0
        while self._open or self._queue:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            # The wake-up has taken a turn of the event loop: the other items of that turn are here.
            if self.delay and self._open:
                await asyncio.sleep(self.delay)
            self._sending = self._take_batch()
            failed = await self._send(self._sending)
            failures = failures + 1 if failed else 0
            if len(failed) == len(self._sending):
                self._queue.extendleft(reversed(failed))
            else:
                self._queue.extend(failed)
            self._sending = []
            if failed:
                await asyncio.sleep(self.retry.pause(failures))
            elif self.linger and self._open:
                await asyncio.sleep(self.linger)
        drained.set()

    def _take_batch(self) -> list[_Waiting]:
        batch = list[_Waiting]()
        size = 0
        while self._queue and len(batch) < self.limits.items and size < self.limits.bytes:
            waiting = self._queue.popleft()
            batch.append(waiting)
            size += self.size(waiting.item)
        return batch

    async def _send(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Flush a batch, and return the items to send again."""
        try:
            results = await self.flush([waiting.item for waiting in batch])
        except Exception as error:
            if isinstance(error, BadRequest) and len(batch) > 1:
                return [failed for waiting in batch for failed in await self._send([waiting])]
            return self._settle(batch, [error] * len(batch))
        else:
            return self._settle(batch, results or [None] * len(batch))
        finally:
            del batch  # its futures hold the error: see `errors.forget_frames`

    def _settle(self, batch: list[_Waiting], results: Sequence[object]) -> list[_Waiting]:
        """Give each caller its result, and return the items to send again."""
        to_repeat = list[_Waiting]()
        for waiting, result in zip(batch, results, strict=True):
            if isinstance(result, self.retry.on):
                to_repeat.append(waiting)
            else:
                waiting.settle(result)
        return to_repeat

    def _stop(self) -> None:
        """Refuse the items whose callers wait, and keep the others to be counted."""
        for waiting in self._queue:
            if waiting.future is not None:
                waiting.settle(Unavailable("the server stops"))
        for waiting in self._sending:
            if waiting.future is not None:  # it may be stored: the caller must look first
                waiting.settle(Unavailable("the server stops", retry_after=None))
        remaining = [*self._sending, *self._queue]
        self._queue = deque(waiting for waiting in remaining if waiting.future is None)


class _Waiting(NamedTuple):
    """An item; `future` is None when no caller waits for the result."""

    item: Any
    future: asyncio.Future[Any] | None

    def settle(self, result: object) -> None:
        """Give the caller the result; a caller that was cancelled needs none."""
        if self.future is not None:
            if not self.future.done():
                self.future.set_result(result)
        elif isinstance(result, Exception):
            log.error("an item of a batch is lost", **failure(result))
