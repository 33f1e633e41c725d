"""The pipes of a child: what it is sent, and what is read of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from io import FileIO
from typing import Any, Final, Literal

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

Mode = Literal["rb", "wb"]
"""What is done at our end of a pipe: reading or writing."""

log = structlog.get_logger("caudex.workers")


class InputPipe(asyncio.BaseProtocol):
    """The standard input of a child. All lines of one turn of the event loop are written at once.

    `on_overflow` is called when too much waits for a child that does not read.
    """

    def __init__(self, on_overflow: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_overflow = on_overflow
        self._pipe: Any = None
        self._lines: list[bytes | list[BatchedJob]] = []
        """What is written at the end of this turn."""
        self._room = asyncio.Event()
        self._room.set()
        self._is_ended = False

    async def open(self) -> int:
        """Make the pipe and return the end for the child. Raises OSError."""
        self._pipe, end_of_child = await _make_pipe(self, "wb")
        return end_of_child

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
        if self._pipe is not None:
            self._pipe.close()

    def end(self) -> None:
        """Take no more lines: the child has ended."""
        self._is_ended = True
        if self._pipe is not None and not self._pipe.is_closing():
            self._pipe.abort()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`: it is full."""
        self._room.clear()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`: it has room again."""
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`: it is closed, so no caller need wait."""
        self._room.set()

    def _flush(self) -> None:
        lines = self._lines
        self._lines = []
        pipe = self._pipe
        if not lines or pipe is None or pipe.is_closing():
            return
        encoded = [line if isinstance(line, bytes) else encode_jobs(line) for line in lines]
        pipe.write(b"".join(encoded))
        if pipe.get_write_buffer_size() > MAX_UNREAD:
            self._on_overflow()


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


class OutputPipe(asyncio.Protocol):
    """The standard output or the standard error of a child, and its lines.

    `on_change` is called when there may be another line, and `on_close` at the end.
    """

    def __init__(
        self, lines: LineSplitter, on_change: Callable[[], None], on_close: Callable[[], None]
    ) -> None:
        self.lines = lines
        self.is_open = True
        self._on_change = on_change
        self._on_close = on_close
        self._pipe: Any = None

    async def open(self) -> int:
        """Make the pipe and return the end for the child. Raises OSError."""
        self._pipe, end_of_child = await _make_pipe(self, "rb")
        return end_of_child

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`: the child has written something."""
        if self.is_open:
            self.lines.feed(data)
            self._on_change()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`: nothing follows."""
        if self.is_open:
            self.is_open = False
            self.lines.close()
            self._on_close()
            self._on_change()

    def pause(self) -> None:
        """Read nothing until `resume`."""
        if self.is_open and not self._pipe.is_closing():
            self._pipe.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.is_open and not self._pipe.is_closing():
            self._pipe.resume_reading()

    def stop(self) -> None:
        """Read nothing more."""
        self.is_open = False
        if self._pipe is not None:
            self._pipe.close()


class OutputPipes:
    """What a child writes. Its lines go to a listener, within its share of the event loop's time.

                    hold("flood"), hold("operations")
        reading ────────────────────────────────────────▶ held
           ▲                                               │ release of the last reason
           └──── no line is left ──── passing on lines ◀───┘

    While it is held nothing is read, and lines that were read already wait. `on_progress` is called
    when lines were passed on, and `on_silence` when the child has closed its standard output.
    """

    def __init__(
        self, listener: Listener, on_progress: Callable[[], None], on_silence: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_progress = on_progress
        self.stdout = OutputPipe(OutputLines(listener), self._pass_on, on_silence)
        self.stderr = OutputPipe(ErrorLines(listener), self._pass_on, _ignore)
        self._pipes = [self.stdout, self.stderr]
        self._reasons: set[str] = set()
        """Why it is held."""
        self._is_paused = False
        """Whether reading the pipes is paused: at most as long as it is held, and one turn more."""
        self._share = Share()

    @property
    def is_done(self) -> bool:
        """Whether all was read and passed on."""
        return not any(pipe.is_open or pipe.lines.has_line for pipe in self._pipes)

    def stop(self) -> None:
        """Drop what was not passed on yet."""
        for pipe in self._pipes:
            pipe.stop()
        self._pipes = []

    def hold(self, reason: str) -> None:
        """Read nothing until `release`."""
        self._reasons.add(reason)
        if not self._is_paused:
            self._is_paused = True
            for pipe in self._pipes:
                pipe.pause()

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
        for pipe in self._pipes:
            lines = pipe.lines
            has_line = lines.has_line
            while has_line and not self._reasons and now - started <= MAX_DEBT:
                try:
                    has_line = lines.pass_on()
                except Exception as error:  # a fault of ours; a call may wait for the next line
                    log.error("a line of a child could not be handled", exc_info=error)
                    has_line = lines.has_line
                now = time.monotonic()
        pause = self._share.charge(started, now)
        if pause:
            self.hold("flood")
            self._loop.call_later(pause, self.release, "flood")
        if self._is_paused and not self._reasons:
            self._is_paused = False
            for pipe in self._pipes:
                pipe.resume()
        self._on_progress()


async def _make_pipe(protocol: asyncio.BaseProtocol, mode: Mode) -> tuple[Any, int]:
    """Make a pipe. Return the transport of our end, and the end for the child. Raises OSError.

    `subprocess_exec` of uvloop makes sockets. What they bring waits for another turn of the event
    loop, so a call takes 1.1 to 1.25 of the server's time behind its route.
    """
    loop = asyncio.get_running_loop()
    own_end, end_of_child = os.pipe()
    connect = loop.connect_read_pipe
    if mode == "wb":
        own_end, end_of_child = end_of_child, own_end
        connect = loop.connect_write_pipe
    file = FileIO(own_end, mode)
    try:
        transport, _ = await connect(lambda: protocol, file)
    except BaseException:
        file.close()
        os.close(end_of_child)
        raise
    return transport, end_of_child


def _ignore() -> None:
    pass
