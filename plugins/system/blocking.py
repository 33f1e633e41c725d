"""Finds code that blocks the event loop or leaves tasks behind: its plugin, file and line."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from types import FrameType
from typing import Any, Final

import structlog

from kernel.public import RateLimiter, Registry

BLOCKED: Final = 0.2
"""Seconds without a turn of the event loop that are reported."""
BEAT: Final = 0.1
SHOWN: Final = 60.0
"""Seconds for which health shows a plugin that blocked, and between two log lines of one place."""
MANY_TASKS: Final = 1000
WAITING: Final = ("selectors", "asyncio.runners")
"""Modules whose code is the innermost one while the loop has nothing to do."""
REMEDY: Final = "await it, or run it in a thread: anyio.to_thread.run_sync"

log = structlog.get_logger("caudex.system")


class LoopWatch:
    """Watches the event loop from a thread.

    Each place is logged once a minute; with `always` each time.
    """

    def __init__(self, registry: Registry, *, always: bool) -> None:
        self._registry = registry
        self._always = always
        self._lines = RateLimiter(1 / SHOWN, burst=SHOWN)
        self._asked = self._tasks_checked = monotonic()
        self._answered = True
        self._ended = threading.Event()
        self._loop_thread = threading.get_ident()
        self._blocked = dict[str, tuple[str, float]]()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Watch the loop that runs, for the context."""
        loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        before = loop.get_exception_handler()
        loop.set_exception_handler(self._unhandled)
        watch = threading.Thread(
            target=self._watch, args=(loop,), daemon=True, name="caudex-loop-watch"
        )
        watch.start()
        try:
            yield
        finally:
            self._ended.set()
            loop.set_exception_handler(before)

    def blocked(self) -> dict[str, str]:
        """Return the place of each plugin that held the loop within the last minute."""
        since = monotonic() - SHOWN
        return {name: at for name, (at, when) in self._blocked.items() if when > since}

    def _check_tasks(self) -> None:
        """Report a plugin with very many tasks."""
        coroutines = [task.get_coro() for task in asyncio.all_tasks()]
        frames = [getattr(each, "cr_frame", None) for each in coroutines]
        owners = Counter(self._owner(frame) for frame in frames if frame is not None)
        for plugin, count in owners.items():
            if plugin and count > MANY_TASKS and self._lines.take(plugin):
                remedy = "start background work by self.tasks, and end what it starts"
                log.warning("a plugin has many tasks", plugin=plugin, tasks=count, remedy=remedy)

    def _answer(self) -> None:
        self._answered = True

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask a loop that runs code for a turn; runs in a thread.

        A loop that waits is not woken: an idle process does next to nothing.
        """
        reported = False
        while not self._ended.wait(BEAT):
            now = monotonic()
            with suppress(RuntimeError):  # the loop is closed
                if now > self._tasks_checked + SHOWN / 2:
                    self._tasks_checked = now
                    loop.call_soon_threadsafe(self._check_tasks)
                frame = sys._current_frames().get(self._loop_thread)  # pyright: ignore[reportPrivateUsage]
                if self._answered and not _waits(frame):
                    self._asked, self._answered, reported = now, False, False
                    loop.call_soon_threadsafe(self._answer)
                elif not self._answered and now > self._asked + BLOCKED and not reported:
                    reported = True
                    self._report(frame, now - self._asked)

    def _report(self, frame: FrameType | None, late: float) -> None:
        """Name the innermost code of a plugin, or of the kernel where no plugin runs.

        A loop that waits is late where the machine gives the process no time: no code is named.
        """
        inner, plugin = frame, ""
        if inner is None or _waits(inner):
            return
        while frame is not None and not (plugin := self._owner(frame)):
            frame = frame.f_back
        frame = frame or inner
        at = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if plugin:
            self._blocked[plugin] = at, monotonic()
        if self._always or self._lines.take(at):
            named = {"plugin": plugin, "remedy": REMEDY} if plugin else {}
            log.warning("the event loop is blocked", at=at, seconds=round(late, 2), **named)

    def _owner(self, frame: FrameType) -> str:
        return self._registry.plugin_of(str(frame.f_globals.get("__name__", "")))

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log what a task raised that no code waits for, with the plugin that began it."""
        error = context.get("exception")
        met = [(self._owner(frame), f"{frame.f_code.co_filename}:{line}")
               for frame, line in traceback.walk_tb(error and error.__traceback__)]  # fmt: skip
        own = [{"plugin": owner, "at": at} for owner, at in met if owner]
        named = own[-1] if own else {}
        log.error("a task failed that no code waits for", detail=context["message"],
                  exc_info=error, **named)  # fmt: skip


def _waits(frame: FrameType | None) -> bool:
    return frame is None or frame.f_globals.get("__name__") in WAITING
