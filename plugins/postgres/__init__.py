"""The embedded PostgreSQL: a real server in the data folder, where no database is configured."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    DATABASE_SERVER,
    STATEMENTS,
    DatabaseQuery,
    Finding,
    Plugin,
    Provider,
    Services,
    hookimpl,
    provide,
)

from .archiving.archive import BaseBackups, remark
from .config import EmbeddedPostgresError, PostgresConfig
from .server import EmbeddedServer, Started
from .service import EmbeddedDatabase
from .state import ServerState, attach, pg_bin, running_state

__all__ = [
    "EmbeddedPostgresError", "EmbeddedServer", "PostgresConfig", "PostgresPlugin", "ServerState",
    "Started", "attach", "pg_bin", "running_state",
]  # fmt: skip


class PostgresPlugin(Plugin):
    """Provides a database to deployments that configure none."""

    name = "postgres"
    finds = (STATEMENTS,)
    Config = PostgresConfig
    config: PostgresConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide the server; nothing starts before the kernel asks."""
        return [provide(DATABASE_SERVER, lambda _: EmbeddedDatabase(self.config, self.context))]

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Make the base backups of the archive, if there is one."""
        if self._archives():
            bases = BaseBackups(self.context.data_dir, self.config, services.get(STATEMENTS))
            self.tasks.every(60, bases.step, "base backup", leader=True)
        yield

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Report the state of the archive to `caudex doctor`."""
        return [remark(self.config, query)] if self._archives() else []

    def _archives(self) -> bool:
        """Whether the embedded server is used, and archives."""
        return bool(self.config.archive and running_state(self.context.data_dir))
