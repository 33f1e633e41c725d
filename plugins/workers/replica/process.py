"""One child process: lines in, lines out, and all that it started when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import msgspec
import structlog

from kernel.public import LogLevel, Unavailable
from plugins.workers.isolation.orphans import REPLICA_VARIABLE, kill_orphans, new_mark
from plugins.workers.isolation.parent_death import open_parent_pipe

from .lines import LineSplitter
from .protocol import MAX_FRAME, MAX_LINE, ids_in

SHARE: Final = 0.25
"""Of the event loop's time that reading from one worker may take."""

DEBT: Final = 0.02
"""Seconds over its share after which a worker has to wait until it is heard again; so long at most
it is heard without a turn of others in between, but for the line that it is at."""

WRITE_SECONDS: Final = 5.0
MAX_UNREAD: Final = 6 * MAX_FRAME
"""Bytes that may wait for a worker which does not read its input."""

DRAIN_SECONDS: Final = 1.0
"""What was written before the end is read for so long after it."""

PARENT_PIPE: Final = "CAUDEX_PARENT_PIPE"
VARIABLES: Final = "CAUDEX_VARIABLES_FILE"
"""Numbers of open files, for the launcher alone."""

log = structlog.get_logger("caudex.workers")


class Listener(Protocol):
    """Who owns a child. Called on the event loop; must not block."""

    def on_line(self, line: bytes) -> None:
        """A whole line of its output."""
        ...

    def on_noise(self, level: LogLevel, text: str) -> None:
        """Anything that is no message."""
        ...

    def on_unreadable(self, ids: list[str], why: str) -> None:
        """A line that could be the outcome of one of these calls, and cannot be read."""
        ...

    def on_gone(self) -> None:
        """It has ended and everything it said was heard."""
        ...


class Child(asyncio.SubprocessProtocol):
    """A program in a process group of its own. Made by `spawn`."""

    def __init__(self, listener: Listener, mark: str, uid: int | None = None) -> None:
        self._listener = listener
        self._uid = uid
        self._mark = mark
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._outgoing: list[bytes] = []
        self._writable = asyncio.Event()
        self._writable.set()
        self._held: set[str] = set()
        """Why it is not heard just now."""
        self._paused = False
        """Whether its output is not read: while it is held, and what was read waits."""
        self._spent, self._since = 0.0, time.monotonic()
        self._open = {1, 2}
        self._exited = self._swept = False
        self._parent_pipe: int | None = None
        self.gone = asyncio.Event()
        self.status: int | None = None
        """Its exit status, or minus the signal that ended it."""
        self._splitters = {
            1: LineSplitter(listener.on_line, self._cut_message, messages=True),
            2: LineSplitter(self._on_stderr, self._cut_stderr, messages=False),
        }

    @classmethod
    async def spawn(
        cls,
        listener: Listener,
        argv: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        uid: int | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Child:
        """Start the launcher of a program; `uid` is its account, if no other app has it, and what
        the environment has as `REPLICA_VARIABLE` the name of its server.

        The program finds `variables` too, the launcher does not: it runs with our rights until it
        has confined itself, and its interpreter and its libraries listen to many a variable, which
        apps must not choose. Raises OSError, ValueError.
        """
        loop = asyncio.get_running_loop()
        child = cls(listener, new_mark(environment.get(REPLICA_VARIABLE, "")), uid)
        child._parent_pipe = wire = open_parent_pipe()
        told = {} if wire is None else {PARENT_PIPE: wire}
        try:
            if variables:
                told[VARIABLES] = _nameless_file(msgspec.json.encode(variables))
            await loop.subprocess_exec(
                lambda: child,
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=str(folder),
                env={
                    **environment,
                    **{name: str(number) for name, number in told.items()},
                    REPLICA_VARIABLE: child._mark,
                },
                start_new_session=True,
                pass_fds=[*told.values()],
            )
        except BaseException:
            child._cut()
            raise
        finally:
            if VARIABLES in told:
                os.close(told[VARIABLES])
        return child

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its group."""
        return self._transport.get_pid()

    # Writing

    async def ready(self) -> None:
        """Wait until it takes more. Raises Unavailable when it does not, for five seconds."""
        if self._writable.is_set():
            return
        with anyio.move_on_after(WRITE_SECONDS):
            await self._writable.wait()
            return
        raise Unavailable("the worker does not read its input")

    def write(self, line: bytes) -> None:
        """Send a line; all lines of one turn of the event loop go out in one write."""
        if self.gone.is_set() or self._exited:
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(line)

    def close_input(self) -> None:
        """Tell it that nothing more will come."""
        self._flush()
        if pipe := self._pipe(0):
            pipe.close()

    def _flush(self) -> None:
        lines, self._outgoing = self._outgoing, []
        pipe = self._pipe(0)
        if not lines or pipe is None or pipe.is_closing():
            return
        pipe.write(b"".join(lines))
        if pipe.get_write_buffer_size() > MAX_UNREAD:
            self._listener.on_noise("system", "it does not read its input: killed")
            self.signal(signal.SIGKILL)

    def pause_writing(self) -> None:
        """Of asyncio: its input is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Of asyncio: there is room again."""
        self._writable.set()

    # Reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio: it runs."""
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Of asyncio: it said something."""
        if splitter := self._splitters.get(fd):
            splitter.feed(data)
            self._hear()

    def hold(self, reason: str) -> None:
        """Neither hear it nor read from it until `release`."""
        self._held.add(reason)
        if not self._paused:
            self._paused = True
            for fd in self._open:
                if pipe := self._pipe(fd):
                    pipe.pause_reading()

    def release(self, reason: str) -> None:
        """Hear it again, unless there is another reason not to."""
        if reason not in self._held:
            return
        self._held.discard(reason)
        if not self._held:
            self._loop.call_soon(self._hear)

    def _hear(self) -> None:
        """Hand on what was read, then read on; a piece of many lines that take their time has to
        leave others their turn as many pieces have."""
        if self._held:
            return
        started = time.monotonic()
        while (splitter := self._waiting()) and not self._held:
            try:
                splitter.hand_on()
            except Exception as error:  # of ours; the next line may be what somebody waits for
                log.error("a line of a child could not be handled", exc_info=error)
            if time.monotonic() - started > DEBT:
                break
        self._charge(started)
        if not self._held:
            self._read_on()
        self._end_if_done()

    def _waiting(self) -> LineSplitter | None:
        """What has lines to hand on."""
        return next((splitter for splitter in self._splitters.values() if splitter.waits), None)

    def _read_on(self) -> None:
        if self._paused:
            self._paused = False
            for fd in self._open:
                if pipe := self._pipe(fd):
                    pipe.resume_reading()

    def _charge(self, started: float) -> None:
        """Make a worker that floods wait: it may have its share of our time, no more."""
        now = time.monotonic()
        self._spent = max(0.0, self._spent - (started - self._since) * SHARE) + (now - started)
        self._since = now
        if self._spent > DEBT:
            self.hold("flood")
            self._loop.call_later(self._spent / SHARE, self.release, "flood")

    def _on_stderr(self, line: bytes) -> None:
        self._listener.on_noise("stderr", text_of(line))

    def _cut_stderr(self, head: bytes, edges: bytes) -> None:
        self._listener.on_noise("stderr", f"{text_of(head)}...")

    def _cut_message(self, head: bytes, edges: bytes) -> None:
        """A message may be what somebody waits for; its id tells who."""
        if head.startswith(b"{"):
            why = f"the reply is over {MAX_FRAME // 2**20} MB"
            self._listener.on_unreadable(list(ids_in(edges)), why)
            self._listener.on_noise("system", f"a message over {MAX_FRAME // 2**20} MB was dropped")
        else:
            self._listener.on_noise("stdout", f"{text_of(head)}...")

    # The end

    def signal(self, number: int) -> None:
        """Signal the whole group, if anything of it is left."""
        if not self.gone.is_set():  # afterwards its id may be somebody else's
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def exits_within(self, seconds: float) -> bool:
        """Wait for its end, for a bounded time."""
        with anyio.move_on_after(seconds):
            await self.gone.wait()
        return self.gone.is_set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Of asyncio: it closed a pipe. Without its output it is of no use."""
        self._open.discard(fd)
        if fd == 0:
            self._writable.set()
        if fd == 1 and not self._exited:
            self._loop.call_later(DRAIN_SECONDS, self._kill_silent)
        if splitter := self._splitters.get(fd):
            splitter.close()
        self._hear()
        self._end_if_done()

    def process_exited(self) -> None:
        """Of asyncio: it is dead; what it started dies with it."""
        self._exited = True
        self.status = self._transport.get_returncode()
        self.signal(signal.SIGKILL)
        self._cut()
        for reason in list(self._held):
            self.release(reason)
        if self._open or self._waiting():
            self._loop.call_later(DRAIN_SECONDS, self._give_up_hearing)
        sweep = self._loop.run_in_executor(None, kill_orphans, self._mark, self._uid)
        sweep.add_done_callback(self._on_swept)

    def _give_up_hearing(self) -> None:
        self._open.clear()
        self._splitters.clear()
        self._end_if_done()

    def _on_swept(self, sweep: asyncio.Future[None]) -> None:
        if not sweep.cancelled() and (error := sweep.exception()):
            log.error("children of a child could not be ended", exc_info=error)
        self._swept = True
        self._end_if_done()

    def _cut(self) -> None:
        if self._parent_pipe is not None:
            os.close(self._parent_pipe)
            self._parent_pipe = None

    def _kill_silent(self) -> None:
        if not self._exited:
            self.signal(signal.SIGKILL)

    def _end_if_done(self) -> None:
        if self.gone.is_set() or self._open or self._waiting():
            return
        if not (self._exited and self._swept):
            return
        self.gone.set()
        self._transport.close()
        self._listener.on_gone()

    def _pipe(self, fd: int) -> Any:
        return None if self._transport is None else self._transport.get_pipe_transport(fd)


def _nameless_file(data: bytes) -> int:
    """Put data into a file that only who is handed its number can read; on a disk only where the
    system knows no other way."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("caudex")
    else:
        with tempfile.TemporaryFile() as file:
            number = os.dup(file.fileno())
    with open(number, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(number, 0, os.SEEK_SET)
    return number


def text_of(line: bytes) -> str:
    """A line as text that can be stored; what is over the limit is cut."""
    return line[:MAX_LINE].decode("utf-8", "replace").replace("\0", "\ufffd")
