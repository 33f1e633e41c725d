"""The rules of readers: what they are called, what is recorded, and when they lose their rights."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec
import structlog
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq.abc import PGconn

from kernel.public import (
    App,
    Apps,
    BadRequest,
    Event,
    NotFound,
    Pool,
    ServiceKey,
    Transaction,
    Unavailable,
    server_actor,
)
from plugins.app_logins.config import AppLoginsConfig
from plugins.app_logins.roles import (
    Login,
    bound_temporary_files,
    describe_login,
    forbid_temporary_tables,
    name_role,
)
from plugins.app_logins.service import AppLoginsService
from plugins.app_logins.store import take_turn

from . import store
from .models import Address, Bounds, NewReader
from .store import ReaderKey

FindKey = Callable[[Transaction], Awaitable[ReaderKey]]
"""Finds a reader within the transaction that opens it."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
NO_ROLES: Final = (
    "the server's login may not make roles in this PostgreSQL: let a superuser run "
    "`alter role LOGIN createrole` with the login of [database] url"
)
LARGE_OBJECTS: Final = (
    "this PostgreSQL lets every login write large objects: let a superuser revoke execute on the "
    "functions lo_* and lowrite from public"
)
TEMPORARY_TABLES: Final = (
    "this PostgreSQL lets every login make temporary tables, without a bound: let the owner of the "
    "database run `revoke temporary on database NAME from public`"
)
TABLES: Final = (
    "this database lets every login make tables: let its owner run "
    "`revoke create on schema public from public`"
)


log = structlog.get_logger("caudex.app_logins")


class OpenedReader(msgspec.Struct, frozen=True):
    """A reader whose role was made or changed; `schema` is what it reads."""

    login: Login
    schema: str
    remarks: tuple[str, ...]


class ReadersService:
    """Makes, renews and revokes readers."""

    def __init__(
        self,
        pool: Pool,
        apps: Callable[[], Apps],
        logins: AppLoginsService,
        config: AppLoginsConfig,
    ) -> None:
        self._pool = pool
        self._apps = apps
        self._logins = logins
        self._config = config

    async def create(
        self, name: str, app_id: str, bounds: Bounds, *, views: bool = False
    ) -> NewReader:
        """Make a reader of an app, of its tables or of views. Raises NotFound, BadRequest."""
        if _NAME.fullmatch(name) is None:
            raise BadRequest(
                "a reader's name has 1 to 40 characters: a-z, 0-9 and _, a letter first"
            )
        app = await self._find_app(app_id)

        async def find_key(tx: Transaction) -> ReaderKey:
            key = await store.add(tx, name, app.id, views=views)
            if key is None:
                raise BadRequest(
                    f"there is a reader '{name}' already: --renew gives it a new password"
                )
            return key

        return await self._open(name, app, bounds, find_key, "SQL_READER_CREATED")

    async def renew(self, name: str, bounds: Bounds) -> NewReader:
        """Give a reader a new password, and end its sessions. Raises NotFound."""
        reader = await store.find(self._pool, name)
        if reader is None:
            raise _no_reader(name)
        app = await self._find_app(reader.app_id)

        async def find_key(tx: Transaction) -> ReaderKey:
            key = await store.lock(tx, name)
            if key is None or key.app_id != app.id:
                raise _no_reader(name)
            return key

        return await self._open(name, app, bounds, find_key, "SQL_READER_RENEWED")

    async def revoke(self, name: str) -> None:
        """Drop a reader with its sessions. Raises NotFound."""

        async def work(tx: Transaction) -> None:
            key = await store.lock(tx, name)
            if key is None:
                raise _no_reader(name)
            role = await name_role(tx, key.number, "r")
            await store.remove(tx, key)
            values = {"app": key.app_id, "role": role}
            actor = server_actor()
            await tx.record(
                Event.core("sql_readers", "SQL_READER_REVOKED", actor, name, old=values)
            )

        await self._pool.run(server_actor(), work)

    async def grant_again(self) -> None:
        """Grant all readers what they may see now: apps may have changed while this was off."""
        for app_id in await store.list_apps(self._pool):
            app = await self._apps().app(app_id)
            try:
                await self._logins.run_between_installs(partial(_grant_again, app=app))
            except Unavailable as error:
                # Another server installs the app, which does the same.
                log.warning("readers keep what they see", app_id=app_id, error=error.message)

    async def _find_app(self, app_id: str) -> App:
        if not await self._logins.may():
            raise BadRequest(NO_ROLES)
        return await self._apps().app(app_id)

    async def _open(
        self, name: str, app: App, bounds: Bounds, find_key: FindKey, operation: str
    ) -> NewReader:
        """Make the role of a reader or change it, and record that."""
        password = secrets.token_urlsafe(24)
        async with self._pool.connect(direct=True) as connection:
            verifier = _encrypt(connection.pgconn, password)
            host = connection.info.host
            port = connection.info.port

        async def work(tx: Transaction) -> OpenedReader:
            if not await take_turn(tx, app):
                raise NotFound(f"app '{app.id}' not found: it is another one's name now")
            key = await find_key(tx)
            reader = await store.find_role(tx, key)
            role = reader.role
            await store.open_role(tx, reader, app, verifier, bounds)
            await bound_temporary_files(tx, role, self._config.temp_files_mb)
            await store.end_sessions(tx, role)
            remarks = await _find_remarks(tx, role)
            await store.grant(tx, app, reader)
            values = {"app": app.id, "role": role, "connections": bounds.connections}
            event = Event.core("sql_readers", operation, server_actor(), name, new=values)
            await tx.record(event)
            login = await describe_login(tx, role, key.number, password)
            return OpenedReader(login, reader.schema or app.id, remarks)

        opened = await self._logins.run_between_installs(work)
        login = opened.login
        is_socket = host.startswith("/")
        if not self._config.address and not is_socket:
            login = msgspec.structs.replace(login, address=host, port=port)
        address = _describe_address(login, self._logins.url_of(login))
        return NewReader(
            name=name, app_id=app.id, schema=opened.schema, address=address, remarks=opened.remarks
        )


def _encrypt(connection: PGconn, password: str) -> str:
    """Return what PostgreSQL stores of a password, so that no log can have the password."""
    return connection.encrypt_password(password.encode(), b"", b"scram-sha-256").decode()


def _describe_address(login: Login, url: str) -> Address:
    parts = conninfo_to_dict(url)
    return Address(
        host=str(parts.get("host") or ""),
        port=str(parts.get("port") or ""),
        database=login.database,
        user=login.role,
        password=login.password,
        url=url,
    )


async def _grant_again(tx: Transaction, app: App) -> None:
    if await take_turn(tx, app):
        await store.renew(tx, app)


async def _find_remarks(tx: Transaction, role: str) -> tuple[str, ...]:
    """Take rights from a reader that all logins have, and return what the server cannot take."""
    remarks: list[str] = []
    if not await forbid_temporary_tables(tx, role):
        remarks.append(TEMPORARY_TABLES)
    if await store.may_write_large_objects(tx, role):
        remarks.append(LARGE_OBJECTS)
    if await store.may_create_tables(tx, role):
        remarks.append(TABLES)
    return tuple(remarks)


def _no_reader(name: str) -> NotFound:
    return NotFound(f"there is no reader '{name[:80]}'")


READERS = ServiceKey[ReadersService]("app_logins_readers")
