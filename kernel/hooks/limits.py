"""The time limit of a hook: only time counts in which the event loop was free."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import suppress
from types import coroutine
from typing import Any, Final, TypeVar

from kernel.errors import FIX_PLUGIN, HookTimeout
from kernel.errors.source_lines import steps_waiting

T = TypeVar("T")
PARTS: Final = 10
"""Timers in a row that make up a limit."""
LET_PASS: Final = "let CancelledError pass: catch Exception, not BaseException"


class TimeLimit:
    """Cancels a task after so many seconds, and again after as many more.

    The seconds are parts, and each counts once, however late its timer is. So code that blocks the
    event loop takes one part from the hooks that wait meanwhile, and not all of their time.
    """

    __slots__ = ("_before", "_cancels", "_left", "_loop", "_pause", "_task", "_timer")

    def __init__(self, task: asyncio.Task[Any], seconds: float) -> None:
        self._task = task
        self._before = task.cancelling()
        self._cancels = 0
        self._pause = min(seconds, 86_400.0) / PARTS
        self._left = PARTS
        self._loop = task.get_loop()
        self._timer = self._loop.call_later(self._pause, self._tick)

    @property
    def is_ignored(self) -> bool:
        """Whether the task went on after it was cancelled."""
        return self._cancels > 1

    def end(self) -> bool:
        """Stop the timer; return whether the limit has cancelled the task, and no one else has."""
        self._timer.cancel()
        requests = self._task.cancelling()
        for _ in range(self._cancels):
            requests = self._task.uncancel()
        return self._cancels > 0 and requests <= self._before

    def _tick(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._left = PARTS
            self._cancels += self._task.cancel()
        self._timer = self._loop.call_later(self._pause, self._tick)


@coroutine
def run_limited(
    work: Coroutine[Any, Any, T], waits_for: Any, seconds: float
) -> Generator[Any, Any, T]:
    """Run the rest of a coroutine that `waits_for` something, and cancel it after so many seconds.

    One that swallows its cancellation, and still waits after as many seconds more, is abandoned.
    Raises HookTimeout.
    """
    task = asyncio.current_task()
    assert task is not None
    limit = TimeLimit(task, seconds)
    finishing = _finish(work, waits_for, limit)
    del waits_for  # as in `_finish`
    try:
        return (yield from finishing)
    finally:
        if limit.end():
            remedy = LET_PASS if limit.is_ignored else FIX_PLUGIN
            raise HookTimeout(f"a hook of a plugin took more than {seconds:g} seconds", remedy)


def _finish(
    work: Coroutine[Any, Any, T], waits_for: Any, limit: TimeLimit
) -> Generator[Any, Any, T]:
    """Run a coroutine that waits to its end, as `await` does."""
    while True:
        try:
            answer = yield waits_for
        except BaseException as error:
            if limit.is_ignored:
                _abandon(work, error)
                raise
            resume = work.throw
            value = error
        else:
            resume = work.send
            value = answer
        waits_for = None  # a future that failed holds its error: see `errors.forget_frames`
        try:
            waits_for = resume(value)
        except StopIteration as end:
            return end.value
        finally:
            del value


def _abandon(work: Coroutine[Any, Any, object], error: BaseException) -> None:
    """Give up a coroutine that swallows what is thrown into it; keep where it waits."""
    error.steps = steps_waiting(work)  # type: ignore[attr-defined]
    with suppress(BaseException):
        work.close()
