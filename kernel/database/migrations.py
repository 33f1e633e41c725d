"""Numbered SQL files of each plugin, applied once, in order, by one process at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psycopg
from psycopg import errors, sql
from psycopg.pq import TransactionStatus

from kernel.config.settings import DatabaseConfig
from kernel.contracts.statements import SET_ASIDE_PREFIX
from kernel.database.connect import Connection, connect_options, connected, reason
from kernel.errors import BootError

NAME = re.compile(r"\d{4}_[a-z0-9_]+\.sql")
PATIENCE = 600_000
"""Milliseconds to wait for another process that migrates, or for a table that is in use."""
REWRITE = """restore it and write what is new into a new file, or take another database \
([database] url, or --data-dir for an embedded one)"""
RESTORE = """wait for the restore that is under way; if it was killed, restore once more, which \
puts all of it back first"""
UNHURRIED = b"set local statement_timeout = 0; set local lock_timeout = %d"
LEDGER = b"""create schema if not exists caudex_kernel;
create table if not exists caudex_kernel.migrations (
    plugin text not null,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now(),
    primary key (plugin, name)
);
lock table caudex_kernel.migrations in share row exclusive mode;
create table if not exists caudex_kernel.revisions (
    topic text primary key,
    revision bigint not null
);
create table if not exists caudex_kernel.keys (
    name text primary key,
    fingerprint text not null
);
create table if not exists caudex_kernel.channel (name text not null);
insert into caudex_kernel.channel
    select 'caudex_' || gen_random_uuid() where not exists (select from caudex_kernel.channel);
"""
"""The ledger is the lock as well: an advisory one is open to every login of the database. Who only
reads it does not wait."""


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
        text = path.read_bytes()
        if not NAME.fullmatch(path.name) or b"\0" in text:  # libpq would stop reading there
            remedy = "say 0001_what.sql, with plain text in it"
            raise BootError(f"plugin {plugin}", f"{path.name} is no migration", remedy)
        if found and found[-1].name[:4] == path.name[:4]:
            both = f"{found[-1].name} and {path.name} have one number"
            raise BootError(f"plugin {plugin}", both, "give the later one the next")
        found.append(Migration(plugin, path.name, text, hashlib.sha256(text).hexdigest()))
    return found


async def pending(config: DatabaseConfig, migrations: Iterable[Migration]) -> list[Migration]:
    """Return what `migrate` would apply, without changing anything. Raises BootError."""
    with _boot_errors():
        async with connected(config.url, connect_options(config)) as c:
            return _outstanding(c, migrations, await _ledger(c))


async def migrate(config: DatabaseConfig, migrations: Sequence[Migration]) -> list[str]:
    """Apply what is missing, each file in its own transaction, and return the names.

    Raises BootError when a file that was applied has changed since, or when one fails. Where
    nothing is missing nothing is locked, and the right to read the ledger is enough. The channel
    came last to the kernel's tables: a database from before it gets it, whatever else is missing.
    """
    applied: list[str] = []
    options = connect_options(config, lock_timeout=PATIENCE)
    with _boot_errors():
        async with connected(config.url, options) as c:
            while not await _has(c, "channel") or _outstanding(c, migrations, await _ledger(c)):
                if name := await _apply_next(c, migrations):
                    applied.append(name)
    return applied


async def _apply_next(connection: Connection, migrations: Sequence[Migration]) -> str | None:
    """Apply one file, unless another process did so while the lock was waited for.

    On an empty database there is nothing to lock yet: of several processes that make the ledger one
    does, after which it is there for the others.
    """
    with suppress(errors.UniqueViolation, errors.DuplicateSchema, errors.DuplicateTable):
        async with connection.transaction():
            # Again, for a pooler that takes no `options`: it leaves those of the login in force.
            await connection.execute(UNHURRIED % PATIENCE)
            await connection.execute(LEDGER)
            if todo := _outstanding(connection, migrations, await _ledger(connection)):
                await _apply(connection, todo[0])
                return f"{todo[0].plugin}/{todo[0].name}"
    return None


@contextmanager
def _boot_errors() -> Generator[None]:
    try:
        yield
    except errors.LockNotAvailable:
        remedy = "see what holds its locks: select * from pg_stat_activity"
        raise BootError("migrations", "the database stayed locked", remedy) from None
    except errors.InsufficientPrivilege as error:
        remedy = "grant the account of database.url `create` on the database"
        raise BootError("migrations", reason(error), remedy) from None
    except psycopg.Error as error:
        raise BootError("migrations", reason(error), "try again") from error


async def _apply(connection: Connection, migration: Migration) -> None:
    where = f"plugin {migration.plugin}, {migration.name}"
    schema = sql.Identifier(f"caudex_{migration.plugin}")
    await connection.execute(sql.SQL("create schema if not exists {}").format(schema))
    try:
        await connection.execute(migration.text)
    except psycopg.Error as error:
        said = error.diag.message_primary or reason(error)
        raise BootError(where, f"the migration failed: {said}", "nothing of it was kept") from error
    if connection.pgconn.transaction_status != TransactionStatus.INTRANS:
        raise BootError(where, "the file ends its transaction", "leave commit and rollback out")
    await connection.execute(
        "insert into caudex_kernel.migrations (plugin, name, checksum) values ($1, $2, $3)",
        [migration.plugin, migration.name, migration.checksum],
    )


async def _ledger(connection: Connection) -> dict[tuple[str, str], str]:
    """What was applied; nothing in a database that is new.

    Raises BootError for one that only looks new: who registers first in it would be its admin.
    """
    if await _has(connection, "migrations"):
        query = "select plugin, name, checksum from caudex_kernel.migrations"
        cursor = await connection.execute(query)
        if done := {(plugin, name): checksum async for plugin, name, checksum in cursor}:
            return done
    query = "select from pg_namespace where starts_with(nspname, $1)"
    if await (await connection.execute(query, [SET_ASIDE_PREFIX])).fetchone() is not None:
        raise BootError("database", f"what it held is put aside ({SET_ASIDE_PREFIX}…)", RESTORE)
    return {}


async def _has(connection: Connection, table: str) -> bool:
    query = "select to_regclass('caudex_kernel.' || $1::text) is not null"
    return await (await connection.execute(query, [table])).fetchone() == (True,)


def _outstanding(
    connection: Connection, migrations: Iterable[Migration], done: dict[tuple[str, str], str]
) -> list[Migration]:
    todo: list[Migration] = []
    for migration in migrations:
        checksum = done.get((migration.plugin, migration.name))
        if checksum is None:
            todo.append(migration)
        elif checksum != migration.checksum:
            info = connection.info  # an embedded server's host is a folder
            problem = f"has changed since it was applied to database {info.dbname!r} at {info.host}"
            where = f"plugin {migration.plugin}, {migration.name}"
            raise BootError(where, f"{problem}:{info.port}", REWRITE)
    return todo
