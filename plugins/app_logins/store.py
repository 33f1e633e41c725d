"""Every statement about the logins of workers."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Final

import structlog
from psycopg import sql

from kernel.public import App, Statements, Transaction, Unavailable

from .config import AppLoginsConfig
from .roles import (
    Login,
    allow_temporary_tables,
    attempt,
    bound_temporary_files,
    describe_login,
    drop,
    exists,
    find_inner_roles,
    join,
    name_role,
    run_script,
)

SHUT: Final = "shut by the server: "
"""The comment of a login that is shut begins with this; the reason follows."""

MAY_CREATE_ROLES: Final = (
    "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"
)

MAY_BOUND_FILES: Final = """
select has_parameter_privilege('temp_file_limit', 'set')
    or current_setting('temp_file_limit') <> '-1'"""

OPEN_TO_ALL: Final = """
select count(*) > 0 from pg_proc where pronamespace = 'pg_catalog'::regnamespace
    and (proname ~ '^(lo_|loread$|lowrite$)' or proname = 'pg_logical_emit_message')
    and has_function_privilege('public', oid, 'execute')"""

_TAKE: Final = """
insert into caudex_app_logins.logins as l (app_id)
select app_id from caudex_kernel.apps where app_id = $1::text and key = $2::bigint
on conflict (app_id) do update set app_id = l.app_id
returning l.number"""

_PASSWORD: Final = """
insert into caudex_app_logins.passwords as p (number, password) values ($1::bigint, $2::text)
on conflict (number) do update set password = p.password
returning p.password"""

_FORGET: Final = """
with queries as (delete from caudex_app_logins.query_passwords)
delete from caudex_app_logins.passwords"""

HOLD: Final = "lock table caudex_app_logins.servers in access share mode"
"""What each server process does in a transaction that lasts."""

_BE_ALONE: Final = "lock table caudex_app_logins.servers in access exclusive mode nowait"

_NUMBER: Final = "select number from caudex_app_logins.logins where app_id = $1::text"
_LOCK_APP: Final = _NUMBER + " for update"

_REMOVE: Final = "delete from caudex_app_logins.logins where app_id = $1::text returning number"

_LOCK: Final = "select from caudex_app_logins.logins where number = $1::bigint for update"
"""A start changes the login as well, and PostgreSQL refuses one of two changes at once."""

_LOCK_READER: Final = "select from caudex_app_logins.readers where number = $1::bigint for update"

_APP: Final = """
select app_id from caudex_app_logins.logins where number = $1::bigint
union all select app_id from caudex_app_logins.readers where number = $1::bigint"""

# Logins of both kinds take their numbers from one sequence.
_ORPHANS: Final = """
select r.rolname from pg_database as d
join pg_roles as r on r.rolname ~ format('^caudex_%s_[qrw][0-9]+$', d.oid)
where d.datname = current_database() and substring(r.rolname from '[0-9]+$')::bigint not in (
    select number from caudex_app_logins.logins
    union all select number from caudex_app_logins.readers)"""

_TABLES: Final = """
select tablename from pg_tables where schemaname = $1::name order by tablename"""

_SHUT: Final = """
select rolname from pg_roles
where rolname = $1::text and starts_with(shobj_description(oid, 'pg_authid'), $2::text)"""

log = structlog.get_logger("caudex.app_logins")


class BeingInstalled(Unavailable):
    """An install is changing the tables of the app."""


async def may_make_roles(statements: Statements | Transaction) -> bool:
    """Return whether the server's own login may make roles."""
    return await statements.fetch(MAY_CREATE_ROLES) == b"t"


async def app_of(statements: Statements, number: int) -> str | None:
    """Return the app that a login belongs to. Raises Unavailable."""
    row = await statements.fetch(_APP, number)
    return None if row is None else row.decode()


async def number_of(statements: Statements, app_id: str) -> int | None:
    """Return the number of an app's login, if it has one. Raises Unavailable."""
    row = await statements.fetch(_NUMBER, app_id)
    return None if row is None else int(row)


async def find_orphans(statements: Statements) -> list[str]:
    """Return the logins of apps that were uninstalled while this plugin was off."""
    return [role.decode() for role in await statements.fetch_all(_ORPHANS)]


async def forget_passwords(tx: Transaction) -> bool:
    """Make all passwords invalid, unless another server process runs, whose workers use them.

    Returns whether it did.
    """
    refusal = await attempt(tx, sql.SQL(_BE_ALONE).format())
    if refusal is not None:
        return False
    await tx.execute(_FORGET)
    for role in await find_inner_roles(tx):
        statement = sql.SQL("alter role {} password null")
        await attempt(tx, statement.format(sql.Identifier(role)))
    return True


async def make(
    tx: Transaction, app: App, config: AppLoginsConfig, passwords: Mapping[int, str]
) -> Login | None:
    """Make the login of an app, or bring it up to date. Returns None where it is shut.

    `passwords` are those that this process knows, by the numbers of their logins.

    Raises BeingInstalled, Unavailable.
    """
    number = await take_number(tx, app)
    if number is None:
        return None
    await hold_tables(tx, app.id)
    role = await name_role(tx, number)
    if await tx.fetch(_SHUT, role, SHUT):
        log.warning("a worker gets no database_url: its login is shut", app_id=app.id)
        return None
    new_password = passwords.get(number) or secrets.token_urlsafe(24)
    password = (await tx.execute(_PASSWORD, number, new_password) or b"").decode()
    # A new role has no powers by itself, and only a superuser may repeat that later.
    verb = sql.SQL("create")
    if await exists(tx, role):
        verb = sql.SQL("alter")
    script = sql.SQL(
        " role {0} login connection limit {1} password {2};"
        "alter role {0} set statement_timeout = '30s';"
        "alter role {0} set idle_in_transaction_session_timeout = '60s'"
    ).format(sql.Identifier(role), sql.Literal(config.connections), sql.Literal(password))
    await run_script(tx, verb + script)
    await bound_temporary_files(tx, role, config.temp_files_mb)
    await allow_temporary_tables(tx, role)
    await join(tx, role)
    await _grant(tx, app, role)
    return await describe_login(tx, role, number, password)


async def take_number(tx: Transaction, app: App) -> int | None:
    """Return the number of an app's logins, which others cannot change until the commit.

    Returns None where a later app has the name.
    """
    row = await tx.execute(_TAKE, app.id, app.key)
    return None if row is None else int(row)


async def take_turn(tx: Transaction, app: App) -> bool:
    """Keep others from changing the logins of an app, until the transaction ends.

    Returns False where a later app has the name. Raises BeingInstalled.
    """
    number = await take_number(tx, app)
    if number is None:
        return False
    await hold_tables(tx, app.id)
    return True


async def renew(tx: Transaction, app: App) -> None:
    """Grant the login of an app, if it has one, the tables that the app has now."""
    role = await _lock(tx, app.id)
    if role is not None and await exists(tx, role):
        await _grant(tx, app, role)


async def shut(tx: Transaction, role: str, number: int, reason: str) -> None:
    """Refuse new sessions to a login; its comment gives the reason."""
    await tx.fetch_all(_LOCK, number)
    await tx.fetch_all(_LOCK_READER, number)
    script = sql.SQL("alter role {0} nologin; comment on role {0} is {1}")
    await run_script(tx, script.format(sql.Identifier(role), sql.Literal(SHUT + reason)))


async def reopen(tx: Transaction, app_id: str) -> None:
    """Let the login of an app in again, if it was shut."""
    role = await _lock(tx, app_id)
    if role is not None and await tx.fetch(_SHUT, role, SHUT) and await may_make_roles(tx):
        script = sql.SQL("comment on role {0} is null; alter role {0} login")
        await run_script(tx, script.format(sql.Identifier(role)))


async def remove(tx: Transaction, app_id: str) -> None:
    """Drop the logins of the server and of the worker of an app that is uninstalled."""
    number = await tx.execute(_REMOVE, app_id)
    if number is not None:
        await drop(tx, await name_role(tx, int(number)))
        await drop(tx, await name_role(tx, int(number), "q"))


async def _grant(tx: Transaction, app: App, role: str) -> None:
    """Grant a login the tables of an app that the manifest names, and nothing else."""
    schema = sql.Identifier(app.id)
    name = sql.Identifier(role)
    script = sql.SQL(
        "revoke all on all tables in schema {0} from {1}; grant usage on schema {0} to {1}"
    ).format(schema, name)
    if app.entities:
        rights = sql.SQL("; grant select, insert, update, delete on {} to {}")
        script += rights.format(_tables(app.id, app.entities), name)
    await run_script(tx, script)


async def hold_tables(tx: Transaction, app_id: str) -> None:
    """Keep installs from the tables, since two transactions cannot change rights on one at once.

    Raises BeingInstalled without waiting: an install that has them waits for the row, which is
    ours.
    """
    tables = [name.decode() for name in await tx.fetch_all(_TABLES, app_id)]
    if not tables:
        return
    lock = sql.SQL("lock table {} in row exclusive mode nowait")
    try:
        await run_script(tx, lock.format(_tables(app_id, tables)))
    except Unavailable:
        raise BeingInstalled("the app is being installed", retry_after=5) from None


def _tables(app_id: str, entities: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(app_id, entity) for entity in entities)


async def _lock(tx: Transaction, app_id: str) -> str | None:
    """Lock the row of an app's login, and return the role's name, None where it has none."""
    number = await tx.fetch(_LOCK_APP, app_id)
    if number is None:
        return None
    return await name_role(tx, int(number))
