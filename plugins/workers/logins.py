"""Database logins of apps: one each, limited to its own tables.

Roles belong to the whole cluster, so a name carries the object id of the database.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import msgspec
import structlog
from psycopg import sql

from kernel.public import App, Statements, Transaction, server_actor

from .models import Login

STATEMENT_MS: Final = 30_000
IDLE_MS: Final = 60_000

_MAY: Final = "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"

_NAME: Final = """
select format('caudex_%s_w%s', d.oid, $1::bigint) from pg_database as d
where d.datname = current_database()"""

_TAKE: Final = """
update caudex_workers.apps set login_password = coalesce(login_password, $2::text)
where app_id = $1::text returning login_password"""

_HAS: Final = """
select number from caudex_workers.apps
where app_id = $1::text and login_password is not null"""

_EXISTS: Final = "select 1 from pg_roles where rolname = $1::text"

_WHERE: Final = """
select json_build_object('role', $1::text, 'password', $2::text,
    'database', current_database(), 'address', host(inet_server_addr()),
    'port', current_setting('port')::integer, 'listens', current_setting('listen_addresses'),
    'socket_folder', split_part(current_setting('unix_socket_directories'), ',', 1))"""

_END: Final = """
select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = $1::name"""

_login = msgspec.json.Decoder(Login).decode

log = structlog.get_logger("caudex.workers")


class Logins:
    """Makes logins where the server may."""

    def __init__(self, statements: Statements, address: str, connections: int) -> None:
        self._statements = statements
        self._address = address
        self._connections = connections
        self.allowed: bool | None = None
        """Whether the server may make roles; None before anybody asked."""

    async def may(self) -> bool:
        """Whether the server may make roles."""
        if self.allowed is None:
            self.allowed = await self._statements.fetch(_MAY) == b"t"
            if not self.allowed:
                log.warning("workers get no database_url: the server's login may not make roles")
        return self.allowed

    async def url(self, app: App, number: int) -> str | None:
        """The connection string of an app's own login, or None where it can have none."""
        if not await self.may():
            return None

        async def make(tx: Transaction) -> Login | None:
            password = await tx.execute(_TAKE, app.id, secrets.token_urlsafe(24))
            if password is None:
                return None
            role = await _name(tx, number)
            await self._put(tx, role, password.decode())
            await grant(tx, app, role)
            return _login(await tx.fetch(_WHERE, role, password) or b"")

        login = await self._statements.run(server_actor(), make)
        return None if login is None else self._url(login)

    async def _put(self, tx: Transaction, role: str, password: str) -> None:
        verb = "alter" if await tx.fetch(_EXISTS, role) else "create"
        name = sql.Identifier(role)
        options = sql.SQL(
            " role {} login nosuperuser nocreatedb nocreaterole noreplication"
            " connection limit {} password {}"
        ).format(name, sql.Literal(self._connections), sql.Literal(password))
        timeouts = sql.SQL(
            "alter role {0} set statement_timeout = {1};"
            "alter role {0} set idle_in_transaction_session_timeout = {2}"
        ).format(name, sql.Literal(STATEMENT_MS), sql.Literal(IDLE_MS))
        await tx.script((sql.SQL(verb) + options).as_bytes(None))
        await tx.script(timeouts.as_bytes(None))

    def _url(self, login: Login) -> str:
        user = f"{quote(login.role, safe='')}:{quote(login.password, safe='')}"
        database = quote(login.database, safe="")
        if self._address:
            return f"postgresql://{user}@{self._address}/{database}"
        if login.address:
            host = f"[{login.address}]" if ":" in login.address else login.address
            return f"postgresql://{user}@{host}:{login.port}/{database}"
        local = {name.strip() for name in login.listens.split(",")}
        if local & {"*", "localhost", "127.0.0.1", "0.0.0.0"}:
            return f"postgresql://{user}@127.0.0.1:{login.port}/{database}"
        folder = quote(login.socket_folder, safe="")
        return f"postgresql://{user}@/{database}?host={folder}&port={login.port}"


async def renew(tx: Transaction, app: App) -> None:
    """Let the login of an app, if it has one, reach the tables that the app has now."""
    number = await tx.fetch(_HAS, app.id)
    if number is not None:
        role = await _name(tx, int(number))
        if await tx.fetch(_EXISTS, role):
            await grant(tx, app, role)


async def grant(tx: Transaction, app: App, role: str) -> None:
    """Let a login reach the live tables of an app, and nothing that was granted before."""
    schema, name = sql.Identifier(app.id), sql.Identifier(role)
    script = [
        _revoked(schema, name),
        sql.SQL("grant usage on schema {} to {}").format(schema, name),
    ]
    if app.entities:
        script.append(
            sql.SQL("grant select, insert, update, delete on {} to {}").format(
                _tables(app.id, app.entities), name
            )
        )
    await tx.script(sql.SQL(";").join(script).as_bytes(None))


async def drop(tx: Transaction, app_id: str, number: int) -> None:
    """Remove the login of an app, and end its sessions."""
    role = await _name(tx, number)
    if not await tx.fetch(_EXISTS, role):
        return
    schema, name = sql.Identifier(app_id), sql.Identifier(role)
    await tx.fetch(_END, role)
    script = [_revoked(schema, name), sql.SQL("drop role {}").format(name)]
    await tx.script(sql.SQL(";").join(script).as_bytes(None))


def _revoked(schema: sql.Identifier, name: sql.Identifier) -> sql.Composed:
    return sql.SQL(
        "revoke all on all tables in schema {0} from {1}; revoke all on schema {0} from {1}"
    ).format(schema, name)


def _tables(app_id: str, entities: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(app_id, entity) for entity in entities)


async def _name(tx: Transaction, number: int) -> str:
    return (await tx.fetch(_NAME, number) or b"").decode()
