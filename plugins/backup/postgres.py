"""PostgreSQL's own tools: pg_dump and pg_restore, of a version that fits."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kernel.public import DATABASE_SERVER, BadRequest, BootError, Services, Unavailable

TOOL_LIMIT: Final = 24 * 3600
"""Seconds that a tool may run."""
LOCK_WAIT: Final = 60_000
"""Milliseconds that a backup waits for all tables."""
_ASIDE: Final = "caudex_before_"
"""What no app can be called; the comment of such a schema is the name it had."""
_SCHEMAS: Final = """
select nspname from pg_namespace
where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
    and starts_with(nspname, %s) = %s
order by nspname"""
_PUT_ASIDE: Final = """
select s.nspname, obj_description(s.oid, 'pg_namespace') from pg_namespace s
where starts_with(s.nspname, %s) and obj_description(s.oid, 'pg_namespace') is not null
    and not exists (select from pg_namespace k where k.nspname = 'caudex_kernel')
order by 1"""
_ROLES: Final = """
select distinct r.rolname from pg_shdepend d join pg_roles r on r.oid = d.refobjid
where d.refclassid = 'pg_authid'::regclass and r.rolname <> current_user
    and d.dbid = (select oid from pg_database where datname = current_database())
order by r.rolname"""


def tool(services: Services, name: str) -> Path:
    """Find a program: the embedded server's, which is the newest, or the one on PATH."""
    if (server := services.find(DATABASE_SERVER)) is not None:
        return server.program(name)
    if found := shutil.which(name):
        return Path(found)
    raise BootError(name, "it is not on PATH", "install PostgreSQL's client programs")


def dump(program: Path, url: str, file: Path) -> None:
    """Dump a database in custom format, without leftovers. Raises BadRequest with what the tool
    says."""
    # A login of an app may lock its tables for as long as it likes.
    arguments = ["--format=custom", f"--file={file}", f"--exclude-schema={_ASIDE}*"]
    arguments.append(f"--lock-wait-timeout={LOCK_WAIT}")
    _run([str(program), *arguments, *_without_password(url)], url)


def restore(program: Path, url: str, file: Path) -> None:
    """Restore a dump into an empty database, whole or not at all."""
    arguments = ["--single-transaction", "--exit-on-error", "--no-owner", str(file)]
    _run([str(program), *arguments, *_without_password(url)], url)


def schemas(url: str) -> list[str]:
    """Schemas of a database that are not PostgreSQL's own, without leftovers."""
    return _schemas(url, aside=False)


def leftovers(url: str) -> list[str]:
    """Schemas that are put aside: a restore that was killed at its end did not drop them."""
    return _schemas(url, aside=True)


def other_roles(url: str) -> list[str]:
    """Roles beside the server's own that the database refers to (grants to workers)."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(_ROLES)]


def make_roles(url: str, names: list[str]) -> None:
    """Make roles that a dump grants rights to, without a login."""
    with psycopg.connect(url) as connection:
        known = {row[0] for row in connection.execute("select rolname from pg_roles")}
        for name in set(names) - known:
            statement = sql.SQL("create role {}").format(sql.Identifier(name))
            try:
                connection.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                problem = f"the database login may not make the role {name}, which the backup needs"
                raise BadRequest(f"{problem}: give it CREATEROLE, or make the role first") from None


def put_aside(url: str, names: list[str]) -> list[str]:
    """Rename schemas, so that their names are free, in one transaction. Returns the new names."""
    aside: list[str] = []
    with psycopg.connect(url) as connection:
        for name in names:
            aside.append(_ASIDE + secrets.token_hex(8))
            _rename(connection, name, aside[-1])
            comment = sql.SQL("comment on schema {} is {}")
            connection.execute(comment.format(sql.Identifier(aside[-1]), sql.Literal(name)))
    return aside


def is_put_aside(url: str) -> bool:
    """Whether schemas are put aside and nothing has come in their place yet."""
    with psycopg.connect(url) as connection:
        return connection.execute(_PUT_ASIDE, [_ASIDE]).fetchone() is not None


def put_back(url: str) -> None:
    """Give schemas their names again, in one transaction, unless a restore came to its end."""
    with psycopg.connect(url) as connection:
        for aside, name in connection.execute(_PUT_ASIDE, [_ASIDE]).fetchall():
            _rename(connection, aside, name)
            connection.execute(sql.SQL("comment on schema {} is null").format(sql.Identifier(name)))


def drop_schemas(url: str, names: list[str]) -> None:
    """Drop schemas with all that is in them, one by one: a transaction has only so many locks."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name in names:
            statement = sql.SQL("drop schema {} cascade").format(sql.Identifier(name))
            connection.execute(statement)


def in_use(url: str) -> bool:
    """Whether a server is connected to the database."""
    query = """
        select exists (select from pg_stat_activity where datname = current_database()
            and pid <> pg_backend_pid() and application_name like 'caudex%')"""
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
        return bool(row and row[0])


def _schemas(url: str, *, aside: bool) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(_SCHEMAS, [_ASIDE, aside])]


def _rename(connection: psycopg.Connection, name: str, new_name: str) -> None:
    statement = sql.SQL("alter schema {} rename to {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Identifier(new_name)))


def _without_password(url: str) -> list[str]:
    """The connection for an argument list, which everybody on the machine can read."""
    parts = conninfo_to_dict(url)
    return [f"--dbname={make_conninfo('', **{**parts, 'password': None})}"]


def _run(arguments: list[str], url: str) -> None:
    password = conninfo_to_dict(url).get("password")
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    try:
        ended = subprocess.run(
            arguments, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=TOOL_LIMIT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{arguments[0]} did not end: {error}") from None
    if ended.returncode:
        raise BadRequest(f"{Path(arguments[0]).name}: {_error_in(ended.stderr)}")


def _error_in(text: str) -> str:
    """What a tool says in the end; the line with the error rather than the statement it was at."""
    if found := re.search(r"\berror: (.*)(?:\n.*\bdetail: (?!Query was)(.*))?", text):
        return "; ".join(filter(None, found.groups()))
    return (text.strip().splitlines() or ["it said nothing"])[-1]
