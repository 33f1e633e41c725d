"""PostgreSQL's own tools: pg_dump and pg_restore, of a version that fits."""

from __future__ import annotations

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
_SCHEMAS: Final = """
select nspname from pg_namespace
where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
order by nspname"""
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
    """Dump a database in custom format. Raises Unavailable with the tool's last line."""
    _run([str(program), "--format=custom", f"--file={file}", *_without_password(url)], url)


def restore(program: Path, url: str, file: Path) -> None:
    """Restore a dump into an empty database, whole or not at all."""
    arguments = ["--single-transaction", "--exit-on-error", "--no-owner", str(file)]
    _run([str(program), *arguments, *_without_password(url)], url)


def schemas(url: str) -> list[str]:
    """Schemas of a database that are not PostgreSQL's own."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(_SCHEMAS)]


def other_roles(url: str) -> list[str]:
    """Roles beside the server's own that the database refers to (grants to workers)."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(_ROLES)]


def make_roles(url: str, names: list[str]) -> None:
    """Make roles that a dump grants rights to, without a login."""
    with psycopg.connect(url) as connection:
        known = {row[0] for row in connection.execute("select rolname from pg_roles")}
        for name in set(names) - known:
            connection.execute(sql.SQL("create role {}").format(sql.Identifier(name)))


def drop_schemas(url: str, names: list[str]) -> None:
    """Drop schemas with all that is in them, in one transaction."""
    with psycopg.connect(url) as connection:
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
            text=True, timeout=TOOL_LIMIT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{arguments[0]} did not end: {error}") from None
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BadRequest(f"{Path(arguments[0]).name}: {last}")
