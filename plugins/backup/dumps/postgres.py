"""Dumps a database, and takes the steps that pg_dump and pg_restore leave out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from kernel.public import SET_ASIDE_PREFIX, BadRequest

from .running import connection_arguments, run

LOCK_WAIT: Final = 60_000
"""Milliseconds that a backup waits for all tables, and a restore for each."""
SCRATCH_DATABASE: Final = "caudex_verify_"
_REPLACED: Final = "replaced: "
"""How the comment of a schema put aside begins that is not to come back, before the name it had; of
another one the name is all of it. No app can be called by either."""
_SCHEMAS: Final = """
select n.nspname from pg_namespace n
where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'public')
    and starts_with(n.nspname, %s) = %s and not (n.oid = any(%s))
order by n.nspname"""
_OF_EXTENSIONS: Final = """
select n.oid, n.nspname from pg_namespace n
where n.oid in (select extnamespace from pg_extension) or exists (
    select from pg_depend d
    where d.classid = 'pg_namespace'::regclass and d.objid = n.oid and d.deptype = 'e')"""
_MARKED: Final = """
select s.nspname, obj_description(s.oid, 'pg_namespace') from pg_namespace s
where starts_with(s.nspname, %s)
    and not starts_with(obj_description(s.oid, 'pg_namespace'), %s)
order by 1"""
_TABLES: Final = """
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'p'
    and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    and not starts_with(n.nspname, %s)
    and not exists (select from pg_depend d
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by 1, 2"""
_MADE: Final = """
insert into caudex_backup.last as l (folder, file, made_at) values (%s, %s, %s)
on conflict (folder) do update set file = excluded.file, made_at = excluded.made_at"""
_VERIFIED: Final = """
insert into caudex_backup.last as l (folder, file, made_at, verified_file, verified_at)
values (%s, %s, %s, %s, now()) on conflict (folder) do update
set verified_file = excluded.verified_file, verified_at = excluded.verified_at"""
_ABANDONED: Final = """
select d.datname from pg_database d where starts_with(d.datname, %s)
    and not exists (select from pg_stat_activity a where a.datname = d.datname)
    and to_timestamp(substring(d.datname from '_([0-9]+)_')::float8) < now() - interval '1 hour'"""
_ROLES: Final = """
select distinct r.rolname from pg_shdepend d join pg_roles r on r.oid = d.refobjid
where d.refclassid = 'pg_authid'::regclass and r.rolname <> current_user
    and d.dbid = (select oid from pg_database where datname = current_database())
order by r.rolname"""


def major_of(url: str) -> int:
    """The major version of the database's PostgreSQL."""
    with _connected(url) as connection:
        return connection.info.server_version // 10_000


def size_of(url: str) -> int:
    """The bytes that the database takes on the disk."""
    with _connected(url) as connection:
        row = connection.execute("select pg_database_size(current_database())").fetchone()
        if row is None:
            return 0
        return int(row[0])


def dump(program: Path, url: str, file: Path) -> dict[str, int]:
    """Dump a database in custom format, without leftovers. Returns the rows of each table.

    Both see the same snapshot. Raises BadRequest with what the tool says.
    """
    # A login of an app may lock its tables for as long as it likes.
    arguments = ["--format=custom", f"--file={file}", f"--exclude-schema={SET_ASIDE_PREFIX}*"]
    arguments.append(f"--lock-wait-timeout={LOCK_WAIT}")
    # Unlogged rows are not to last: passwords of apps' logins are such.
    arguments.append("--no-unlogged-table-data")
    with _connected(url, autocommit=True) as connection:
        connection.execute("begin isolation level repeatable read, read only")
        # The locks of the count keep a change of tables from coming between it and the dump.
        counts = _counts(connection)
        [snapshot] = connection.execute("select pg_export_snapshot()").fetchone() or [""]
        arguments.append(f"--snapshot={snapshot}")
        run([str(program), *arguments, *connection_arguments(url)], url)
    return counts


def counts_in(url: str) -> dict[str, int]:
    """Count the rows of each table."""
    with _connected(url) as connection:
        return _counts(connection)


def _counts(connection: psycopg.Connection) -> dict[str, int]:
    counts: dict[str, int] = {}
    for schema, table in connection.execute(_TABLES, [SET_ASIDE_PREFIX]).fetchall():
        statement = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
        [counts[f"{schema}.{table}"]] = connection.execute(statement).fetchone() or [0]
    return counts


@contextmanager
def scratch_database(url: str) -> Generator[str]:
    """Create an empty database beside the one of `url`, and drop it afterwards. Yields its url.

    Removes those of commands that were killed. Raises BadRequest where the login may not.
    """
    name = f"{SCRATCH_DATABASE}{int(time.time())}_{secrets.token_hex(4)}"
    with _connected(url, autocommit=True) as connection:
        for (old,) in connection.execute(_ABANDONED, [SCRATCH_DATABASE]).fetchall():
            _drop_database(connection, old)
        statement = sql.SQL("create database {} template template0")
        try:
            connection.execute(statement.format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            problem = "the database login may not create a database to verify in"
            raise BadRequest(f"{problem}: give it CREATEDB, or name another with --into") from None
        try:
            yield make_conninfo(url, dbname=name)
        finally:
            _drop_database(connection, name)


def _drop_database(connection: psycopg.Connection, name: str) -> None:
    statement = sql.SQL("drop database if exists {} with (force)")
    connection.execute(statement.format(sql.Identifier(name)))


def note_made(url: str, file: Path, made_at: str) -> bool:
    """Record a backup in the database. Returns False where the login may not, or no table is."""
    return _note(url, _MADE, [str(file.parent), str(file), made_at])


def note_verified(url: str, file: Path, made_at: str) -> bool:
    """Record that a restore of a backup succeeded; returns what `note_made` does."""
    return _note(url, _VERIFIED, [str(file.parent), str(file), made_at, str(file)])


def _note(url: str, statement: LiteralString, values: list[str]) -> bool:
    try:
        with _connected(url) as connection:
            connection.execute(statement, values)
    except (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.UndefinedTable,
        psycopg.errors.InvalidSchemaName,
        psycopg.errors.ReadOnlySqlTransaction,
    ):
        return False
    return True


def extension_schemas(url: str) -> list[str]:
    """Schemas that extensions are in, or that belong to one."""
    with _connected(url) as connection:
        return [name for _, name in connection.execute(_OF_EXTENSIONS)]


def schemas(url: str) -> list[str]:
    """Schemas of a database that are not PostgreSQL's own, without leftovers.

    Like `public` those of extensions do not count: an extension cannot be put aside, since there
    is only one of a name, and would go with the schema.
    """
    with _connected(url) as connection:
        extensions = [oid for oid, _ in connection.execute(_OF_EXTENSIONS)]
        rows = connection.execute(_SCHEMAS, [SET_ASIDE_PREFIX, False, extensions])
        return [name for (name,) in rows]


def leftovers(url: str) -> list[str]:
    """Schemas that are put aside: a restore that was killed at its end did not drop them."""
    with _connected(url) as connection:
        return [name for (name,) in connection.execute(_SCHEMAS, [SET_ASIDE_PREFIX, True, []])]


def other_roles(url: str) -> list[str]:
    """Roles beside the server's own that the database refers to (grants to workers)."""
    with _connected(url) as connection:
        return [row[0] for row in connection.execute(_ROLES)]


def make_roles(url: str, names: list[str]) -> None:
    """Make roles that a dump grants rights to, without a login."""
    with _connected(url) as connection:
        present = {row[0] for row in connection.execute("select rolname from pg_roles")}
        for name in set(names) - present:
            statement = sql.SQL("create role {}").format(sql.Identifier(name))
            try:
                connection.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                problem = f"the database login may not make the role {name}, which the backup needs"
                raise BadRequest(f"{problem}: give it CREATEROLE, or make the role first") from None


def put_aside(url: str, names: list[str]) -> list[str]:
    """Rename schemas, so that their names are free, in one transaction. Returns the new names.

    No server sets up a database of which all is put aside. What was so before, and did not come
    back, will not do so: else two would have one name.
    """
    aside: list[str] = []
    with _connected(url) as connection:
        for former_aside, name in _list_marked(connection):
            _comment(connection, former_aside, _REPLACED + name)
        for name in names:
            new_name = SET_ASIDE_PREFIX + secrets.token_hex(8)
            _rename(connection, name, new_name)
            _comment(connection, new_name, name)
            aside.append(new_name)
    return aside


def is_put_aside(url: str) -> bool:
    """Whether schemas are put aside and nothing has come in their place yet."""
    with _connected(url) as connection:
        return bool(_list_coming_back(connection))


def put_back(url: str) -> None:
    """Give schemas their names again, in one transaction, unless a restore came to its end."""
    with _connected(url) as connection:
        for aside, name in _list_coming_back(connection):
            _rename(connection, aside, name)
            _comment(connection, name, None)


def _list_coming_back(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Return the new and the former names of schemas, unless others have come in their place."""
    current = connection.execute("select from pg_namespace where nspname = 'caudex_kernel'")
    if current.fetchone() is not None:
        return []
    return _list_marked(connection)


def _list_marked(connection: psycopg.Connection) -> list[tuple[str, str]]:
    return connection.execute(_MARKED, [SET_ASIDE_PREFIX, _REPLACED]).fetchall()


def drop_schemas(url: str, names: list[str]) -> None:
    """Drop schemas with all that is in them, one by one: a transaction has only so many locks."""
    with _connected(url, autocommit=True) as connection:
        for name in names:
            statement = sql.SQL("drop schema {} cascade").format(sql.Identifier(name))
            connection.execute(statement)


def in_use(url: str) -> bool:
    """Whether a server is connected to the database, or another restore."""
    query = """
        select exists (select from pg_stat_activity where datname = current_database()
            and pid <> pg_backend_pid()
            and (application_name like 'caudex%' or application_name = 'pg_restore'))"""
    with _connected(url) as connection:
        row = connection.execute(query).fetchone()
        return bool(row and row[0])


@contextmanager
def _connected(url: str, *, autocommit: bool = False) -> Generator[psycopg.Connection]:
    """Connect; a statement takes as long as it takes, whatever limits the login has for a server's,
    but waits only so long for others."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select set_config('statement_timeout', '0', false)")
        connection.execute("select set_config('lock_timeout', %s, false)", [str(LOCK_WAIT)])
        idle = "select set_config('idle_in_transaction_session_timeout', '0', false)"
        connection.execute(idle)
        connection.autocommit = autocommit
        yield connection


def _rename(connection: psycopg.Connection, name: str, new_name: str) -> None:
    statement = sql.SQL("alter schema {} rename to {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Identifier(new_name)))


def _comment(connection: psycopg.Connection, name: str, text: str | None) -> None:
    statement = sql.SQL("comment on schema {} is {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Literal(text)))
