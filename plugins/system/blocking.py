"""Finds code that blocks the event loop or leaves tasks behind: its plugin, file and line."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from types import FrameType
from typing import Any, Final

import structlog

from kernel.public import FIX_PLUGIN, Backoff, RateLimiter, Registry, find_frames

BLOCKED: Final = 0.2
"""Seconds without a turn of the event loop that are reported."""
BEAT: Final = 0.1
SHOWN: Final = 60.0
"""Seconds for which health shows a plugin that blocked, and between two log lines of one place."""
MANY_TASKS: Final = 1000
WAITING: Final = ("selectors", "asyncio.runners", "kernel.cli.loop")
"""Modules whose code is the innermost one while the loop has nothing to do."""
REMEDY: Final = "await it, or run it in a thread: anyio.to_thread.run_sync"
KEEP_TASKS: Final = "use self.tasks, or a task group that waits for it"
IN_A_THREAD: Final = "use anyio.to_thread.run_sync, which raises here what the thread raises"
PAUSES: Final = Backoff(first=1.0, longest=SHOWN)
"""Between the lines about code that goes on to block."""
LAST_WORDS: Final = 0.5
"""Seconds for the last lines of a process that ends itself."""

log = structlog.get_logger("caudex.system")


class Block:
    """Code that holds the event loop: since when, and when it is named next."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.beats = 0
        """Looks of the watching thread meanwhile: a process that is stopped takes none."""
        self._reports = 0
        self._next = since + BLOCKED

    def is_due(self, now: float) -> bool:
        """Whether it should be named now; each pause is longer than the one before."""
        self.beats += 1
        if now < self._next:
            return False
        self._reports += 1
        self._next = now + PAUSES.pause(self._reports)
        return True

    @property
    def is_new(self) -> bool:
        """Whether it has been named once."""
        return self._reports == 1


class LoopWatch:
    """Watches the event loop from a thread.

    Each place is logged once a minute; with `always` each time. Code that goes on to block is
    named again, after growing pauses. A process of several ends itself after `limit` seconds of
    it, and the process manager starts another one; 0 never ends it.
    """

    def __init__(self, registry: Registry, *, always: bool, limit: float = 0.0) -> None:
        self._registry = registry
        self._always = always
        self._max_beats = 0.0
        if _is_replaced():
            self._max_beats = limit / BEAT
        self._lines = RateLimiter(1 / SHOWN, burst=SHOWN)
        self._tasks_checked = monotonic()
        self._block: Block | None = None
        self._ended = threading.Event()
        self._loop_thread = threading.get_ident()
        self._blocked = dict[str, tuple[str, float]]()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Watch the loop that runs, for the context."""
        loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        former_handler = loop.get_exception_handler()
        former_hook = threading.excepthook
        loop.set_exception_handler(self._log_unhandled)
        threading.excepthook = self._log_thread_failure
        watch = threading.Thread(
            target=self._watch, args=(loop,), daemon=True, name="caudex-loop-watch"
        )
        watch.start()
        try:
            yield
        finally:
            self._ended.set()
            loop.set_exception_handler(former_handler)
            threading.excepthook = former_hook

    def blocked(self) -> dict[str, str]:
        """Return the place of each plugin that held the loop within the last minute."""
        since = monotonic() - SHOWN
        return {plugin: place for plugin, (place, time) in self._blocked.items() if time > since}

    def _check_tasks(self) -> None:
        """Report a plugin with very many tasks."""
        coroutines = [task.get_coro() for task in asyncio.all_tasks()]
        frames = [getattr(coroutine, "cr_frame", None) for coroutine in coroutines]
        owners = Counter(self._owner(frame) for frame in frames if frame is not None)
        for plugin, count in owners.items():
            if plugin and count > MANY_TASKS and self._lines.take(plugin):
                remedy = "start background work by self.tasks, and end what it starts"
                log.warning("a plugin has many tasks", plugin=plugin, tasks=count, remedy=remedy)

    def _answer(self) -> None:
        self._block = None

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask a loop that runs code for a turn; runs in a thread.

        A loop that waits is not woken: an idle process does next to nothing.
        """
        while not self._ended.wait(BEAT):
            now = monotonic()
            with suppress(RuntimeError):  # the loop is closed
                if now > self._tasks_checked + SHOWN / 2:
                    self._tasks_checked = now
                    loop.call_soon_threadsafe(self._check_tasks)
                frame = find_frames().get(self._loop_thread)
                block = self._block
                if block is not None:
                    self._look(block, frame, now)
                elif not _waits(frame):
                    self._block = Block(now)
                    loop.call_soon_threadsafe(self._answer)

    def _look(self, block: Block, frame: FrameType | None, now: float) -> None:
        if block.is_due(now):
            self._report(frame, now - block.since, again=not block.is_new)
        is_hanging = self._max_beats and block.beats > self._max_beats
        if is_hanging and frame is not None and not _waits(frame):
            self._end(frame, now - block.since)

    def _report(self, frame: FrameType | None, late: float, *, again: bool = False) -> None:
        """Name the innermost code of a plugin, or of the kernel where no plugin runs.

        A loop that waits is late where the machine gives the process no time: no code is named.
        """
        if frame is None or _waits(frame):
            return
        plugin, place = self._find_innermost(frame)
        if plugin:
            self._blocked[plugin] = place, monotonic()
        if again or self._always or self._lines.take(place):
            blame: dict[str, str] = {}
            if plugin:
                blame = {"plugin": plugin, "remedy": REMEDY}
            log.warning("the event loop is blocked", at=place, seconds=round(late, 2), **blame)

    def _end(self, frame: FrameType, late: float) -> None:
        """End this process, which answers no one: the process manager starts another one."""
        plugin, place = self._find_innermost(frame)
        log.critical(
            "a server process hangs, and ends to be replaced",
            plugin=plugin,
            at=place,
            seconds=round(late, 2),
            remedy=REMEDY,
        )
        time.sleep(LAST_WORDS)
        os._exit(os.EX_SOFTWARE)

    def _find_innermost(self, frame: FrameType) -> tuple[str, str]:
        """Return plugin and place of the innermost code of a plugin, or of any where none runs."""
        plugin_frame: FrameType | None = frame
        while plugin_frame is not None and not self._owner(plugin_frame):
            plugin_frame = plugin_frame.f_back
        innermost = plugin_frame or frame
        return self._owner(innermost), f"{innermost.f_code.co_filename}:{innermost.f_lineno}"

    def _owner(self, frame: FrameType) -> str:
        return self._registry.plugin_of(str(frame.f_globals.get("__name__", "")))

    def _log_unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log what a task raised that no code waits for, with the plugin that began it."""
        error: BaseException | None = context.get("exception")
        log.error(
            "a task failed that no code waits for",
            detail=context["message"],
            exc_info=error,
            **self._blame(error, KEEP_TASKS),
        )

    def _log_thread_failure(self, failure: threading.ExceptHookArgs) -> None:
        """Log what a thread raised."""
        error = failure.exc_value
        if error is not None:
            log.error("a thread failed", exc_info=error, **self._blame(error, IN_A_THREAD))

    def _blame(self, error: BaseException | None, remedy: str) -> dict[str, str]:
        """Return the plugin of an error; `remedy` takes the place of the usual one."""
        if error is None:
            return {}
        blamed = self._registry.blame(error)
        if not blamed:
            return {}
        if blamed["remedy"] != FIX_PLUGIN:
            remedy = blamed["remedy"]
        return {"plugin": blamed["plugin"], "at": blamed["where"], "remedy": remedy}


def _waits(frame: FrameType | None) -> bool:
    return frame is None or frame.f_globals.get("__name__") in WAITING


def _is_replaced() -> bool:
    """Whether a process manager starts another process when this one ends."""
    return multiprocessing.parent_process() is not None
