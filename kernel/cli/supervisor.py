"""Several server processes, or one that restarts when a file changes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

import structlog
import watchfiles

from kernel.errors import EX_CONFIG

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TICK_SECONDS = 0.2
RESTART_DELAY = 1.0
"""Seconds before a process that died is replaced: a crash loop leaves the machine usable."""
END_TIMEOUT, FORCED_TIMEOUT = 28.0, 2.0
"""Seconds that the processes have to end after the first and after the second signal."""

log = structlog.get_logger("caudex.supervisor")
Watched = Mapping[str, tuple[str, ...]]
"""Folders of a server's files, each with the endings of the names that matter."""
SOURCES = (".py", ".sql", ".json")
"""Endings in the folders of a plugin's package."""
Target = Callable[[Connection], None]
"""What a process runs. Once ready it sends `Watched` and when it began to load; it ends when the
pipe breaks."""


class _Child:
    """One server process; its pipe breaks when the parent dies, in whatever way."""

    def __init__(self, target: Target) -> None:
        # Not a fork: the parent has threads, and the child should import changed files again.
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=target, args=(theirs,), daemon=True)
        # Ctrl-C and the end of a terminal signal the whole foreground group, but only the parent
        # ends the children.
        before = handle((signal.SIGINT, signal.SIGHUP), signal.SIG_IGN)
        self.process.start()
        _restore(before)
        theirs.close()

    def ready(self) -> tuple[Watched, float] | None:
        """Return what the process sent once it was ready, and only once."""
        try:
            return self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, OSError):  # it ended instead
            return None

    def close(self) -> None:
        self.process.join()
        self.process.close()
        self.pipe.close()


class Supervisor:
    """Starts processes, the first alone: an error that stops the start is reported once."""

    def __init__(
        self, target: Target, count: int, watch: Callable[[], None], close: Callable[[], None]
    ) -> None:
        """`watch` is called five times a second on the main thread, `close` before the end."""
        self._target = target
        self._count = count
        self._watch_database = watch
        self._close = close
        self._children: list[_Child] = []
        self._signals = 0
        self._announced = False
        self._not_before = 0.0

    def run(self, announce: Callable[[], None], files: Watched | None) -> int:
        """Run until a signal and return the exit status; with `files` restart when one changes."""
        with _signals(self._count_signal):
            status, changes = 0, _changes(files, time.time())
            while not self._signals and not status:
                self._watch()
                status = self._replace_dead(wait_for_change=files is not None)
                for watched, began in filter(None, [child.ready() for child in self._children]):
                    if files is not None and files != watched:
                        files, changes = watched, _changes(watched, began)
                    if not self._announced:
                        self._announced = True
                        announce()
                if next(changes):
                    log.info("a file has changed")
                    self._not_before = 0.0
                    self._end()
            self._close()
            return self._end() or status

    def _count_signal(self, *_: object) -> None:
        self._signals += 1

    def _replace_dead(self, *, wait_for_change: bool) -> int:
        """Replace dead processes; a status other than 0 ends all: the first start failed."""
        for child in [child for child in self._children if not child.process.is_alive()]:
            code = child.process.exitcode or 0
            self._children.remove(child)
            child.close()
            if wait_for_change:
                self._not_before = float("inf")
            elif not self._announced:
                return code if code == EX_CONFIG else 1
            else:
                log.error("a server process died and is replaced", status=code)
                self._not_before = time.monotonic() + RESTART_DELAY
        wanted = self._count if self._announced else 1
        while len(self._children) < wanted and time.monotonic() >= self._not_before:
            self._children.append(_Child(self._target))
        return 0

    def _watch(self) -> None:
        try:
            self._watch_database()
        except Exception as error:
            log.error("a check of a subsystem failed", exc_info=error)

    def _end(self) -> int:
        """End every process; return 1 where one did not end well."""
        deadline, handled = time.monotonic() + END_TIMEOUT, -1
        while any(child.process.is_alive() for child in self._children):
            if handled < self._signals:
                if handled > 0:
                    deadline = time.monotonic() + FORCED_TIMEOUT
                handled = self._signals
                for child in self._children:
                    child.process.terminate()
            if time.monotonic() > deadline:
                break
            self._watch()
            time.sleep(TICK_SECONDS / 2)
        failed = 0
        for child in self._children:
            child.process.kill()
            child.process.join()
            # A process without a signal handler yet ended by our SIGTERM.
            failed |= child.process.exitcode not in (0, -signal.SIGTERM)
            child.close()
        self._children.clear()
        return failed


@contextmanager
def _signals(handler: Callable[..., object]) -> Generator[None]:
    before = handle(ENDING, handler)
    try:
        yield
    finally:
        _restore(before)


def handle(numbers: Iterable[int], handler: Any) -> dict[int, Any]:
    """Handle signals, except those that this process was started to ignore, as by nohup. Returns
    the handlers before."""
    active = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in active}


def _restore(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _changes(files: Watched | None, since: float = 0.0) -> Iterator[object]:
    """Yield after each tick: something true where a file has changed."""
    while files is None:
        time.sleep(TICK_SECONDS)
        yield None

    def matters(_: watchfiles.Change, path: str) -> bool:
        folder, name = os.path.split(path)
        endings = files.get(folder, ())
        new_folder = endings == SOURCES and "." not in name and name != "__pycache__"
        return name.endswith(endings) or new_folder

    ticks = watchfiles.watch(
        *filter(os.path.isdir, files), watch_filter=matters, recursive=False, debounce=400,
        rust_timeout=int(TICK_SECONDS * 1000), yield_on_timeout=True,
    )  # fmt: skip
    yield next(ticks) or any(_newer(files, since))  # what changed before it was watched
    yield from ticks


def _newer(files: Watched, since: float) -> Iterator[bool]:
    for folder, endings in files.items():
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                yield entry.name.endswith(endings) and entry.stat().st_mtime > since
