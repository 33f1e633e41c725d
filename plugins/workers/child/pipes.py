"""The pipes of a child: what it is sent, and what is read of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import anyio
import structlog

from kernel.public import Unavailable

from .lines import ErrorLines, LineSplitter, OutputLines
from .listener import Listener
from .protocol import MAX_FRAME, BatchedJob, encode_jobs

SHARE: Final = 0.25
"""The part of the event loop's time that reading from one worker may take."""
MAX_DEBT: Final = 0.02
"""Seconds beyond its share after which a worker is not read for a while.

Lines are handled for this long, and one line more, without a turn for others.
"""
MAX_UNREAD: Final = 6 * MAX_FRAME
"""Bytes that may wait for a worker that does not read its input."""
STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2

log = structlog.get_logger("caudex.workers")


class InputPipe:
    """The standard input of a child. All lines of one turn of the event loop are written at once.

    `on_overflow` is called when too much waits for a child that does not read.
    """

    def __init__(self, on_overflow: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_overflow = on_overflow
        self._process: Any = None
        self._lines: list[bytes | list[BatchedJob]] = []
        """What is written at the end of this turn."""
        self._room = asyncio.Event()
        self._room.set()
        self._is_ended = False

    def connect(self, process: asyncio.SubprocessTransport) -> None:
        """Write to this process from now on."""
        self._process = process

    @property
    def is_ready(self) -> bool:
        """Whether the child reads, so that `wait_ready` need not wait."""
        return self._room.is_set()

    async def wait_ready(self, seconds: float = 5.0) -> None:
        """Wait until the child reads, for a limited time. Raises Unavailable."""
        with anyio.move_on_after(seconds):
            await self._room.wait()
            return
        raise Unavailable("the worker does not read its input")

    def write(self, line: bytes | list[BatchedJob]) -> None:
        """Send a line, or jobs."""
        if self._is_ended:
            return
        if not self._lines:
            self._loop.call_soon(self._flush)
        self._lines.append(line)

    def write_job(self, job: BatchedJob) -> None:
        """Send a job in one message with those right before it in this turn."""
        last = self._lines[-1] if self._lines else None
        if isinstance(last, list):
            last.append(job)
        else:
            self.write([job])

    def close(self) -> None:
        """Close it, after what was written."""
        self._flush()
        pipe = self._find_pipe()
        if pipe is not None:
            pipe.close()

    def end(self) -> None:
        """Take no more lines: the child has ended."""
        self._is_ended = True

    def pause(self) -> None:
        """Take note that it is full."""
        self._room.clear()

    def resume(self) -> None:
        """Take note that it has room again, or is closed."""
        self._room.set()

    def _flush(self) -> None:
        lines = self._lines
        self._lines = []
        pipe = self._find_pipe()
        if not lines or pipe is None or pipe.is_closing():
            return
        encoded = [line if isinstance(line, bytes) else encode_jobs(line) for line in lines]
        pipe.write(b"".join(encoded))
        if pipe.get_write_buffer_size() > MAX_UNREAD:
            self._on_overflow()

    def _find_pipe(self) -> Any:
        return None if self._process is None else self._process.get_pipe_transport(STDIN)


class Share:
    """Keeps account of the event loop's time that one worker takes."""

    def __init__(self) -> None:
        self._debt = 0.0
        self._counted_at = time.monotonic()

    def charge(self, started: float, ended: float) -> float:
        """Count the time between these two. Returns the seconds for which the worker has to wait.

        Time in which nothing was read pays the debt off.
        """
        paid = (started - self._counted_at) * SHARE
        self._debt = max(0.0, self._debt - paid) + (ended - started)
        self._counted_at = ended
        return self._debt / SHARE if self._debt > MAX_DEBT else 0.0


class OutputPipes:
    """What a child writes. Its lines go to a listener, within its share of the event loop's time.

                    hold("flood"), hold("operations")
        reading ────────────────────────────────────────▶ held
           ▲                                               │ release of the last reason
           └──── no line is left ──── passing on lines ◀───┘

    While it is held nothing is read, and lines that were read already wait. `on_progress` is called
    when lines were passed on.
    """

    def __init__(self, listener: Listener, on_progress: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_progress = on_progress
        self._process: Any = None
        self._splitters: dict[int, LineSplitter] = {
            STDOUT: OutputLines(listener),
            STDERR: ErrorLines(listener),
        }
        self._open = {STDOUT, STDERR}
        self._reasons: set[str] = set()
        """Why it is held."""
        self._is_paused = False
        """Whether reading the pipes is paused: at most as long as it is held, and one turn more."""
        self._share = Share()

    def connect(self, process: asyncio.SubprocessTransport) -> None:
        """Read from this process from now on."""
        self._process = process

    @property
    def is_done(self) -> bool:
        """Whether all was read and passed on."""
        return not self._open and not self._has_line()

    def feed(self, fd: int, data: bytes) -> None:
        """Take what the child wrote."""
        splitter = self._splitters.get(fd)
        if splitter is not None:
            splitter.feed(data)
            self._pass_on()

    def close(self, fd: int) -> None:
        """Take note that a pipe is closed."""
        self._open.discard(fd)
        splitter = self._splitters.get(fd)
        if splitter is not None:
            splitter.close()
        self._pass_on()

    def stop(self) -> None:
        """Drop what was not passed on yet."""
        self._open.clear()
        self._splitters.clear()

    def hold(self, reason: str) -> None:
        """Read nothing until `release`."""
        self._reasons.add(reason)
        if not self._is_paused:
            self._is_paused = True
            for pipe in self._find_pipes():
                pipe.pause_reading()

    def release(self, reason: str) -> None:
        """Read again, unless there is another reason not to."""
        if reason not in self._reasons:
            return
        self._reasons.discard(reason)
        if not self._reasons:
            self._loop.call_soon(self._pass_on)

    def release_all(self) -> None:
        """Read what is left, whatever it was held for."""
        for reason in list(self._reasons):
            self.release(reason)

    def _pass_on(self) -> None:
        """Pass lines on, then read more. Many lines in one piece leave turns for others too."""
        if self._reasons:
            return
        started = time.monotonic()
        now = started
        for splitter in self._splitters.values():
            has_line = splitter.has_line
            while has_line and not self._reasons and now - started <= MAX_DEBT:
                try:
                    has_line = splitter.pass_on()
                except Exception as error:  # a fault of ours; a call may wait for the next line
                    log.error("a line of a child could not be handled", exc_info=error)
                    has_line = splitter.has_line
                now = time.monotonic()
        pause = self._share.charge(started, now)
        if pause:
            self.hold("flood")
            self._loop.call_later(pause, self.release, "flood")
        if self._is_paused and not self._reasons:
            self._is_paused = False
            for pipe in self._find_pipes():
                pipe.resume_reading()
        self._on_progress()

    def _has_line(self) -> bool:
        return any(splitter.has_line for splitter in self._splitters.values())

    def _find_pipes(self) -> list[Any]:
        """Return the pipes that are open."""
        if self._process is None:
            return []
        pipes = [self._process.get_pipe_transport(fd) for fd in self._open]
        return [pipe for pipe in pipes if pipe is not None]
