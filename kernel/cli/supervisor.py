"""Several server processes, or one that restarts when a file changes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import structlog

from kernel.errors import EX_CONFIG

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
END_SECONDS, FORCED_SECONDS = 25.0, 1.5
"""Seconds from a first signal until a process cancels what still runs, and from a second one until
it exits. The parent of several processes waits a little longer, then kills them."""
SOURCES = (".py", ".sql", ".json")
"""Endings in the folders of a plugin's package."""

log = structlog.get_logger("caudex.supervisor")
Watched = Mapping[str, tuple[str, ...]]
"""Folders of a server's files, each with the endings of the names that matter."""
Target = Callable[[Connection], None]
"""What a process runs. Once ready it sends `Watched`, when it began to load, and its notices; it
ends when the pipe breaks."""


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
        for number, handler in before.items():
            signal.signal(number, handler)
        theirs.close()

    def ready(self) -> tuple[Watched, float, Sequence[str]] | None:
        """Return what the process sent once it was ready, and only once."""
        try:
            return self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, OSError):  # it ended instead
            return None

    def close(self) -> int:
        """Wait for the end and return the status."""
        self.process.join()
        status = self.process.exitcode or 0
        self.process.close()
        self.pipe.close()
        return status


class _Files:
    """The watched files, and when each was changed last."""

    def __init__(self, watched: Watched, began: float) -> None:
        self.watched = watched
        self._times = self._read()
        self._late = any(changed > began for changed in self._times.values())

    def changed(self) -> bool:
        """Whether a file came, went or was changed since the last call, or since `began`."""
        before, self._times = self._times, self._read()
        late, self._late = self._late, False
        return late or before != self._times

    def _read(self) -> dict[str, float]:
        found = dict[str, float]()
        for folder, endings in self.watched.items():
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(endings):
                        found[entry.path] = entry.stat().st_mtime
                    elif endings == SOURCES and entry.name.isidentifier():
                        found[entry.path] = 0.0  # a folder that came may belong to the package
        return {path: time for path, time in found.items() if not path.endswith("__pycache__")}


class Supervisor:
    """Starts processes, the first alone: an error that stops the start is reported once."""

    def __init__(self, target: Target, count: int, look: Callable[[], object]) -> None:
        """`look` is called five times a second on the main thread."""
        self._target = target
        self._count = count
        self._look = look
        self._children: list[_Child] = []
        self._signals = 0
        self._announced = False
        self._not_before = 0.0

    def run(
        self,
        announce: Callable[[Sequence[str]], None],
        watched: Watched | None,
        close: Callable[[], None],
    ) -> int:
        """Run until a signal and return the exit status; with `watched` restart for changes.

        `close` is called before the processes end.
        """
        handle(ENDING, self._count_signal)
        status, files = 0, None if watched is None else _Files(watched, time.time())
        while not self._signals and not status:
            status = self._replace_dead(wait_for_change=files is not None)
            for found, began, notices in filter(None, [c.ready() for c in self._children]):
                if files is not None and files.watched != found:
                    files = _Files(found, began)
                if not self._announced:
                    self._announced = True
                    announce(notices)
            self._tick()
            if files is not None and files.changed():
                log.info("a file has changed")
                self._not_before = 0.0
                self._end()
        close()
        return self._end() or status

    def _count_signal(self, *_: object) -> None:
        self._signals += 1

    def _tick(self) -> None:
        checked(self._look)
        time.sleep(0.2)

    def _replace_dead(self, *, wait_for_change: bool) -> int:
        """Replace dead processes; a status other than 0 ends all: the first start failed."""
        for child in [child for child in self._children if not child.process.is_alive()]:
            self._children.remove(child)
            status = child.close()
            if wait_for_change:
                self._not_before = float("inf")
            elif not self._announced:
                return status if status == EX_CONFIG else 1
            else:
                log.error("a server process died and is replaced", status=status)
                # A crash loop leaves the machine usable.
                self._not_before = time.monotonic() + 1.0
        wanted = self._count if self._announced else 1
        while len(self._children) < wanted and time.monotonic() >= self._not_before:
            self._children.append(_Child(self._target))
        return 0

    def _end(self) -> int:
        """End every process; return 1 where one did not end well."""
        deadline, handled = time.monotonic() + END_SECONDS + 3, -1
        while any(child.process.is_alive() for child in self._children):
            if handled < self._signals:
                if handled > 0:
                    deadline = time.monotonic() + FORCED_SECONDS + 0.5
                handled = self._signals
                for child in self._children:
                    child.process.terminate()
            if time.monotonic() > deadline:
                break
            self._tick()
        failed = 0
        while self._children:
            child = self._children.pop()
            child.process.kill()
            # A process without a signal handler yet ended by our SIGTERM.
            failed |= child.close() not in (0, -signal.SIGTERM)
        return failed


def handle(numbers: Iterable[int], handler: Any) -> dict[int, Any]:
    """Handle signals, except those that this process was started to ignore, as by nohup. Returns
    the handlers before."""
    active = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in active}


def checked(look: Callable[[], object]) -> None:
    """Look after a subsystem; a failure is logged."""
    try:
        look()
    except Exception as error:
        log.error("a check of a subsystem failed", exc_info=error)
