"""Run the server: the embedded database, the listening socket, one process or several."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from uvicorn.supervisors import ChangeReload, Multiprocess

from kernel import log as logging
from kernel.app import build_app
from kernel.config import Config, load_config
from kernel.contracts.statements import DATABASE_SERVER, DatabaseServer
from kernel.errors import EX_CONFIG, BootError
from kernel.loader import Kernel, load
from kernel.protocol import GuardedProtocol

DRAIN_SECONDS = 20
PR_SET_PDEATHSIG = 1
WORKER_APP = "kernel.serve:worker_app"


@contextmanager
def database_for(kernel: Kernel) -> Generator[DatabaseServer | None]:
    """See that the kernel has a database: the configured one, a running server's, or its own.

    Runs on the main thread: an embedded server ends with the thread that started it.
    """
    server = None if kernel.config.database.url else _database_server(kernel)
    if server is None:
        yield None
        return
    if url := server.attach():
        use_database(kernel, url, server.port)
        yield None
        return
    use_database(kernel, server.start(), server.port)
    try:
        yield server
    finally:
        server.stop()


def _database_server(kernel: Kernel) -> DatabaseServer:
    if server := kernel.services.build_early(DATABASE_SERVER):
        return server
    remedy = "set [database] url, or switch on a plugin that runs one (postgres)"
    raise BootError("database", "none is configured and no plugin runs one", remedy)


def use_database(kernel: Kernel, url: str, port: int | None) -> None:
    """Point a loaded kernel at an embedded database."""
    database = msgspec.structs.replace(kernel.config.database, url=url, embedded_port=port)
    kernel.config = msgspec.structs.replace(kernel.config, database=database)


def serve(config: Config, *, reload: bool = False) -> int:
    """Serve until a signal ends it; returns the exit status. Raises BootError."""
    kernel = load(config)
    writer = logging.configure(config.log)
    try:
        with bound_socket(config) as listener, _owned_database(kernel) as server:
            _banner(kernel, server, listener)
            if reload or config.server.workers > 1:
                return _supervise(kernel, server, listener, reload=reload)
            return _run_here(kernel, server, listener)
    finally:
        writer.close()


@contextmanager
def _owned_database(kernel: Kernel) -> Generator[DatabaseServer | None]:
    """Like `database_for`, but a server that others already serve from is not shared."""
    server = None if kernel.config.database.url else _database_server(kernel)
    if server is None:
        yield None
        return
    use_database(kernel, server.start(), server.port)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def bound_socket(config: Config) -> Generator[socket.socket]:
    """Bind the address before anything else is started. Raises BootError with the remedy."""
    host, port = config.server.host, config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except OSError as error:
            said = (error.strerror or str(error)).lower()
            raise BootError(f"address {host}:{port}", said, "choose another with --port") from None
        listener.set_inheritable(True)
        yield listener


def _run_here(kernel: Kernel, server: DatabaseServer | None, listener: socket.socket) -> int:
    if server is not None:
        kernel.watched.append(server.ensure_running)
    app = build_app(kernel)
    uvicorn.Server(_uvicorn(app)).run(sockets=[listener])
    return _status(app)


def _status(app: Starlette) -> int:
    error: BootError | None = getattr(app.state, "boot_error", None)
    if error is not None:
        raise error
    return 0


def _uvicorn(app: Any, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=GuardedProtocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        **more,
    )


def worker_app() -> Starlette:
    """Make the application in a child process; the parent has put all it needs into the
    environment, the address of the embedded database too."""
    _end_with_parent()
    config = load_config()
    logging.configure(config.log)
    app = build_app(load(config))
    app.state.exit_on_boot_error = True
    return app


def _end_with_parent() -> None:
    """Ask Linux to stop this process when its parent dies, however it dies (prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _supervise(
    kernel: Kernel, server: DatabaseServer | None, listener: socket.socket, *, reload: bool
) -> int:
    _hand_down(kernel.config)
    config = _uvicorn(
        WORKER_APP, factory=True, workers=kernel.config.server.workers, reload=reload,
        reload_dirs=_watched_folders(kernel.config) if reload else None,
    )  # fmt: skip
    supervisor = (
        _Reloader(config, uvicorn.Server(config).run, [listener], server)
        if reload
        else _Parent(config, [listener], server)
    )
    supervisor.run()
    return EX_CONFIG if getattr(supervisor, "boot_failed", False) else 0


def _hand_down(config: Config) -> None:
    os.environ |= {
        "CAUDEX_DATABASE__URL": config.database.url,
        "CAUDEX_SERVER__DATA_DIR": str(config.data_dir),
        "CAUDEX_SERVER__HOST": config.server.host,
        "CAUDEX_SERVER__PORT": str(config.server.port),
        "CAUDEX_SERVER__PLUGIN_FILES": msgspec.json.encode(config.server.plugin_files).decode(),
    }
    if config.source:
        os.environ["CAUDEX_CONFIG"] = config.source
    if config.database.embedded_port is not None:
        os.environ["CAUDEX_DATABASE__EMBEDDED_PORT"] = str(config.database.embedded_port)


def _watched_folders(config: Config) -> list[str]:
    files = [str(Path(file).resolve().parent) for file in config.server.plugin_files]
    folder = config.server.plugins_dir
    return [*files, *([folder] if folder else []), *([] if files or folder else ["."])]


class _Parent(Multiprocess):
    """uvicorn's supervisor, which also keeps the embedded database up and does not restart a
    child that refused to boot."""

    def __init__(self, config: uvicorn.Config, sockets: Any, server: DatabaseServer | None) -> None:
        super().__init__(config, sockets)
        self._database = server
        self.boot_failed = False

    def keep_subprocess_alive(self) -> None:
        """Called twice a second."""
        if self._database is not None and not self.should_exit.is_set():
            self._database.ensure_running()
        codes = [process.process.exitcode for process in self.processes]
        if EX_CONFIG in codes:
            self.boot_failed = True
            self.should_exit.set()
            return
        super().keep_subprocess_alive()


class _Reloader(ChangeReload):
    """uvicorn's reloader, which also keeps the embedded database up."""

    def __init__(
        self, config: uvicorn.Config, target: Any, sockets: Any, server: DatabaseServer | None
    ) -> None:
        super().__init__(config, target, sockets)
        self._database = server

    def should_restart(self) -> Any:
        """Called four times a second."""
        if self._database is not None:
            self._database.ensure_running()
        return super().should_restart()


def _banner(kernel: Kernel, server: DatabaseServer | None, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    lines = [
        f"Caudex {version('caudex')} on http://{shown}:{port}",
        "  The first user to register is the admin.",
        f"  Data:  {kernel.config.data_dir}",
    ]
    if server is not None:
        lines += [f"  {line}" for line in server.notice.splitlines()]
    lines.append("  Docs:  docs/quickstart.md; Ctrl-C stops the server.")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
