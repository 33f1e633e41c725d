"""Items that arrive at the same time go to the database in one statement."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, NamedTuple, Self, TypeVar

import anyio
import msgspec
import structlog

from kernel.errors import BadRequest, Unavailable, failure

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


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Which errors are worth another try, and the seconds before it, which double each time."""

    on: tuple[type[Exception], ...] = (Unavailable,)
    first: float = 0.5
    longest: float = 30.0


class Batcher(Generic[T, R]):
    """Collects the items that arrive while a flush is under way, and flushes them together.

    `flush` receives a batch and returns a result for each item, an exception for one that failed,
    or None when there are no results. When it raises an error of `retry`, the batch is sent again
    before later items; an item whose own result is such an error goes behind them. When it raises
    BadRequest for several items, each is sent alone, so that one bad item fails alone. Any other
    error is the result of every item.

    A lone item is flushed at once. `linger` is the number of seconds between two flushes, or,
    unless `eager`, between the first item and its flush. `size` returns an item's bytes.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception] | None]],
        limits: BatchLimits = BatchLimits(),  # noqa: B008 - immutable
        *,
        size: Callable[[T], int] = lambda item: 0,
        linger: float = 0.0,
        eager: bool = True,
        retry: Retry | None = None,
    ) -> None:
        self._flush = flush
        self._limits = limits
        self._size = size
        self._linger = linger
        self._eager = eager
        self._retry = retry or Retry(on=())
        self._queue = deque[_Waiting]()
        self._wake = anyio.Event()
        self._open = False
        self._quiet_until = 0.0
        self._failures = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, item: T) -> None:
        """Take an item; an error of its flush is logged. Raises Unavailable when too many wait."""
        self._put(item, None)

    async def submit(self, item: T) -> R:
        """Take an item, and return its result. Raises its error, or Unavailable."""
        if not self._open:
            raise Unavailable("the server stops")
        self._put(item, future := asyncio.Future[R]())
        return await future

    @asynccontextmanager
    async def running(self, drain: float = 5.0) -> AsyncGenerator[Self]:
        """Flush in the background; at the end what is left, for at most `drain` seconds.

        Items that are left even then are counted by `len`, and their callers get Unavailable.
        """
        self._open = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run, done := anyio.Event())
            try:
                yield self
            finally:
                self._open = False
                self._wake.set()
                with anyio.CancelScope(shield=True), anyio.move_on_after(drain):
                    await done.wait()
                tasks.cancel_scope.cancel()
                self._stop(self._queue)
                self._queue = deque(w for w in self._queue if w.future is None)

    def _put(self, item: T, future: asyncio.Future[R] | None) -> None:
        if len(self._queue) >= self._limits.waiting:
            raise Unavailable(self._limits.full)
        self._queue.append(_Waiting(item, future))
        self._wake.set()

    async def _run(self, done: anyio.Event) -> None:
        while self._open or self._queue:
            if self._queue:
                pause = self._quiet_until - anyio.current_time() if self._eager else self._linger
                await anyio.sleep(max(0.0, pause))  # 0: the items of this turn of the event loop
                await self._send(self._take())
                self._quiet_until = anyio.current_time() + self._linger
            else:
                self._wake = anyio.Event()
                await self._wake.wait()
        done.set()

    def _take(self) -> list[_Waiting]:
        taken, size = list[_Waiting](), 0
        while self._queue and len(taken) < self._limits.items and size < self._limits.bytes:
            taken.append(waiting := self._queue.popleft())
            size += self._size(waiting.item)
        return taken

    async def _send(self, batch: list[_Waiting]) -> None:
        try:
            results = await self._flush([waiting.item for waiting in batch])
        except Exception as error:
            if isinstance(error, BadRequest) and len(batch) > 1:
                for waiting in batch:
                    await self._send([waiting])
                return
            results = [error] * len(batch)
        except BaseException:
            self._stop(batch, retry_after=None)  # it may be stored
            self._queue.extendleft(reversed([each for each in batch if each.future is None]))
            raise
        again = list[_Waiting]()
        for waiting, result in zip(batch, results or [None] * len(batch), strict=True):
            if isinstance(result, self._retry.on):
                again.append(waiting)
            else:
                waiting.settle(result)
        await self._send_again(again, first=len(again) == len(batch))

    async def _send_again(self, again: list[_Waiting], *, first: bool) -> None:
        """Put items back: the whole batch before later items, single ones behind them."""
        self._failures = self._failures + 1 if again else 0
        if again:
            self._queue = deque([*again, *self._queue] if first else [*self._queue, *again])
            pause = self._retry.first * 2.0 ** min(self._failures - 1, 30)
            await anyio.sleep(min(pause, self._retry.longest))

    def _stop(self, batch: Iterable[_Waiting], retry_after: int | None = 1) -> None:
        for waiting in batch:
            if waiting.future is not None:
                waiting.settle(Unavailable("the server stops", retry_after=retry_after))


class _Waiting(NamedTuple):
    """An item; `future` is None when no caller waits for the result."""

    item: Any
    future: asyncio.Future[Any] | None

    def settle(self, result: object) -> None:
        """Give the caller the result; a caller that was cancelled needs none."""
        failed = isinstance(result, Exception)
        if self.future is None:
            if failed:
                log.error("an item of a batch is lost", **failure(result))
        elif failed and not self.future.done():
            self.future.set_exception(result)
        elif not self.future.done():
            self.future.set_result(result)
