"""What a server runs on: its HTTP server, its processes, its database server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from kernel.contracts.base import ServiceKey
from kernel.contracts.server.registry import LoadedPlugins

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from socket import socket

    from starlette.types import ASGIApp

__all__ = [
    "DATABASE_SERVER", "HTTP_SERVER", "PROCESS_MANAGER", "DatabaseServer", "HttpServer",
    "ProcessManager", "ProcessReady", "ServerProcesses",
]  # fmt: skip


class ProcessReady(msgspec.Struct, frozen=True):
    """What a server process sends once it serves: the files that it has read since the time
    `began`, in seconds since the epoch, as `ProcessManager.files` returns them, and its notices."""

    files: Mapping[str, tuple[str, ...]]
    began: float
    notices: Sequence[str]


class ServerProcesses(msgspec.Struct, frozen=True, kw_only=True):
    """The processes to run. `target` runs one in a new process and sends a `ProcessReady`, or a
    text that says why it does not start; it ends when the pipe breaks. `count` is their number."""

    target: Callable[[Connection], None]
    count: int
    listener: socket
    announce: Callable[[Sequence[str]], None]
    """Called once with the notices of the first process."""
    keep_database_running: Callable[[], object]
    """To be called a few times a second on the main thread."""
    ending: Sequence[int]
    """Signals that end the server; the processes get other ones passed on."""
    reload: bool = False
    """Start the process again when a file changes."""


class ProcessManager(Protocol):
    """Runs several server processes, or one that is started again when a file changes.

    It is built early, as an `HttpServer`, on the main thread of the parent of the processes.
    """

    def files(self, plugins: LoadedPlugins) -> Mapping[str, tuple[str, ...]]:
        """Return folders of files that a start reads, each with the endings of their names."""
        ...

    def run(self, server: ServerProcesses, ready: ProcessReady) -> int:
        """Run until a signal and return the exit status; `ready` is what the parent has read."""
        ...


class HttpServer(Protocol):
    """Answers HTTP for an application of ASGI 3, a callable object and no coroutine function.

    `caudex serve` binds the sockets, handles signals and runs one in the event loop of each server
    process. It is built first of all services, so its factory must not need other services and
    must not be a context manager. It needs no lifespan messages.

    A server may send a reply with one system call: its `send` then has the method
    `send_whole(status, headers, body) -> bool`, beside being called with messages. Headers are
    pairs of bytes, and the names are in lower case. It returns False, and has sent nothing, where
    the reply must go as messages. For its own refusals it finds the id of the request by
    `request_id_of(scope)`.
    """

    async def serve(
        self,
        app: ASGIApp,
        sockets: Sequence[socket],
        started: Callable[[], object],
        *,
        drain: float,
    ) -> None:
        """Accept connections on bound sockets, and call `started` once they are accepted.

        Returns after `stop`, once the last request is answered. Requests that run for longer than
        `drain` seconds are cancelled. Closes the sockets at the end, also if it is cancelled.
        """
        ...

    def stop(self) -> None:
        """Accept no more requests; it is called after `started`, in the event loop."""
        ...


class DatabaseServer(Protocol):
    """A PostgreSQL that this deployment runs itself; used when no database url is configured."""

    def start(self) -> str:
        """Start it and return a libpq connection string. Blocks; main thread only."""
        ...

    def attach(self) -> str | None:
        """Return the connection string of the server that another process runs, if any."""
        ...

    def ensure_running(self) -> None:
        """Restart a server that crashed, with backoff; cheap while it runs."""
        ...

    def stop(self) -> None:
        """Shut it down; connections should be closed before."""
        ...

    def program(self, name: str) -> Path:
        """A client program of the same version: `pg_dump`, `psql`. Raises BootError."""
        ...

    def scratch(self, major: int, size: int) -> AbstractContextManager[str]:
        """Run an empty server of a major version, with room for so many bytes, and remove it.

        The context is its connection string. Main thread only. Entering it raises BootError where
        the programs of that version, or the room, are missing.
        """
        ...

    def recover(self, at: datetime) -> str:
        """Restore the data as it was at a time and keep what is replaced; return a message.

        No server may run on the data; it need not be able to start. Blocks; main thread only.
        Raises BootError.
        """
        ...

    @property
    def port(self) -> int | None:
        """The TCP port it listens on, if any."""
        ...

    @property
    def notice(self) -> str:
        """Where the data is, and warnings about it, for the banner at the start."""
        ...


HTTP_SERVER = ServiceKey[HttpServer]("http_server")
PROCESS_MANAGER = ServiceKey[ProcessManager]("process_manager")
DATABASE_SERVER = ServiceKey[DatabaseServer]("database_server")
