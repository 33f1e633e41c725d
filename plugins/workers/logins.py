"""Database logins of apps: one each, limited to its own tables.

Roles belong to the whole cluster, so a name carries the object id of the database.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

import anyio
import msgspec
import structlog
from psycopg import sql

from kernel.public import App, Statements, Transaction, Unavailable, server_actor

from .models import SHUT, Login

STATEMENT_MS: Final = 30_000
IDLE_MS: Final = 60_000

PATIENCE: Final = 10.0
"""Seconds that a start waits for an install of the app."""

PAUSE: Final = 0.05
"""Seconds until it looks again."""

_MAY: Final = "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"

_NAME: Final = """
select format('caudex_%s_w%s', d.oid, $1::bigint) from pg_database as d
where d.datname = current_database()"""

_TAKE: Final = """
update caudex_workers.apps set login_password = coalesce(login_password, $3::text)
where app_id = $1::text and number = $2::bigint returning login_password"""

_HAS: Final = """
select number from caudex_workers.apps
where app_id = $1::text and login_password is not null for update"""

_TABLES: Final = """
select tablename from pg_tables where schemaname = $1::name order by tablename"""

_APP: Final = "select app_id from caudex_workers.apps where number = $1::bigint"

_TURN: Final = "select from caudex_workers.apps where number = $1::bigint for update"
"""A start changes the login as well, and PostgreSQL makes an error of two at once."""

_SHUT: Final = """
select rolname from pg_roles
where rolname = $1::text and starts_with(shobj_description(oid, 'pg_authid'), $2::text)"""

_EXISTS: Final = "select 1 from pg_roles where rolname = $1::text"

_WHERE: Final = """
select json_build_object('role', $1::text, 'password', $2::text,
    'database', current_database(), 'address', host(inet_server_addr()),
    'port', current_setting('port')::integer, 'listens', current_setting('listen_addresses'),
    'socket_folder', case when pg_has_role('pg_read_all_settings', 'usage')
        then split_part(current_setting('unix_socket_directories'), ',', 1) else '' end)"""

_INHERITS: Final = "select pg_has_role($1::name, 'usage')"

_END: Final = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = {}"

_login = msgspec.json.Decoder(Login).decode

log = structlog.get_logger("caudex.workers")


class _Held(Unavailable):
    """Somebody changes the tables of the app."""


class Logins:
    """Makes logins where the server may."""

    def __init__(self, statements: Statements, address: str, connections: int) -> None:
        self._statements = statements
        self._address = address
        self._connections = connections
        self.allowed: bool | None = None
        """Whether the server may make roles; None before anybody asked."""
        self.shut: Mapping[int, str] = {}
        """Numbers of apps whose login is kept out, with the reason."""

    async def may(self) -> bool:
        """Whether the server may make roles."""
        if self.allowed is None:
            self.allowed = await self._statements.fetch(_MAY) == b"t"
            if not self.allowed:
                log.warning("workers get no database_url: the server's login may not make roles")
        return self.allowed

    def notes(self, number: int) -> Sequence[str]:
        """What keeps the worker of an app from the database."""
        if self.allowed is False:
            return ["no database_url: the server's login may not make roles"]
        if (why := self.shut.get(number)) is None:
            return []
        return [f"its database login is shut: {why}; stop and start its worker to open it again"]

    async def url(self, app: App, number: int) -> str | None:
        """The connection string of an app's own login, or None where it can have none or is shut.

        Raises Unavailable when an install of the app takes long.
        """
        if not await self.may():
            return None
        until = anyio.current_time() + PATIENCE
        while True:
            try:
                return await self._made(app, number)
            except _Held:
                if anyio.current_time() > until:
                    raise
            await anyio.sleep(PAUSE)

    async def _made(self, app: App, number: int) -> str | None:

        async def make(tx: Transaction) -> Login | None:
            password = await tx.execute(_TAKE, app.id, number, secrets.token_urlsafe(24))
            if password is None:
                return None
            await _hold_tables(tx, app.id)
            role = await _name(tx, number)
            if await tx.fetch(_SHUT, role, SHUT):
                log.warning("a worker gets no database_url: its login is shut", app_id=app.id)
                return None
            await self._put(tx, role, password.decode())
            await grant(tx, app, role)
            return _login(await tx.fetch(_WHERE, role, password) or b"")

        login = await self._statements.run(server_actor(), make)
        return None if login is None else self._url(login)

    async def _put(self, tx: Transaction, role: str, password: str) -> None:
        # A new role has no powers by itself, and only a superuser may repeat that later.
        verb = "alter" if await tx.fetch(_EXISTS, role) else "create"
        name = sql.Identifier(role)
        options = sql.SQL(" role {} login connection limit {} password {}").format(
            name, sql.Literal(self._connections), sql.Literal(password)
        )
        timeouts = sql.SQL(
            "alter role {0} set statement_timeout = {1};"
            "alter role {0} set idle_in_transaction_session_timeout = {2}"
        ).format(name, sql.Literal(STATEMENT_MS), sql.Literal(IDLE_MS))
        await tx.script((sql.SQL(verb) + options).as_bytes(None))
        await tx.script(timeouts.as_bytes(None))
        await reach(tx, role)

    async def app_of(self, number: int) -> str | None:
        """Which app has a number; None where that cannot be asked either."""
        try:
            found = await self._statements.fetch(_APP, number)
        except Unavailable:
            return None
        return None if found is None else found.decode()

    async def reach(self, role: str) -> bool:
        """Become a member of a login, without which its sessions cannot be ended; False where
        that is refused. Raises Unavailable."""
        return await self._statements.run(server_actor(), lambda tx: reach(tx, role))

    async def shut_out(self, role: str, number: int, why: str) -> None:
        """Keep a login out until an admin starts or deploys its worker; its sessions stay.

        The reason stands in its comment. Raises Unavailable.
        """
        script = sql.SQL("alter role {0} nologin; comment on role {0} is {1}").format(
            sql.Identifier(role), sql.Literal(SHUT + why)
        )

        async def write(tx: Transaction) -> None:
            await tx.fetch_all(_TURN, number)
            await tx.script(script.as_bytes(None))

        await self._statements.run(server_actor(), write)

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
        # Not every login may know the folder; libpq has one that it takes by itself.
        folder = f"host={quote(login.socket_folder, safe='')}&" if login.socket_folder else ""
        return f"postgresql://{user}@/{database}?{folder}port={login.port}"


async def reopen(tx: Transaction, app_id: str) -> None:
    """Let the login of an app in again, if it was kept out."""
    number = await tx.fetch(_HAS, app_id)
    role = await _name(tx, int(number)) if number is not None else ""
    if await tx.fetch(_SHUT, role, SHUT) and await tx.fetch(_MAY) == b"t":
        script = sql.SQL("comment on role {0} is null; alter role {0} login")
        await tx.script(script.format(sql.Identifier(role)).as_bytes(None))


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


async def reach(tx: Transaction, role: str) -> bool:
    """Become a member of a login: who made it may give it away, and no more. False where that is
    refused."""
    if await tx.fetch(_INHERITS, role) != b"t":
        member = sql.SQL("grant {} to current_user").format(sql.Identifier(role))
        if await _tried(tx, member + sql.SQL(" with inherit true")):  # unknown to PostgreSQL 15
            return await _tried(tx, member) is None
    return True


async def drop(tx: Transaction, app_id: str, number: int) -> None:
    """Remove the login of an app, and end its sessions.

    What it owns in another database keeps it, and so may much else that its worker did: it is
    shut then and stays, as the app must be able to go.
    """
    role = await _name(tx, number)
    if not await tx.fetch(_EXISTS, role):
        return
    schema, name = sql.Identifier(app_id), sql.Identifier(role)
    await reach(tx, role)
    error: Exception | None = None
    for _ in range(2):  # its worker may have come back meanwhile, and made something more
        await _tried(tx, sql.SQL(_END).format(sql.Literal(role)))
        await _tried(tx, _revoked(schema, name))
        await _tried(tx, sql.SQL("drop owned by {}").format(name))
        error = await _tried(tx, sql.SQL("drop role {}").format(name))
        if error is None:
            return
    await _tried(tx, sql.SQL("alter role {} nologin").format(name))
    log.warning("the database login of an app that went stays", role=role, error=str(error))


async def _tried(tx: Transaction, statement: sql.Composed) -> Exception | None:
    """Run what may be refused, and return the refusal."""
    try:
        async with tx.savepoint():
            await tx.script(statement.as_bytes(None))
    except Exception as error:
        return error
    return None


async def _hold_tables(tx: Transaction, app_id: str) -> None:
    """Keep installs from the tables, as two cannot change the rights on one at once.

    Raises _Held and never waits: an install that has them waits for the app's row, which we have.
    """
    tables = [name.decode() for name in await tx.fetch_all(_TABLES, app_id)]
    if not tables:
        return
    script = sql.SQL("lock table {} in row exclusive mode nowait").format(_tables(app_id, tables))
    try:
        await tx.script(script.as_bytes(None))
    except Unavailable:
        raise _Held("the app is being installed", retry_after=5) from None


def _revoked(schema: sql.Identifier, name: sql.Identifier) -> sql.Composed:
    return sql.SQL(
        "revoke all on all tables in schema {0} from {1}; revoke all on schema {0} from {1}"
    ).format(schema, name)


def _tables(app_id: str, entities: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(app_id, entity) for entity in entities)


async def _name(tx: Transaction, number: int) -> str:
    return (await tx.fetch(_NAME, number) or b"").decode()
