"""Databases for tests, copied from a template that is migrated already."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kernel.database.migrations import migrate
from kernel.loading.kernel import Kernel

_count = itertools.count(1)


class Postgres:
    """A PostgreSQL for tests; each database is a copy of a migrated template."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._templates: dict[tuple[str, ...], str] = {}
        self._connection: psycopg.Connection | None = None

    def create(self, template: str = "template0") -> str:
        """Create a database and return its DSN."""
        name = f"caudex_test_{os.getpid()}_{next(_count)}_{secrets.token_hex(3)}"
        # By default each page goes through the buffers and the log, at twice the processor time.
        statement = sql.SQL("create database {} template {} strategy file_copy")
        self._run(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return make_conninfo(self.url, dbname=name)

    def migrated(self, kernel: Kernel) -> str:
        """Create a database with the migrations of the kernel's plugins, and return its DSN."""
        migrations = kernel.migrations
        key = tuple(f"{m.plugin}/{m.checksum}" for m in migrations)
        if key not in self._templates:
            url = self.create()
            config = msgspec.structs.replace(kernel.config.database, url=url)
            asyncio.run(migrate(config, migrations))
            self._templates[key] = conninfo_to_dict(url)["dbname"]  # type: ignore[index]
        return self.create(self._templates[key])

    def drop(self, url: str) -> None:
        """Drop a database and end its connections."""
        name = conninfo_to_dict(url)["dbname"]
        statement = sql.SQL("drop database if exists {} with (force)")
        self._run(statement.format(sql.Identifier(str(name))))

    def close(self) -> None:
        """Close the connection that creates and drops databases."""
        if self._connection is not None:
            self._connection.close()

    def _run(self, statement: sql.Composed) -> None:
        """Run a statement on one connection for all: each one costs a process of PostgreSQL."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.url, autocommit=True)
        self._connection.execute(statement)
