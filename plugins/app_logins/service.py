"""The rules: which app gets a login, and the connection string for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar
from urllib.parse import quote

import anyio
import structlog

from kernel.public import App, ServiceKey, Statements, Transaction, Work, server_actor

from . import store
from .config import AppLoginsConfig
from .roles import Login, drop, shut_out_strangers

T = TypeVar("T")
log = structlog.get_logger("caudex.app_logins")


class AppLoginsService:
    """See `kernel.contracts.workers.AppLogins`."""

    def __init__(self, statements: Statements, config: AppLoginsConfig) -> None:
        self.statements = statements
        self._config = config
        self.allowed: bool | None = None
        """Whether the server may make roles; None until that was asked."""
        self.shut: Mapping[int, str] = {}
        """Numbers of the logins that are shut, with the reason."""
        self._passwords: dict[int, str] = {}
        """What workers here were given, which a crash of PostgreSQL removes there."""
        self.patience = 10.0
        """Seconds that a start waits for an install of the app."""
        self.listeners: list[Callable[[], Awaitable[None]]] = []
        self.server = ""
        """The address of the PostgreSQL server that workers are given, as far as it is known."""

    async def may(self) -> bool:
        """Return whether the server may make roles."""
        if self.allowed is None:
            self.allowed = await store.may_make_roles(self.statements)
            if not self.allowed:
                log.warning("workers get no database_url: the server's login may not make roles")
        return self.allowed

    async def notes(self, app_id: str) -> Sequence[str]:
        """See `AppLogins.notes`."""
        if self.allowed is False:
            return ["no database_url: the server's login may not make roles"]
        if not self.shut:
            return []
        number = await store.number_of(self.statements, app_id)
        if number is None or number not in self.shut:
            return []
        reason = self.shut[number]
        return [f"its database login is shut: {reason}; stop and start its worker to open it again"]

    async def url(self, app: App) -> str | None:
        """See `AppLogins.url`."""
        if not await self.may():
            return None
        work = partial(store.make, app=app, config=self._config, passwords=self._passwords)
        login = await self.run_between_installs(work)
        if login is None:
            return None
        self._passwords[login.number] = login.password
        return self.url_of(login)

    async def run_between_installs(self, work: Work[T]) -> T:
        """Run work that raises BeingInstalled while an install has the tables of an app."""
        deadline = anyio.current_time() + self.patience
        while True:
            try:
                return await self.statements.run(server_actor(), work)
            except store.BeingInstalled:
                if anyio.current_time() > deadline:
                    raise
            await anyio.sleep(0.05)

    async def reopen(self, tx: Transaction, app_id: str) -> None:
        """See `AppLogins.reopen`."""
        await store.reopen(tx, app_id)

    def on_exhausted(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See `AppLogins.on_exhausted`."""
        self.listeners.append(callback)

    def is_elsewhere(self, server: str) -> bool:
        """Return whether workers were given the address of another PostgreSQL server."""
        return bool(self.server) and server != self.server and not self._config.address

    async def renew_passwords(self) -> None:
        """Make the passwords of before invalid; a start of a worker makes a new one."""
        if not await self.may():
            return
        are_forgotten = await self.statements.run(server_actor(), store.forget_passwords)
        if not are_forgotten:
            log.info("passwords of logins stay: another server process runs")

    async def shut_out_strangers(self) -> None:
        """Take the rights that logins of other databases have in this one."""
        strangers = await self.statements.run(server_actor(), shut_out_strangers)
        if strangers:
            log.info("logins of another database lost their rights here", roles=strangers)

    async def drop_orphans(self) -> None:
        """Drop the logins of apps that were uninstalled while this plugin was off."""
        if not await self.may():
            return
        for role in await store.find_orphans(self.statements):
            await self.statements.run(server_actor(), partial(drop, role=role))

    def url_of(self, login: Login) -> str:
        """Return the connection string of a login that a worker on this machine can use."""
        user = f"{quote(login.role, safe='')}:{quote(login.password, safe='')}"
        database = quote(login.database, safe="")
        address = self._config.address
        if address:
            url = f"postgresql://{user}@{address}/{database}"
            if "," in address:  # several servers: workers write to the one that is no standby
                url += "?target_session_attrs=read-write"
            return url

        if login.address:
            host = login.address
            if ":" in host:
                host = f"[{host}]"
            return f"postgresql://{user}@{host}:{login.port}/{database}"

        interfaces = {name.strip() for name in login.listens.split(",")}
        if interfaces & {"*", "localhost", "127.0.0.1", "0.0.0.0"}:
            return f"postgresql://{user}@127.0.0.1:{login.port}/{database}"

        # Not every login may read the folder; libpq has a default.
        folder = ""
        if login.socket_folder:
            folder = f"host={quote(login.socket_folder, safe='')}&"
        return f"postgresql://{user}@/{database}?{folder}port={login.port}"


SERVICE = ServiceKey[AppLoginsService]("app_logins_service")
