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
            # On a public address the port may be known to others, or to a firewall.
            strict, folder = not self._context.loopback, self._context.data_dir
            server = EmbeddedServer(folder, self._config, strict_port=strict, report=log.warning)
            self._started = server.start()
            self._server = server
            # Tests look at everything, and change settings of the cluster.
            return server.dsn() if self._config.ephemeral else server.role_dsn()

    def attach(self) -> str | None:
        """Find the server that another process runs; an error without the right to look."""
        with _boot_errors():
            return attach_in_time(self._context.data_dir, role=not self._config.ephemeral)

    def ensure_running(self) -> None:
        """Start it again when it died, without waiting for it; for each second, main thread."""
        if self._server and (news := self._server.watch()):
            report = log.info if self._server.ready else log.error
            report(news)

    def stop(self) -> None:
        """Shut it down and leave the data folder to others."""
        if self._server:
            self._server.stop()
        self._server = self._started = None

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
        return state.port if state else None

    @property
    def notice(self) -> str:
        """What an operator should read after a start, a line each."""
        return "\n".join(self._started.notices) if self._started else ""


def _describe(restored: Restored) -> str:
    if restored.last is None:
        content = "it has no transaction after its base backup"
    else:
        content = f"its last transaction is of {restored.last.astimezone(UTC).isoformat()}"
    if restored.before is None:
        return f"{content}; there was no cluster before"
    return f"{content}; the former cluster is {restored.before}: remove it when you need it no more"


@contextmanager
def _boot_errors() -> Generator[None]:
    try:
        yield
    except EmbeddedPostgresError as error:
        raise BootError("embedded PostgreSQL", str(error)) from error
