"""What PostgreSQL's own tools do, pg_dump and pg_restore, and what they leave to be done."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kernel.public import SET_ASIDE_PREFIX, BadRequest, Unavailable

LOCK_WAIT: Final = 60_000
"""Milliseconds that a backup waits for all tables, and a restore for each."""
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
_ROLES: Final = """
select distinct r.rolname from pg_shdepend d join pg_roles r on r.oid = d.refobjid
where d.refclassid = 'pg_authid'::regclass and r.rolname <> current_user
    and d.dbid = (select oid from pg_database where datname = current_database())
order by r.rolname"""


def major_of(url: str) -> int:
    """The major version of the database's PostgreSQL."""
    with _connected(url) as connection:
        return connection.info.server_version // 10_000


def dump(program: Path, url: str, file: Path) -> None:
    """Dump a database in custom format, without leftovers. Raises BadRequest with what the tool
    says."""
    # A login of an app may lock its tables for as long as it likes.
    arguments = ["--format=custom", f"--file={file}", f"--exclude-schema={SET_ASIDE_PREFIX}*"]
    arguments.append(f"--lock-wait-timeout={LOCK_WAIT}")
    _run([str(program), *arguments, *_without_password(url)], url)


def restore(program: Path, url: str, file: Path) -> None:
    """Restore a dump into an empty database, whole or not at all."""
    wanted = file.with_name("list")
    listed = _run([str(program), "--list", str(file)], url).splitlines()
    with _connected(url) as connection:
        there = [name for _, name in connection.execute(_OF_EXTENSIONS)]
    kept = [line for line in listed if not any(f" SCHEMA - {name} " in line for name in there)]
    wanted.write_text("\n".join(kept))
    arguments = ["--single-transaction", "--exit-on-error", "--no-owner", f"--use-list={wanted}"]
    _run([str(program), *arguments, str(file), *_without_password(url)], url)


def schemas(url: str) -> list[str]:
    """Schemas of a database that are not PostgreSQL's own, without leftovers.

    Like `public` those of extensions do not count: an extension cannot be put aside, since there
    is only one of a name, and would go with the schema.
    """
    with _connected(url) as connection:
        known = [oid for oid, _ in connection.execute(_OF_EXTENSIONS)]
        found = connection.execute(_SCHEMAS, [SET_ASIDE_PREFIX, False, known])
        return [name for (name,) in found]


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
        known = {row[0] for row in connection.execute("select rolname from pg_roles")}
        for name in set(names) - known:
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
        for left, name in _marked(connection):
            _comment(connection, left, _REPLACED + name)
        for name in names:
            aside.append(SET_ASIDE_PREFIX + secrets.token_hex(8))
            _rename(connection, name, aside[-1])
            _comment(connection, aside[-1], name)
    return aside


def is_put_aside(url: str) -> bool:
    """Whether schemas are put aside and nothing has come in their place yet."""
    with _connected(url) as connection:
        return bool(_to_come_back(connection))


def put_back(url: str) -> None:
    """Give schemas their names again, in one transaction, unless a restore came to its end."""
    with _connected(url) as connection:
        for aside, name in _to_come_back(connection):
            _rename(connection, aside, name)
            _comment(connection, name, None)


def _to_come_back(connection: psycopg.Connection) -> list[tuple[str, str]]:
    stands = connection.execute("select from pg_namespace where nspname = 'caudex_kernel'")
    return _marked(connection) if stands.fetchone() is None else []


def _marked(connection: psycopg.Connection) -> list[tuple[str, str]]:
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
        connection.autocommit = autocommit
        yield connection


def _rename(connection: psycopg.Connection, name: str, new_name: str) -> None:
    statement = sql.SQL("alter schema {} rename to {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Identifier(new_name)))


def _comment(connection: psycopg.Connection, name: str, text: str | None) -> None:
    statement = sql.SQL("comment on schema {} is {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Literal(text)))


def _without_password(url: str) -> list[str]:
    """The connection for an argument list, which everybody on the machine can read."""
    parts = conninfo_to_dict(url)
    return [f"--dbname={make_conninfo('', **{**parts, 'password': None})}"]


def _run(arguments: list[str], url: str) -> str:
    """Run a tool to its end and return what it prints. It ends with us: a signal too comes as an
    exception."""
    password = conninfo_to_dict(url).get("password")
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    try:
        with subprocess.Popen(
            arguments, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, errors="replace",
        ) as process:  # fmt: skip
            try:
                out, err = process.communicate(timeout=24 * 3600)
            except BaseException:
                _end(process)
                raise
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{arguments[0]} did not end: {error}") from None
    if process.returncode:
        raise BadRequest(f"{Path(arguments[0]).name}: {_error_in(err)}")
    return out


def _end(process: subprocess.Popen[str]) -> None:
    """End a tool with SIGTERM, by which it cancels its statement in PostgreSQL."""
    process.terminate()
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()


def _error_in(text: str) -> str:
    """What a tool says in the end; the line with the error rather than the statement it was at."""
    if found := re.search(r"\berror: (.*)(?:\n.*\bdetail: (?!Query was)(.*))?", text):
        return "; ".join(filter(None, found.groups()))
    return (text.strip().splitlines() or ["it said nothing"])[-1]
