"""The embedded PostgreSQL: a real server in the data folder, where no database is configured."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    DATABASE_SERVER,
    REGISTRY,
    STATEMENTS,
    DatabaseQuery,
    Finding,
    Plugin,
    Provider,
    Services,
    hookimpl,
    provide,
)

from .archiving.backups import BaseBackups, examine_archive
from .config import EmbeddedPostgresError, PostgresConfig
from .server import EmbeddedServer, Started
from .service import EmbeddedDatabase
from .state import ServerState, attach, pg_bin, running_state

__all__ = [
    "EmbeddedPostgresError", "EmbeddedServer", "PostgresConfig", "PostgresPlugin", "ServerState",
    "Started", "attach", "pg_bin", "running_state",
]  # fmt: skip

ARCHIVE_BESIDE_URL = (
    "[plugins.postgres] archive has no effect, as [database] url names another server: archive "
    "with the tools of that server, and remove the setting"
)


class PostgresPlugin(Plugin):
    """Provides a database to deployments that configure none."""

    name = "postgres"
    requires = (REGISTRY,)
    finds = (STATEMENTS,)
    Config = PostgresConfig
    config: PostgresConfig
    _has_url = False

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide the server; nothing starts before the kernel asks."""
        return [provide(DATABASE_SERVER, lambda _: EmbeddedDatabase(self.config, self.context))]

    @hookimpl
    def plugins_loaded(self, services: Services) -> None:
        """Remember whether the operator configured a database."""
        self._has_url = bool(services.get(REGISTRY).config.database.url)

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
        if self.config.archive and self._has_url:
            return [Finding(name="archive", text=ARCHIVE_BESIDE_URL, state="warn")]
        if not self._archives():
            return []
        return [examine_archive(self.config.archive, query)]

    def _archives(self) -> bool:
        """Whether the embedded server is used, and archives."""
        return bool(self.config.archive and running_state(self.context.data_dir))
