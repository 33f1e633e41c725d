"""Numbered SQL files of each plugin, applied once, in order, by one process at a time."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
import psycopg
from psycopg import errors, sql
from psycopg.pq import TransactionStatus

from kernel.config.settings import DatabaseConfig
from kernel.contracts.server import Migration
from kernel.contracts.statements import SET_ASIDE_PREFIX
from kernel.database.connection_options import connect_options, connected
from kernel.database.dialect import Connection, reason
from kernel.errors import BootError

LOCK_TIMEOUT_MS = 600_000
"""How long to wait for another process that migrates, or for a table that is in use."""
LEDGER: Final = b"""create schema if not exists caudex_kernel;
create table if not exists caudex_kernel.migrations (
    plugin text not null,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now(),
    primary key (plugin, name)
);
lock table caudex_kernel.migrations in share row exclusive mode"""
"""The ledger is the lock as well: an advisory lock is open to every login of the database. Reading
the ledger does not wait for it."""

_NAME: Final = re.compile(r"\d{4}_[a-z0-9_]+\.sql")
_REPLACES: Final = re.compile(rb"-- replaces: (.+)\n")
_ENTER: Final = """with replaced as (
    delete from caudex_kernel.migrations where plugin = $1 and name = any($4::text[])
) insert into caudex_kernel.migrations (plugin, name, checksum) values ($1, $2, $3)"""
_WITHOUT_TIMEOUT: Final = b"set local statement_timeout = 0; set local lock_timeout = %d"


class MigrationReport(msgspec.Struct, frozen=True):
    """What `migrate` did. The names are written `plugin/0001_what.sql`."""

    applied: list[str]
    """The files that were missing, in order, without those of the kernel."""
    unknown: list[str]
    """What a newer release applied: this release goes on without it."""


_Ledger = Mapping[tuple[str, str], str]
"""The checksum of each file that was applied, by `Migration.key`."""


def find_migrations(plugin: str, folder: Path) -> list[Migration]:
    """Read a plugin's files in order. Raises BootError for a name that is not `0001_what.sql`."""
    paths = [path for path in folder.glob("*.sql") if not path.name.endswith(".adopt.sql")]
    migrations = [_read(plugin, path) for path in sorted(paths)]
    for earlier, later in itertools.pairwise(migrations):
        if earlier.name[:4] == later.name[:4]:
            problem = f"{earlier.name} and {later.name} have the same number"
            raise BootError(f"plugin {plugin}, {folder}", problem, "give the later the next number")
    return migrations


def _read(plugin: str, path: Path, name: str = "") -> Migration:
    name = name or path.name
    text = path.read_bytes()
    where = f"plugin {plugin}, {path}"
    if not _NAME.fullmatch(name) or b"\0" in text:  # libpq would stop reading there
        remedy = "name it 0001_what.sql, and remove NUL bytes from it"
        raise BootError(where, f"{path.name} is no migration", remedy)
    first_line = _REPLACES.match(text)
    words = first_line[1].decode().split() if first_line else []
    neighbour = path.with_suffix(".adopt.sql")
    return Migration(
        plugin,
        name,
        text,
        hashlib.sha256(text).hexdigest(),
        replaces=tuple(word.strip("()") for word in words),
        needed=tuple(word for word in words if not word.startswith("(")),
        adoption=neighbour.read_bytes() if neighbour.is_file() else b"",
    )


def _kernel() -> Migration:
    """Return the kernel's own tables: applied again, under another name, when the text changes.

    An older server finds its own text in the ledger of a newer one, and applies nothing.
    """
    path = Path(__file__).with_name("tables.sql")
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return _read("kernel", path, f"0001_{version}.sql")


async def preview(config: DatabaseConfig, migrations: Sequence[Migration]) -> MigrationReport:
    """Report what `migrate` would do, without changing anything. Raises BootError."""
    with _boot_errors():
        async with connected(config.url, connect_options(config)) as connection:
            ledger = await _read_ledger(connection)
            outstanding = _list_outstanding(connection, migrations, ledger)
            return MigrationReport(
                applied=[_title(*migration.key) for migration in outstanding],
                unknown=_list_unknown(migrations, ledger),
            )


async def migrate(config: DatabaseConfig, migrations: Sequence[Migration]) -> MigrationReport:
    """Apply what is missing, each file in its own transaction.

    The kernel's own tables come first. If nothing is missing, nothing is locked, and the right to
    read the ledger is enough. Raises BootError when a file that was applied has changed since, or
    when one fails.
    """
    kernel = _kernel()
    applied = list[Migration]()
    complete = [kernel, *migrations]
    options = connect_options(config, lock_timeout=LOCK_TIMEOUT_MS)
    with _boot_errors():
        async with connected(config.url, options) as connection:
            ledger = await _read_ledger(connection)
            while _list_outstanding(connection, complete, ledger):
                migration = await _apply_next(connection, complete)
                if migration is not None:
                    applied.append(migration)
                ledger = await _read_ledger(connection)
    return MigrationReport(
        applied=[_title(*migration.key) for migration in applied if migration is not kernel],
        unknown=_list_unknown(migrations, ledger),
    )


async def _apply_next(connection: Connection, migrations: Sequence[Migration]) -> Migration | None:
    """Apply one file, unless another process did so while the lock was waited for.

    On an empty database there is nothing to lock yet: if several processes create the ledger, one
    succeeds and the others use it.
    """
    with suppress(errors.UniqueViolation, errors.DuplicateSchema, errors.DuplicateTable):
        async with connection.transaction():
            # Again, because a pooler that takes no `options` leaves those of the login.
            await connection.execute(_WITHOUT_TIMEOUT % LOCK_TIMEOUT_MS)
            await connection.execute(LEDGER)
            ledger = await _read_ledger(connection)
            outstanding = _list_outstanding(connection, migrations, ledger)
            if outstanding:
                await _apply(connection, outstanding[0], ledger)
                return outstanding[0]
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


async def _apply(connection: Connection, migration: Migration, ledger: _Ledger) -> None:
    """Run a file, or its adoption in place of the files that it replaces."""
    adopts = _list_replaced(migration, ledger)
    schema = sql.Identifier(f"caudex_{migration.plugin}")
    await connection.execute(sql.SQL("create schema if not exists {}").format(schema))
    try:
        await connection.execute(migration.adoption if adopts else migration.text)
    except psycopg.Error as error:
        message = error.diag.message_primary or reason(error)
        problem = f"the migration failed: {message}"
        raise BootError(_locate(migration), problem, "correct it: it was rolled back") from error
    if connection.pgconn.transaction_status != TransactionStatus.INTRANS:
        remedy = "remove commit and rollback from the file"
        raise BootError(_locate(migration), "the file ends its transaction", remedy)
    await connection.execute(_ENTER, [*migration.key, migration.checksum, adopts])


async def _read_ledger(connection: Connection) -> _Ledger:
    """Return the applied migrations; none for a new database.

    Raises BootError for one that only looks new: the first user to register would be its admin.
    """
    query = "select to_regclass('caudex_kernel.migrations') is not null"
    if await (await connection.execute(query)).fetchone() == (True,):
        query = "select plugin, name, checksum from caudex_kernel.migrations"
        cursor = await connection.execute(query)
        ledger = {(plugin, name): checksum async for plugin, name, checksum in cursor}
        if ledger:
            return ledger
    query = "select from pg_namespace where starts_with(nspname, $1)"
    if await (await connection.execute(query, [SET_ASIDE_PREFIX])).fetchone() is not None:
        problem = f"a restore has set its content aside (schemas {SET_ASIDE_PREFIX}…)"
        remedy = """wait for the restore that is under way; if it was killed, restore once more, \
which puts all of it back first"""
        raise BootError("database", problem, remedy)
    return {}


def _list_outstanding(
    connection: Connection, migrations: Sequence[Migration], ledger: _Ledger
) -> list[Migration]:
    outstanding = [migration for migration in migrations if migration.key not in ledger]
    applied = [migration for migration in migrations if migration.key in ledger]
    last_name = {migration.plugin: migration.name for migration in applied}  # in order
    for migration in outstanding:
        _check_replaced(migration, migrations, ledger)
        later = last_name.get(migration.plugin, "")
        if migration.name < later:
            remedy = f"name it {int(later[:4]) + 1:04}{migration.name[4:]}"
            raise BootError(_locate(migration), f"{later} was applied before it", remedy)
    for migration in migrations:
        if ledger.get(migration.key, migration.checksum) != migration.checksum:
            info = connection.info  # an embedded server's host is a folder
            problem = f"has changed since it was applied to database {info.dbname!r} at {info.host}"
            remedy = """restore it and write what is new into a new file, or take another database \
([database] url, or --data-dir for an embedded one)"""
            raise BootError(_locate(migration), f"{problem}:{info.port}", remedy)
    return outstanding


def _list_unknown(migrations: Sequence[Migration], ledger: _Ledger) -> list[str]:
    """Name the applied files that come after the last one of their plugin.

    Files that another one replaces are known. A plugin that is off has no migrations here, so
    nothing is said about it.
    """
    last_name = {migration.plugin: migration.name for migration in migrations}  # in order
    replaced = {(migration.plugin, name) for migration in migrations for name in migration.replaces}
    return [
        _title(plugin, name)
        for plugin, name in sorted(ledger)
        if plugin in last_name
        and name[:4] > last_name[plugin][:4]
        and (plugin, name) not in replaced
    ]


def _title(plugin: str, name: str) -> str:
    return f"{plugin}/{name}"


def _list_replaced(migration: Migration, ledger: _Ledger) -> list[str]:
    return [name for name in migration.replaces if (migration.plugin, name) in ledger]


def _check_replaced(migration: Migration, migrations: Sequence[Migration], ledger: _Ledger) -> None:
    """Refuse a database that no file describes how to continue.

    It has some of the replaced files but not all that are needed, or only files of this plugin
    that are unknown here.
    """
    remedy = """start the last release with these files once on this database, then this one \
(docs/howto/upgrade.md)"""
    missing = [name for name in migration.needed if (migration.plugin, name) not in ledger]
    if missing and _list_replaced(migration, ledger):
        problem = f"the database is of an older release, without {', '.join(missing)}"
        raise BootError(_locate(migration), problem, remedy)
    applied = sorted(name for plugin, name in ledger if plugin == migration.plugin)
    is_known = any(file.key in ledger for file in migrations if file.plugin == migration.plugin)
    if missing and applied and not is_known:
        problem = f"the database is of an older release, with {', '.join(applied)}"
        raise BootError(_locate(migration), problem, remedy)


def _locate(migration: Migration) -> str:
    return f"plugin {migration.plugin}, {migration.name}"
