"""Handlers on the event loop."""

from __future__ import annotations

import asyncio
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any

from .context import Work
from .wire import Wire


class Coroutines:
    """Runs handlers on the event loop, those of one turn in one task."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, wire: Wire, answer: Callable[..., Coroutine[Any, Any, None]]) -> None:
        self._wire = wire
        self._answer = answer
        self._ready: deque[Work] = deque()
        """What begins in the next turn of the event loop."""
        self.tasks: set[asyncio.Task[None]] = set()

    def add(self, work: Work) -> None:
        """Run a handler in the next turn."""
        if not self._ready:
            self.begin(self._run_ready())
        self._ready.append(work)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a task."""
        self.tasks.add(self.loop.create_task(self._run(work)))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine of a task. A callback at its end would take a turn of the loop."""
        try:
            await work
        finally:
            task: Any = asyncio.current_task()
            self.tasks.discard(task)

    async def _run_ready(self) -> None:
        """Run coroutines one after the other in one task, until one of them waits for something.
        That one keeps the task, and another task runs the rest. Outcomes are written then."""
        if len(self.tasks) == 1:  # else another task may have an outcome in this turn as well
            self._wire.hold()
        while self._ready:
            await _inline(self._answer(*self._ready.popleft()), self._go_on)
        self._wire.release()

    def _go_on(self) -> None:
        self._wire.release()
        if self._ready:
            self.begin(self._run_ready())


@types.coroutine
def _inline(
    work: Coroutine[Any, Any, None], waits: Callable[[], None]
) -> Generator[Any, Any, None]:
    """Run a coroutine in a context of its own, and call `waits` when it waits for the first time.
    A task for each call took a seventh of its time."""
    run = copy_context().run
    resume: Callable[[Any], Any] = work.send
    value: Any = None
    is_first = True
    while True:
        try:
            awaited = run(resume, value)
        except StopIteration:
            return
        if is_first:
            is_first = False
            waits()
        try:
            value = yield awaited
            resume = work.send
        except BaseException as error:
            value = error
            resume = work.throw
