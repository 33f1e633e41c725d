"""The embedded PostgreSQL: a real server in the data folder, where no database is configured."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import DATABASE_SERVER, Plugin, Provider, hookimpl, provide

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
    Config = PostgresConfig
    config: PostgresConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide the server; nothing starts before the kernel asks."""
        return [provide(DATABASE_SERVER, lambda _: EmbeddedDatabase(self.config, self.context))]
