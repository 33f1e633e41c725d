"""Numbered SQL files of each plugin, applied once, in order, by one process at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection, sql

from kernel.config import DatabaseConfig
from kernel.connect import connect_options
from kernel.errors import BootError

NAME = re.compile(r"\d{4}_[a-z0-9_]+\.sql")
LOCK = 0x63617564  # "caud": no other meaning than being ours
LEDGER = b"""
create schema if not exists caudex_kernel;
create table if not exists caudex_kernel.migrations (
    plugin text not null,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now(),
    primary key (plugin, name)
);
create table if not exists caudex_kernel.revisions (
    topic text primary key,
    revision bigint not null
);
create table if not exists caudex_kernel.keys (
    name text primary key,
    fingerprint text not null
);
"""


class Migration(msgspec.Struct, frozen=True):
    """One file; `checksum` is the SHA-256 of its bytes."""

    plugin: str
    name: str
    text: bytes
    checksum: str


def find_migrations(plugin: str, folder: Path) -> list[Migration]:
    """Read a plugin's files in order. Raises BootError for a name that is not `0001_what.sql`."""
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        if not NAME.fullmatch(path.name):
            raise BootError(f"plugin {plugin}", f"{path.name} is no migration", "say 0001_what.sql")
        text = path.read_bytes()
        found.append(Migration(plugin, path.name, text, hashlib.sha256(text).hexdigest()))
    return found


async def pending(config: DatabaseConfig, migrations: Iterable[Migration]) -> list[Migration]:
    """Return what `migrate` would apply, without changing anything."""
    async with await AsyncConnection.connect(config.url, **connect_options(config)) as connection:
        cursor = await connection.execute("select to_regclass('caudex_kernel.migrations')")
        row: Any = await cursor.fetchone()
        done = await _ledger(connection) if row and row[0] else {}
    return _outstanding(migrations, done)


async def migrate(config: DatabaseConfig, migrations: Sequence[Migration]) -> list[str]:
    """Apply what is missing, each file in its own transaction, and return the names.

    Raises BootError when a file that was applied has changed since, or when one fails.
    """
    applied: list[str] = []
    options: dict[str, Any] = connect_options(config)
    options |= {"autocommit": False, "options": "-c timezone=UTC"}
    async with await AsyncConnection.connect(config.url, **options) as connection:
        while True:
            async with connection.transaction():
                await connection.execute(f"select pg_advisory_xact_lock({LOCK})")  # type: ignore[arg-type]
                await connection.execute(LEDGER)
                todo = _outstanding(migrations, await _ledger(connection))
                if not todo:
                    return applied
                await _apply(connection, todo[0])
            applied.append(f"{todo[0].plugin}/{todo[0].name}")


async def _apply(connection: AsyncConnection[Any], migration: Migration) -> None:
    schema = sql.Identifier(f"caudex_{migration.plugin}")
    try:
        create = sql.SQL("create schema if not exists {}").format(schema)
        await connection.execute(create)
        await connection.execute(migration.text)
    except psycopg.Error as error:
        where = f"plugin {migration.plugin}, {migration.name}"
        said = error.diag.message_primary or str(error)
        raise BootError(where, f"the migration failed: {said}", "nothing of it was kept") from error
    await connection.execute(
        "insert into caudex_kernel.migrations (plugin, name, checksum) values ($1, $2, $3)",
        [migration.plugin, migration.name, migration.checksum],
    )


async def _ledger(connection: AsyncConnection[Any]) -> dict[tuple[str, str], str]:
    cursor = await connection.execute("select plugin, name, checksum from caudex_kernel.migrations")
    return {(plugin, name): checksum async for plugin, name, checksum in cursor}


def _outstanding(
    migrations: Iterable[Migration], done: dict[tuple[str, str], str]
) -> list[Migration]:
    todo: list[Migration] = []
    for migration in migrations:
        checksum = done.get((migration.plugin, migration.name))
        if checksum is None:
            todo.append(migration)
        elif checksum != migration.checksum:
            raise BootError(
                f"plugin {migration.plugin}, {migration.name}",
                "the file has changed since it was applied",
                "restore it and write what is new into a new file",
            )
    return todo
