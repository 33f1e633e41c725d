"""One child process, and the end of all that it started."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import anyio
import msgspec
import structlog

from plugins.workers.isolation import cgroups
from plugins.workers.isolation.accounts import SERVERS
from plugins.workers.isolation.orphans import REPLICA_VARIABLE, is_held, kill_orphans, server_of

from .handover import make_nameless_file, open_parent_pipe
from .listener import Listener
from .pipes import InputPipe, OutputPipes

DRAIN_SECONDS: Final = 1.0
"""What was written before the end is read for this long after it."""
PARENT_PIPE: Final = "CAUDEX_PARENT_PIPE"
VARIABLES: Final = "CAUDEX_VARIABLES_FILE"
"""Numbers of open files, for the exec wrapper."""

log = structlog.get_logger("caudex.workers")


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A program to run as a child, wrapped by `Sandbox.command`.

    It gets `variables` too. The exec wrapper does not: it runs with the server's rights until it
    has confined itself, and variables that an app chooses could steer its interpreter and
    libraries.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    variables: Mapping[str, str] = {}


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What finds the processes that a child leaves: the app's account, its cgroup, if there is one,
    and the folder with the names of servers that run. `owner` is the app that it belongs to."""

    uid: int | None = None
    cgroup: str = ""
    servers: Path | None = None
    owner: str = ""

    def end_processes(self, mark: str) -> None:
        """End what the child with this mark left. Blocking."""
        if self.cgroup:
            cgroups.end_processes(Path(self.cgroup))
        kill_orphans(mark, self.uid, partial(self._is_live, server_of(mark)))

    def _is_live(self, server: str, mark: str) -> bool:
        """Whether another child with this mark may run: a process can invent a mark."""
        if mark in Child.live or self.servers is None:
            return True
        other = server_of(mark)
        if other == server:
            return False
        return is_held(self.servers, other) or is_held(SERVERS, other)


class Child(asyncio.SubprocessProtocol):
    """A program in a process group of its own. Made by `spawn`.

             its process ended              what it left is ended, and its output passed on
    running ───────────────────▶ exited ───────────────────────────────────────────────▶ gone
    """

    live: ClassVar[dict[str, Child]] = {}
    """The children of this process that have not ended, by their marks."""

    def __init__(self, listener: Listener, mark: str, bounds: Bounds) -> None:
        self.mark = mark
        """Value of the variable that its processes inherit (see `isolation/orphans.py`)."""
        self.input = InputPipe(partial(self.kill, "it does not read its input: killed"))
        self.output = OutputPipes(listener, self._end_if_done, self._on_silence)
        self.gone = asyncio.Event()
        self.status: int | None = None
        """Its exit status, or the negative number of the signal that ended it."""
        self._listener = listener
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._parent_pipe: int | None = None
        self._has_exited = False
        self._are_orphans_killed = False

    @classmethod
    async def spawn(
        cls, listener: Listener, program: Program, bounds: Bounds | None = None
    ) -> Child:
        """Start a program; `bounds` finds what it leaves. Raises OSError, ValueError."""
        server = program.environment.get(REPLICA_VARIABLE, "")
        mark = f"{server}.{secrets.token_hex(8)}"
        child = cls(listener, mark, bounds or Bounds())
        cls.live[mark] = child
        try:
            await child._start(program)
        except BaseException:
            cls.live.pop(mark, None)
            child._close_parent_pipe()
            child._close_pipes()
            raise
        return child

    async def _start(self, program: Program) -> None:
        files: dict[str, int] = {}
        pipes: list[int] = []
        self._parent_pipe = open_parent_pipe()
        if self._parent_pipe is not None:
            files[PARENT_PIPE] = self._parent_pipe
        try:
            if program.variables:
                files[VARIABLES] = make_nameless_file(msgspec.json.encode(program.variables))
            pipes.append(await self.input.open())
            pipes.append(await self.output.stdout.open())
            pipes.append(await self.output.stderr.open())
            stdin, stdout, stderr = pipes
            await self._loop.subprocess_exec(
                lambda: self,
                *program.argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=str(program.folder),
                env={
                    **program.environment,
                    **{name: str(number) for name, number in files.items()},
                    REPLICA_VARIABLE: self.mark,
                },
                start_new_session=True,
                pass_fds=[*files.values()],
            )
        finally:
            if VARIABLES in files:
                os.close(files[VARIABLES])
            for pipe in pipes:
                os.close(pipe)

    @classmethod
    def list_live(cls, server: str) -> list[Child]:
        """Return the children of a server of this process that run."""
        children = [child for mark, child in cls.live.items() if mark.startswith(f"{server}.")]
        return [child for child in children if child._transport is not None]

    @property
    def pid(self) -> int:
        """Its process id, and the id of its group."""
        return self._transport.get_pid()

    @property
    def owner(self) -> str:
        """The app that it belongs to, as its folder is named."""
        return self._bounds.owner

    def describe_end(self) -> str:
        """Describe how it ended."""
        if self.status is None:
            return "not running"
        if self.status < 0:
            return f"signal {signal.Signals(-self.status).name}"
        return f"exit status {self.status}"

    # Signals

    def kill(self, why: str) -> None:
        """Kill it, and write the reason into the log of its app."""
        self._listener.on_noise("system", why)
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Signal the whole group, if a process of it is left."""
        if not self.gone.is_set():  # afterwards another group may have its id
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def wait_gone(self, seconds: float) -> bool:
        """Wait for its end, for a limited time. Returns whether it is gone."""
        with anyio.move_on_after(seconds):
            await self.gone.wait()
        return self.gone.is_set()

    # What the event loop reports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.SubprocessProtocol`: it runs."""
        self._transport = transport

    def process_exited(self) -> None:
        """See `asyncio.SubprocessProtocol`: it ended. All that it started is killed."""
        self._has_exited = True
        self.status = self._transport.get_returncode()
        self.send_signal(signal.SIGKILL)
        self._close_parent_pipe()
        self.input.end()
        self.output.release_all()
        if not self.output.is_done:
            self._loop.call_later(DRAIN_SECONDS, self._stop_reading)
        self.live.pop(self.mark, None)
        killing = self._loop.run_in_executor(None, self._bounds.end_processes, self.mark)
        killing.add_done_callback(self._on_orphans_killed)

    # The end

    def _on_silence(self) -> None:
        """End it if it goes on without its standard output."""
        if not self._has_exited:
            self._loop.call_later(DRAIN_SECONDS, self._kill_silent)

    def _kill_silent(self) -> None:
        if not self._has_exited:
            self.send_signal(signal.SIGKILL)

    def _stop_reading(self) -> None:
        self.output.stop()
        self._end_if_done()

    def _on_orphans_killed(self, killing: asyncio.Future[None]) -> None:
        if not killing.cancelled():
            error = killing.exception()
            if error is not None:
                log.error("children of a child could not be ended", exc_info=error)
        self._are_orphans_killed = True
        self._end_if_done()

    def _close_pipes(self) -> None:
        self.input.end()
        self.output.stop()

    def _close_parent_pipe(self) -> None:
        if self._parent_pipe is not None:
            os.close(self._parent_pipe)
            self._parent_pipe = None

    def _end_if_done(self) -> None:
        if not self._has_exited or not self._are_orphans_killed or not self.output.is_done:
            return
        if self.gone.is_set():
            return
        self.gone.set()
        self._close_pipes()
        self._transport.close()
        self._listener.on_gone(self.describe_end())
