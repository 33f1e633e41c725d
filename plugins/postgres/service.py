"""The embedded server as the kernel's DATABASE_SERVER."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

from kernel.public import BootError, Context

from .archiving.recovery import Restored
from .config import EmbeddedPostgresError, PostgresConfig
from .scratch import scratch_server
from .server import EmbeddedServer, Started
from .state import attach_in_time, pg_bin, running_state

log = structlog.get_logger("caudex.postgres")


class EmbeddedDatabase:
    """See `kernel.contracts.server.DatabaseServer`; all that goes wrong is a BootError."""

    def __init__(self, config: PostgresConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._server: EmbeddedServer | None = None
        self._started: Started | None = None

    def start(self) -> str:
        """Start PostgreSQL and return its DSN. Blocks; main thread only."""
        with _boot_errors():
            server = EmbeddedServer(
                self._context.data_dir,
                self._config,
                # On a public address the port may be known to others, or to a firewall.
                strict_port=not self._context.loopback,
                report=log.warning,
            )
            self._started = server.start()
            self._server = server
            if self._config.ephemeral:
                # Tests look at everything, and change settings of the cluster.
                return server.dsn()
            return server.role_dsn()

    def attach(self) -> str | None:
        """Find the server that another process runs; an error without the right to look."""
        with _boot_errors():
            return attach_in_time(self._context.data_dir, role=not self._config.ephemeral)

    def ensure_running(self) -> None:
        """Start it again when it died, without waiting for it; for each second, main thread."""
        if self._server is None:
            return
        news = self._server.watch()
        if news is None:
            return
        if self._server.ready:
            log.info(news)
        else:
            log.error(news)

    def stop(self) -> None:
        """Shut it down and leave the data folder to others."""
        if self._server:
            self._server.stop()
        self._server = None
        self._started = None

    def program(self, name: str) -> Path:
        """Find a client program of the version that fits the data. Raises BootError."""
        with _boot_errors():
            return pg_bin(name, self._context.data_dir, bin_dir=self._config.bin_dir)

    @contextmanager
    def scratch(self, major: int, size: int) -> Generator[str]:
        """Run an empty server of a major version for a while. Main thread only."""
        with ExitStack() as stack:
            with _boot_errors():
                server = scratch_server(self._context.data_dir, self._config, major, size)
                dsn = stack.enter_context(server)
            yield dsn

    def recover(self, at: datetime) -> str:
        """Restore the data as it was at a time; return a message. Main thread only."""
        with _boot_errors():
            server = EmbeddedServer(self._context.data_dir, self._config, report=log.warning)
            try:
                restored = server.recover(at)
                server.role_dsn()
            finally:
                server.stop()
        return _describe(restored)

    @property
    def port(self) -> int | None:
        """The TCP port, also of a server that another process runs."""
        if self._started is not None:
            return self._started.plan.port
        with _boot_errors():
            state = running_state(self._context.data_dir)
        if state is None:
            return None
        return state.port

    @property
    def notice(self) -> str:
        """What an operator should read after a start, a line each."""
        if self._started is None:
            return ""
        return "\n".join(self._started.notices)


def _describe(restored: Restored) -> str:
    if restored.last_time is None:
        content = "it has no transaction after its base backup"
    else:
        content = f"its last transaction is of {restored.last_time.astimezone(UTC).isoformat()}"
    if restored.former_folder is None:
        return f"{content}; there was no cluster before"
    return (
        f"{content}; the former cluster is {restored.former_folder}: "
        "remove it when you need it no more"
    )


@contextmanager
def _boot_errors() -> Generator[None]:
    try:
        yield
    except EmbeddedPostgresError as error:
        raise BootError("embedded PostgreSQL", str(error)) from error
