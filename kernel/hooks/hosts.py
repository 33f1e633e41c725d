"""Context managers of plugins, each kept open in a task of its own.

A lifespan or a service may have a task group. What fails there ends its own task, and no other:
entered on the task of the server, it would cancel the server.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup, TaskStatus

from kernel.errors import forget_frames
from kernel.toolkit.backoff import Backoff

RETRY = Backoff(first=1.0, longest=60.0)
LASTS = 60.0
"""Seconds after which a context that was opened again counts as working."""
Open = Callable[[], AbstractAsyncContextManager[Any]]


class ContextReporter(Protocol):
    """Hears of a context that failed while it was open."""

    def report_failure(self, error: BaseException, pause: float | None) -> None:
        """Report a failure; it is opened again after the pause, with None never."""
        ...

    def report_recovery(self) -> None:
        """Report that it is open again."""
        ...

    def report_failed_close(self, error: BaseException) -> None:
        """Report what it raises while it is closed."""
        ...


class Hosts:
    """Opens context managers in tasks of a group."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks

    async def enter(
        self, stack: AsyncExitStack, open_: Open, reporter: ContextReporter, *, reopen: bool = False
    ) -> Any:
        """Open a context until the stack ends, and return its value; raises what opening raises.

        With `reopen` it is opened once more, after growing pauses, when it fails while it is open.
        """
        host = _Host(open_, reporter, reopen)
        value = await self._tasks.start(host.run)
        stack.push_async_callback(host.close)
        return value


class _Host:
    """One context manager: opening, then open; failed, and open again; at last closed."""

    def __init__(self, open_: Open, reporter: ContextReporter, reopen: bool) -> None:
        self._open = open_
        self._reporter = reporter
        self._reopens = reopen
        self._ended = anyio.Event()
        self._closed = anyio.Event()
        self._scope = anyio.CancelScope()
        self._error: BaseException | None = None
        """What it raised while it was closed."""

    async def run(self, *, task_status: TaskStatus[Any]) -> None:
        """Open it, and keep it open until `close`."""
        try:
            with self._scope:
                error = await self._keep_open(task_status.started)
                if error is not None:
                    await self._open_again(error)
        finally:
            self._closed.set()

    async def close(self) -> None:
        """Close it, and wait; raises what that raises."""
        self._ended.set()
        try:
            await self._closed.wait()
        finally:
            # A server that is cancelled closes its contexts one after the other, too.
            self._scope.cancel()
            with anyio.CancelScope(shield=True):
                await self._closed.wait()
        if self._error is not None:
            raise self._error

    async def _keep_open(self, opened: Callable[[Any], object]) -> BaseException | None:
        """Keep it open until the end; return what it failed with while it was open."""
        is_open = False
        try:
            async with self._open() as value:
                is_open = True
                opened(value)
                await self._ended.wait()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            if not is_open:
                raise
            if not self._ended.is_set():
                return error
            self._reporter.report_failed_close(error)
            self._error = error
            return None
        return None if self._ended.is_set() else RuntimeError("it ended by itself")

    async def _open_again(self, error: BaseException) -> None:
        """Open it again and again, until it stays open."""
        failures = 0
        while not self._ended.is_set():
            failures += 1
            pause = RETRY.pause(failures) if self._reopens else None
            self._reporter.report_failure(error, pause)
            forget_frames(error)
            with anyio.move_on_after(pause):
                await self._ended.wait()
                return
            began = anyio.current_time()
            try:
                failure = await self._keep_open(lambda _: self._reporter.report_recovery())
            except Exception as refusal:  # it could not be opened
                failure = refusal
            if failure is None:
                return
            error = failure
            if anyio.current_time() - began > LASTS:
                failures = 0
