"""Run the server: the embedded database, the listening socket, one process or several."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import anyio
import msgspec
import structlog
import uvicorn
import uvloop

from kernel.app import build_app, lifespans, running
from kernel.cli.supervisor import ENDING, Files, Supervisor, handle, times
from kernel.config import log as logging
from kernel.config.settings import SEARCH, Config
from kernel.contracts.statements import DATABASE_SERVER, DatabaseServer
from kernel.errors import EX_CONFIG, BootError, plugin_at_fault
from kernel.loading.kernel import Kernel
from kernel.loading.loader import load
from kernel.web.protocol import GuardedProtocol

DRAIN = 20
"""Seconds that requests have to finish after the first signal."""
DEADLINE = 25.0
"""Seconds until what has not ended by itself is cancelled."""
FORCED = 1.5
"""Seconds that the end may take after a second signal."""

YOUNG = 20_000
"""Objects beyond those freed that are made between two looks of the collector."""

WATCHED = (".py", ".sql", ".json")
"""Endings of a plugin's files that `--reload` looks at."""
Again = Callable[[], Config]

FIRST_USER = "The first user to register is the admin."

log = structlog.get_logger("caudex.serve")


@contextmanager
def database_for(kernel: Kernel, *, share: bool = True) -> Generator[DatabaseServer | None]:
    """See that the kernel has a database: the configured one, a running server's, or its own.

    Runs on the main thread: an embedded server ends with the thread that started it. Without
    `share` one that another process runs is refused. Yields the server that is to be kept up.
    """
    server = None if kernel.config.database.url else database_server(kernel)
    if server is None:
        yield None
    elif share and (url := server.attach()):
        use_database(kernel, url, server.port)
        yield None
    else:
        use_database(kernel, server.start(), server.port)
        try:
            yield server
        finally:
            server.stop()


def database_server(kernel: Kernel) -> DatabaseServer:
    """Return the plugin that runs a database. Raises BootError when there is none."""
    if server := kernel.services.build_early(DATABASE_SERVER):
        return server
    remedy = "set [database] url, or enable a plugin that runs one (postgres)"
    raise BootError("database", "none is configured and no plugin runs one", remedy)


def use_database(kernel: Kernel, url: str, port: int | None) -> None:
    """Point a loaded kernel at an embedded database."""
    database = msgspec.structs.replace(kernel.config.database, url=url, embedded_port=port)
    kernel.config = msgspec.structs.replace(kernel.config, database=database)


def serve(config: Config, *, again: Again | None = None, notice: str = "") -> int:
    """Serve until a signal ends it, and show the notice at the start.

    With `again`, which reads the configuration, it starts anew when a file changes. Returns the
    exit status; raises BootError.
    """
    handle((signal.SIGTERM, signal.SIGHUP), _leave)
    with closing(logging.configure(config.log)), bound_socket(config) as listener:
        kernel = load(at_port(config, listener))
        with database_for(kernel, share=False) as server:
            announce = partial(_banner, kernel, server, listener, notice)
            look = server.ensure_running if server else _nothing
            return _serve(kernel, look, listener, announce, again)


def _serve(
    kernel: Kernel,
    look: Callable[[], None],
    listener: socket.socket,
    announce: Callable[[], None],
    again: Again | None,
) -> int:
    if again or kernel.config.server.workers > 1:
        target = partial(child, kernel.config, again, listener)
        count = 1 if again else kernel.config.server.workers
        files = _files(kernel) if again else None
        # Closed here too, or the system would accept connections that no process takes.
        return Supervisor(target, count, look, listener.close).run(announce, files)
    kernel.watched.append(look)
    return Serving(kernel, listener).run_until_told(announce)


def _leave(*_: object) -> NoReturn:
    """A signal before there is an event loop to take it: undo what stands, and go."""
    raise SystemExit(0)


def _nothing() -> None:
    pass


def child(config: Config, again: Again | None, listener: socket.socket, parent: Connection) -> None:
    """Be one server process of several; the parent owns the embedded database."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        with listener:
            config = _renewed(config, again()) if again else config
            with closing(logging.configure(config.log)):
                kernel = load(config)
                ready = partial(parent.send, (files := _files(kernel), times(files)))
                status = Serving(kernel, listener).run_until_told(ready, parent)
    except BootError as error:
        sys.stderr.write(f"caudex: {error}\n")
        status = EX_CONFIG
    sys.exit(status)


def _renewed(config: Config, read: Config) -> Config:
    """What was read anew, but for what the parent holds: address, data folder, own database."""
    held = {name: getattr(config.server, name) for name in ("host", "port", "data_dir")}
    server, database = msgspec.structs.replace(read.server, **held), read.database
    if not database.url:
        url, port = config.database.url, config.database.embedded_port
        database = msgspec.structs.replace(database, url=url, embedded_port=port)
    return msgspec.structs.replace(read, server=server, database=database)


class Serving:
    """A kernel that runs and answers HTTP in one event loop."""

    def __init__(self, kernel: Kernel, listener: socket.socket, *, drain: int = DRAIN) -> None:
        self._kernel = kernel
        self._listener = listener
        self._http = _Http(_uvicorn(kernel, drain))
        self._stopping = asyncio.Event()
        self._scope: anyio.CancelScope | None = None
        self._signals = 0
        self._forced = False

    async def run(self, started: Callable[[], object]) -> None:
        """Serve until `stop`; `started` is called once requests are answered. Raises BootError.

        The plugins' lifespans are left while the last requests are answered, so that neither
        waits for the other; the services and the database go when both are done.
        """
        self._http.announce = started
        async with (
            running(self._kernel),
            anyio.create_task_group() as tasks,
            lifespans(self._kernel),
        ):
            tasks.start_soon(self._http.serve, [self._listener])
            await self._stopping.wait()

    def stop(self) -> None:
        """Accept nothing more, let everything end; call it in the event loop."""
        self._http.should_exit = True
        self._stopping.set()

    def run_until_told(
        self, started: Callable[[], object], parent: Connection | None = None
    ) -> int:
        """Run in a loop of its own until a signal comes, or the parent is gone.

        The first signal ends it within 30 seconds, a second one within two. Returns the exit
        status; raises BootError.
        """
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._run_scoped(started, parent))

    async def _run_scoped(self, started: Callable[[], object], parent: Connection | None) -> int:
        def ready() -> None:
            _spare_the_collector()
            started()

        try:
            with anyio.CancelScope() as self._scope:
                self._listen(parent)
                await self.run(ready)
        except BootError:
            raise
        except Exception as error:
            who = plugin_at_fault(error, self._kernel.homes)
            log.critical("the server ends by a fault", **who, exc_info=error)
            return 1
        return int(self._forced)

    def _listen(self, parent: Connection | None) -> None:
        """Within the loop: uvloop forgets a signal that comes between its handler and its run."""
        loop = asyncio.get_running_loop()
        for number in ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self._told)
        if parent is not None:
            loop.add_reader(parent, self._orphaned, parent)

    def _told(self) -> None:
        self._signals += 1
        if self._signals > 1:
            self._force()
        elif self._http.started:
            self.stop()
            asyncio.get_running_loop().call_later(DEADLINE, self._force)
        elif self._scope is not None:
            self._scope.cancel()

    def _orphaned(self, parent: Connection) -> None:
        asyncio.get_running_loop().remove_reader(parent)
        self._told()

    def _force(self) -> None:
        """Cancel what still runs, and do not even wait for that for long."""
        self._forced = True
        last_resort = threading.Timer(FORCED, os._exit, [1])
        last_resort.daemon = True
        last_resort.start()
        if self._scope is not None:
            self._scope.cancel()


class _Http(uvicorn.Server):
    """uvicorn without signals, which it would raise again at the end, and without a lifespan,
    whose errors it would print in full."""

    announce: Callable[[], object] = _nothing

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to `Serving`."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`; a cancelled server leaves its listeners closed too."""
        try:
            await super().serve(sockets)
        finally:
            for server in getattr(self, "servers", ()):
                server.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, then say so."""
        await super().startup(sockets)
        self.announce()


def _uvicorn(kernel: Kernel, drain: int) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(kernel),
        interface="asgi3",
        http=GuardedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=drain,
    )


def _spare_the_collector() -> None:
    """Let the collector of cycles look at less: not at what stays, and not at each few requests.

    It took a tenth of the processor time of a quick request. What requests leave behind is freed by
    its reference count, all but a little.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


@contextmanager
def bound_socket(config: Config) -> Generator[socket.socket]:
    """Bind the address before anything else is started. Raises BootError with the remedy."""
    host, port = config.server.host, config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named asyncio sets TCP_NODELAY: no reply waits 40 ms for its second half.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except (OSError, TypeError) as error:
            said = (getattr(error, "strerror", None) or str(error)).lower()
            where, remedy = f"address {host}:{port}", "choose another with --host or --port"
            raise BootError(where, said, remedy) from None
        yield listener


def at_port(config: Config, listener: socket.socket) -> Config:
    """Put the port that was really bound into the configuration: 0 means any free one."""
    server = msgspec.structs.replace(config.server, port=listener.getsockname()[1])
    return msgspec.structs.replace(config, server=server)


def _files(kernel: Kernel) -> Files:
    """What a start reads: the configuration, and every plugin that is on or could be dropped in."""
    config = Path(kernel.config.source or SEARCH[0])
    found = [(config.parent, config.name)]
    if folder := kernel.config.server.plugins_dir:
        found.append((Path(folder), "*.py"))
    for plugin in kernel.instances:
        file = Path(str(sys.modules[type(plugin).__module__].__file__))
        inside = [f"**/*{end}" for end in WATCHED] if file.stem == "__init__" else [file.name]
        found += [(file.parent, pattern) for pattern in inside]
        if plugin.migrations:
            found.append((plugin.migrations, "*.sql"))
    return found


def _banner(
    kernel: Kernel, server: DatabaseServer | None, listener: socket.socket, notice: str
) -> None:
    address: tuple[Any, ...] = listener.getsockname()
    host, port = address[:2]
    shown = f"[{host}]" if ":" in host else host
    lines = [
        f"Caudex {version('caudex')} on http://{shown}:{port}",
        *[f"  {line}" for line in (notice or FIRST_USER).splitlines()],
        f"  Data:  {kernel.config.data_dir}",
    ]
    if server is not None:
        lines += [f"  {line}" for line in server.notice.splitlines()]
    lines.append("  Docs:  docs/quickstart.md; Ctrl-C stops the server.")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
