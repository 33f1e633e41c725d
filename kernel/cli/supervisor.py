"""Several server processes, or one that starts anew when a file changes."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import structlog

from kernel.errors import EX_CONFIG

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TICK = 0.2
PAUSE = 1.0
"""Seconds before a process that died is replaced: a crash loop leaves the machine usable."""
PATIENCE = 28.0
FORCED = 2.0
"""Seconds that the processes have to end, asked once and asked twice."""

log = structlog.get_logger("caudex.supervisor")
Files = list[tuple[Path, str]]
"""(folder, pattern) pairs."""
Seen = tuple[Files, dict[Path, float]]
"""What a process is made of, and when each file of that was changed."""
Target = Callable[[Connection], None]
"""What a process runs; once it is ready it sends what it is made of. It ends with the pipe."""


class _Child:
    """One server process; its pipe breaks when the parent dies, however it dies."""

    def __init__(self, target: Target) -> None:
        # Not a fork: the parent has threads, and the child should load changed files anew.
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=target, args=(theirs,), daemon=True)
        # Ctrl-C reaches the whole foreground group, but it is the parent who tells the children.
        # The end of a terminal does so too.
        before = handle((signal.SIGINT, signal.SIGHUP), signal.SIG_IGN)
        self.process.start()
        for number, handler in before.items():
            signal.signal(number, handler)
        theirs.close()

    def says(self) -> Seen | None:
        try:
            return self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, OSError):  # it ended instead
            return None

    def close(self) -> None:
        self.process.join()
        self.process.close()
        self.pipe.close()


class Supervisor:
    """Starts processes, the first alone: what keeps it from starting is told once."""

    def __init__(
        self, target: Target, count: int, watch: Callable[[], None], close: Callable[[], None]
    ) -> None:
        """`watch` is called five times a second on the main thread, `close` when all is to end."""
        self._target = target
        self._count = count
        self._looking_after = watch
        self._close = close
        self._children: list[_Child] = []
        self._asked = 0
        self._announced = False
        self._not_before = 0.0

    def run(self, announce: Callable[[], None], files: Files | None) -> int:
        """Run until a signal comes and return the exit status; start anew when `files` change."""
        status, seen = 0, times(files)
        with self._listening():
            while not self._asked and not status:
                self._watch()
                if (now := times(files)) != seen:
                    log.info("a file has changed")
                    seen, self._not_before = now, 0.0
                    self._end()
                status = self._look_after(patient=files is not None)
                for made_of, changed in filter(None, [child.says() for child in self._children]):
                    if files is not None:  # what changed since it was seen, changes again
                        files, seen = made_of, {p: seen.get(p, at) for p, at in changed.items()}
                    if not self._announced:
                        self._announced = True
                        announce()
                time.sleep(TICK)
            self._close()
            return self._end() or status

    def _look_after(self, *, patient: bool) -> int:
        """Replace what died. A status ends it all: that of a first start that failed."""
        for child in [child for child in self._children if not child.process.is_alive()]:
            code = child.process.exitcode or 0
            self._children.remove(child)
            child.close()
            if patient:  # with the next change of a file
                self._not_before = float("inf")
            elif not self._announced:
                return code if code == EX_CONFIG else 1
            else:
                log.error("a server process died; another takes its place", status=code)
                self._not_before = time.monotonic() + PAUSE
        wanted = self._count if self._announced else 1
        while len(self._children) < wanted and time.monotonic() >= self._not_before:
            self._children.append(_Child(self._target))
        return 0

    def _watch(self) -> None:
        try:
            self._looking_after()
        except Exception as error:
            log.error("a look after a subsystem failed", exc_info=error)

    def _end(self) -> int:
        """End every process; 1 when one of them did not end well."""
        deadline, asked = time.monotonic() + PATIENCE, -1
        while self._children and time.monotonic() < deadline:
            if asked < self._asked:
                if asked > 0:
                    deadline = time.monotonic() + FORCED
                asked = self._asked
                for child in self._children:
                    child.process.terminate()
            self._watch()
            time.sleep(TICK / 2)
            if not any(child.process.is_alive() for child in self._children):
                break
        failed = 0
        for child in self._children:
            child.process.kill()
            child.process.join()
            # One that had not begun to listen for signals ended by ours.
            failed |= child.process.exitcode not in (0, -signal.SIGTERM)
            child.close()
        self._children.clear()
        return failed

    @contextmanager
    def _listening(self) -> Generator[None]:
        def ask(*_: object) -> None:
            self._asked += 1

        before = handle(ENDING, ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def handle(numbers: Iterable[int], handler: Any) -> dict[int, Any]:
    """Handle signals, but for those that we were started to ignore, as by nohup. Returns what did
    so before."""
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heeded}


def times(files: Files | None) -> dict[Path, float]:
    """When each file was changed; one that vanished meanwhile is left out."""
    found: dict[Path, float] = {}
    for path in (path for folder, pattern in files or () for path in folder.glob(pattern)):
        with suppress(OSError):
            found[path] = path.stat().st_mtime
    return found
