"""The end of a server process is certain: no thread can keep it from ending.

Python waits at its end for every thread that is no daemon, such as the worker threads of anyio and
asyncio, and cannot end one. A signal handler of the event loop waits for the loop.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Iterable
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from types import FrameType
from typing import Any, Final, NoReturn

import structlog

from kernel.config.log import write_out
from kernel.errors.source_lines import find_frames

END_SECONDS: Final = 25.0
"""Seconds from a first signal until a process cancels what still runs."""
FORCED_SECONDS: Final = 1.5
"""Seconds after that, or from a second signal, until it exits whatever still runs."""
LEFT_SECONDS: Final = 5.0
"""Seconds for threads that no code waits for, once all else has ended."""

log = structlog.get_logger("caudex.serve")


def end_process(status: int) -> NoReturn:
    """Exit; threads that no code waits for have `LEFT_SECONDS`."""
    ProcessDeadline(status).exit_within(LEFT_SECONDS)
    sys.exit(status)


class ProcessDeadline:
    """Exits the process at its deadline, with `status`, from a thread of its own."""

    def __init__(self, status: int = 1) -> None:
        self.status = status
        self._signals = 0
        # A signal handler may interrupt another `put`, which no other queue takes.
        self._deadlines = SimpleQueue[float]()
        threading.Thread(target=self._wait, name="caudex-deadline", daemon=True).start()

    def exit_within(self, seconds: float) -> None:
        """Exit in so many seconds, or at an earlier deadline, if the process has not ended."""
        self._deadlines.put(monotonic() + seconds)

    def watch(self, numbers: Iterable[int]) -> None:
        """Count these signals, also while the event loop is blocked.

        Their handlers are called as before, and those that are ignored stay so.
        """
        for number in numbers:
            before = signal.getsignal(number)
            if before != signal.SIG_IGN:
                signal.signal(number, partial(self._on_signal, before))
                signal.siginterrupt(number, False)

    def _on_signal(self, before: Any, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        seconds = FORCED_SECONDS
        if self._signals == 1:
            seconds += END_SECONDS
        self.exit_within(seconds)
        if callable(before):
            before(number, frame)

    def _wait(self) -> None:
        deadline = math.inf
        while monotonic() < deadline:
            timeout = None if deadline == math.inf else deadline - monotonic()
            try:
                deadline = min(deadline, self._deadlines.get(timeout=timeout))
            except Empty:
                continue
        self._exit()

    def _exit(self) -> None:
        message = "the process ends without what still runs"
        log.error(message, status=self.status, running=_running_threads())
        write_out()
        os._exit(self.status)


def _running_threads() -> list[str]:
    """Return the threads that keep the process, each with the line that it is at."""
    frames = find_frames()
    threads = list[str]()
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is not None and not thread.daemon:
            threads.append(f"{thread.name} at {frame.f_code.co_filename}:{frame.f_lineno}")
    return threads
