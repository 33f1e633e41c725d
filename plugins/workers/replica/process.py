"""One child process: lines in, lines out, and the end of all that it started."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import anyio
import msgspec
import structlog

from kernel.public import Unavailable
from plugins.workers.isolation import cgroups
from plugins.workers.isolation.accounts import SERVERS
from plugins.workers.isolation.orphans import REPLICA_VARIABLE, is_held, kill_orphans

from .handover import nameless_file, open_parent_pipe
from .listener import Listener
from .protocol import MAX_FRAME, BatchedJob, LineSplitter, frame_jobs, ids_in, text_of

SHARE: Final = 0.25
"""The part of the event loop's time that reading from one worker may take."""
MAX_DEBT: Final = 0.02
"""Seconds beyond its share after which a worker is not read for a while.

Lines are handled for this long, and one line more, without a turn for others.
"""
MAX_UNREAD: Final = 6 * MAX_FRAME
"""Bytes that may wait for a worker that does not read its input."""
DRAIN_SECONDS: Final = 1.0
"""What was written before the end is read for this long after it."""
PARENT_PIPE: Final = "CAUDEX_PARENT_PIPE"
VARIABLES: Final = "CAUDEX_VARIABLES_FILE"
"""Numbers of open files, for the exec wrapper."""

log = structlog.get_logger("caudex.workers")


class Bounds(NamedTuple):
    """What finds the processes that a child leaves: the app's account, its cgroup, if there is one,
    and the folder with the names of servers that run. `owner` is the app that it belongs to."""

    uid: int | None = None
    cgroup: str = ""
    servers: Path | None = None
    owner: str = ""

    def end(self, mark: str) -> None:
        """End them. Blocking."""
        if self.cgroup:
            cgroups.end(Path(self.cgroup))
        own, servers = mark.rpartition(".")[0], self.servers

        def is_live(other: str) -> bool:
            """Whether another child with this mark may run: a process can invent a mark."""
            if other in Child.live or servers is None:
                return True
            server = other.rpartition(".")[0]
            return server != own and (is_held(servers, server) or is_held(SERVERS, server))

        kill_orphans(mark, self.uid, is_live)


class Child(asyncio.SubprocessProtocol):
    """A program in a process group of its own. Made by `spawn`."""

    live: ClassVar[dict[str, Child]] = {}
    """The children of this process that have not ended, by their marks."""

    def __init__(self, listener: Listener, mark: str, bounds: Bounds) -> None:
        self._listener = listener
        self._bounds = bounds
        self.mark = mark
        """Value of the variable that its processes inherit (see `isolation/orphans.py`)."""
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._outgoing: list[bytes | list[BatchedJob]] = []
        self._writable = asyncio.Event()
        self._writable.set()
        self._held: set[str] = set()
        """Why it is not read at the moment."""
        self._paused = False
        """Whether reading its pipes is paused."""
        self._spent, self._since = 0.0, time.monotonic()
        self._open = {1, 2}
        self._exited = self._orphans_killed = False
        self._parent_pipe: int | None = None
        self.gone = asyncio.Event()
        self.status: int | None = None
        """Its exit status, or the negative number of the signal that ended it."""
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
        bounds: Bounds | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a program, wrapped by `Sandbox.command`.

        `bounds` finds what it leaves. The program gets `variables`
        too. The exec wrapper does not: it runs with the server's rights until it has confined
        itself, and variables that an app chooses could steer its interpreter and libraries. Raises
        OSError, ValueError.
        """
        loop = asyncio.get_running_loop()
        mark = f"{environment.get(REPLICA_VARIABLE, '')}.{secrets.token_hex(8)}"
        child = cls(listener, mark, bounds or Bounds())
        cls.live[mark] = child
        child._parent_pipe = pipe = open_parent_pipe()
        files = {} if pipe is None else {PARENT_PIPE: pipe}
        try:
            if variables:
                files[VARIABLES] = nameless_file(msgspec.json.encode(variables))
            await loop.subprocess_exec(
                lambda: child,
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=str(folder),
                env={
                    **environment,
                    **{name: str(number) for name, number in files.items()},
                    REPLICA_VARIABLE: child.mark,
                },
                start_new_session=True,
                pass_fds=[*files.values()],
            )
        except BaseException:
            cls.live.pop(mark, None)
            child._close_parent_pipe()
            raise
        finally:
            if VARIABLES in files:
                os.close(files[VARIABLES])
        return child

    @classmethod
    def list_live(cls, server: str) -> list[Child]:
        """Return the children of a server of this process that run."""
        live = [child for mark, child in cls.live.items() if mark.startswith(f"{server}.")]
        return [child for child in live if child._transport is not None]

    @property
    def pid(self) -> int:
        """Its process id, and the id of its group."""
        return self._transport.get_pid()

    @property
    def owner(self) -> str:
        """The app that it belongs to, as its folder is named."""
        return self._bounds.owner

    # Writing

    @property
    def is_ready(self) -> bool:
        """Whether it reads its input, so that `ready` need not wait."""
        return self._writable.is_set()

    async def ready(self, seconds: float = 5.0) -> None:
        """Wait until it reads its input, for a limited time. Raises Unavailable."""
        with anyio.move_on_after(seconds):
            await self._writable.wait()
            return
        raise Unavailable("the worker does not read its input")

    def write(self, line: bytes | list[BatchedJob]) -> None:
        """Send a line, or jobs. All lines of one turn of the event loop are written at once."""
        if self._exited:
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(line)

    def write_job(self, job: BatchedJob) -> None:
        """Send a job in one message with those right before it in this turn."""
        last = self._outgoing[-1] if self._outgoing else None
        if isinstance(last, list):
            last.append(job)
        else:
            self.write([job])

    def close_input(self) -> None:
        """Close its standard input."""
        self._flush()
        if pipe := self._pipe(0):
            pipe.close()

    def _flush(self) -> None:
        lines, self._outgoing = self._outgoing, []
        pipe = self._pipe(0)
        if not lines or pipe is None or pipe.is_closing():
            return
        pipe.write(b"".join([x if isinstance(x, bytes) else frame_jobs(x) for x in lines]))
        if pipe.get_write_buffer_size() > MAX_UNREAD:
            self._listener.on_noise("system", "it does not read its input: killed")
            self.signal(signal.SIGKILL)

    def pause_writing(self) -> None:
        """See `asyncio.SubprocessProtocol`: its input is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See `asyncio.SubprocessProtocol`: its input has room again."""
        self._writable.set()

    # Reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.SubprocessProtocol`: it runs."""
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """See `asyncio.SubprocessProtocol`: it wrote something."""
        if splitter := self._splitters.get(fd):
            splitter.feed(data)
            self._pass_on()

    def hold(self, reason: str) -> None:
        """Read nothing from it until `release`."""
        self._held.add(reason)
        if not self._paused:
            self._paused = True
            for fd in self._open:
                if pipe := self._pipe(fd):
                    pipe.pause_reading()

    def release(self, reason: str) -> None:
        """Read from it again, unless there is another reason not to."""
        if reason not in self._held:
            return
        self._held.discard(reason)
        if not self._held:
            self._loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        """Pass lines on, then read more. Many lines in one piece leave turns for others too."""
        if self._held:
            return
        started = now = time.monotonic()
        for splitter in self._splitters.values():
            more = splitter.has_line
            while more and not self._held and now - started <= MAX_DEBT:
                try:
                    more = splitter.pass_on()
                except Exception as error:  # a fault of ours; a call may wait for the next line
                    log.error("a line of a child could not be handled", exc_info=error)
                    more = splitter.has_line
                now = time.monotonic()
        self._charge(started, now)
        if self._paused and not self._held:
            self._read_on()
        if self._exited:
            self._end_if_done()

    def _is_waiting(self) -> bool:
        """Whether there are lines to pass on."""
        return any(splitter.has_line for splitter in self._splitters.values())

    def _read_on(self) -> None:
        self._paused = False
        for fd in self._open:
            if pipe := self._pipe(fd):
                pipe.resume_reading()

    def _charge(self, started: float, now: float) -> None:
        """Make a worker that floods wait, so that it gets its share of the time and no more."""
        self._spent = max(0.0, self._spent - (started - self._since) * SHARE) + (now - started)
        self._since = now
        if self._spent > MAX_DEBT:
            self.hold("flood")
            self._loop.call_later(self._spent / SHARE, self.release, "flood")

    def _on_stderr(self, line: bytes) -> None:
        self._listener.on_noise("stderr", text_of(line))

    def _cut_stderr(self, head: bytes, edges: bytes) -> None:
        self._listener.on_noise("stderr", f"{text_of(head)}...")

    def _cut_message(self, head: bytes, edges: bytes) -> None:
        """Report a message that is too long: its id names the call that waits for it."""
        if head.startswith(b"{"):
            why = "the reply is over 10 MB"
            self._listener.on_unreadable(list(ids_in(edges)), why)
            self._listener.on_noise("system", f"a message over {MAX_FRAME // 10**6} MB was dropped")
        else:
            self._listener.on_noise("stdout", f"{text_of(head)}...")

    # The end

    def end(self, why: str) -> None:
        """Kill it, and write the reason into the log of its app."""
        self._listener.on_noise("system", why)
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Signal the whole group, if a process of it is left."""
        if not self.gone.is_set():  # afterwards another group may have its id
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def exits_within(self, seconds: float) -> bool:
        """Wait for its end, for a limited time."""
        with anyio.move_on_after(seconds):
            await self.gone.wait()
        return self.gone.is_set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """See `asyncio.SubprocessProtocol`: it closed a pipe. Without its output it is killed."""
        self._open.discard(fd)
        if fd == 0:
            self._writable.set()
        if fd == 1 and not self._exited:
            self._loop.call_later(DRAIN_SECONDS, self._kill_silent)
        if splitter := self._splitters.get(fd):
            splitter.close()
        self._pass_on()
        self._end_if_done()

    def process_exited(self) -> None:
        """See `asyncio.SubprocessProtocol`: it ended. All that it started is killed."""
        self._exited = True
        self.status = self._transport.get_returncode()
        self.signal(signal.SIGKILL)
        self._close_parent_pipe()
        for reason in list(self._held):
            self.release(reason)
        if self._open or self._is_waiting():
            self._loop.call_later(DRAIN_SECONDS, self._stop_reading)
        self.live.pop(self.mark, None)
        killing = self._loop.run_in_executor(None, self._bounds.end, self.mark)
        killing.add_done_callback(self._on_orphans_killed)

    def _stop_reading(self) -> None:
        self._open.clear()
        self._splitters.clear()
        self._end_if_done()

    def _on_orphans_killed(self, killing: asyncio.Future[None]) -> None:
        if not killing.cancelled() and (error := killing.exception()):
            log.error("children of a child could not be ended", exc_info=error)
        self._orphans_killed = True
        self._end_if_done()

    def _close_parent_pipe(self) -> None:
        if self._parent_pipe is not None:
            os.close(self._parent_pipe)
            self._parent_pipe = None

    def _kill_silent(self) -> None:
        if not self._exited:
            self.signal(signal.SIGKILL)

    def _end_if_done(self) -> None:
        if self.gone.is_set() or self._open or self._is_waiting():
            return
        if not (self._exited and self._orphans_killed):
            return
        self.gone.set()
        self._transport.close()
        self._listener.on_gone()

    def _pipe(self, fd: int) -> Any:
        return None if self._transport is None else self._transport.get_pipe_transport(fd)
