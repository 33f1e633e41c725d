"""Accounts and logins: who somebody is, by password and tokens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog

from kernel.public import (
    ACCESS,
    HOOKS,
    IDENTITY,
    NOTIFICATIONS,
    SESSIONS,
    STATEMENTS,
    Actor,
    Command,
    DatabaseQuery,
    Finding,
    Plugin,
    Provider,
    Request,
    Route,
    Services,
    compare_key,
    failure,
    hookimpl,
    provide,
    server_key,
)

from .accounts import TOPIC, Accounts
from .commands import users_command
from .config import AuthConfig
from .gate import Gate
from .passwords import PasswordHasher
from .routes import AuthRoutes, authorization
from .rules import PasswordRules, read_common
from .service import AUTH, AuthService
from .store import AuthStore
from .tokens import Tokens

OPEN: Final = (
    "anybody who reaches this server can register; "
    'set [plugins.auth] registration = "first-user" or "closed"'
)
SWEEP_EVERY: Final = 600.0
"""Seconds between two sweeps of what is over."""

log = structlog.get_logger("caudex.auth")


class AuthPlugin(Plugin):
    """See the README beside this file."""

    name = "auth"
    requires = (STATEMENTS, NOTIFICATIONS, HOOKS)
    finds = (ACCESS,)
    Config = AuthConfig
    config: AuthConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide the service: its accounts are everyone's identity, its sessions for other
        means."""
        return [
            provide(AUTH, self._open),
            provide(IDENTITY, lambda services: services.get(AUTH).accounts),
            provide(SESSIONS, lambda services: services.get(AUTH)),
        ]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes, which also answer `authenticate`."""
        self._routes = AuthRoutes(services)
        return self._routes.routes()

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        """Add `caudex users`."""
        return [users_command()]

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Tell `caudex doctor` who may register, and whether the key is the database's."""
        compare_key(query, "signing", self.config.signing_key, self.context.data_dir)
        return [Finding(name="registration", text=OPEN, ok=False)] if self._exposed else []

    @property
    def _exposed(self) -> bool:
        return self.config.registration == "open" and not self.context.loopback

    @hookimpl
    async def authenticate(self, request: Request) -> Actor | None:
        """Tell who sends a bearer token; None only without any Authorization header."""
        if (header := authorization(request)) is None:
            return None
        return await self._routes.gate.actor(header, request.request_id, request.address)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Warn about what an operator should know, and sweep from time to time."""
        if self._exposed:
            log.warning(OPEN, host=self.context.host)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_sweep_always, services.get(AUTH))
            yield
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[AuthService]:
        statements, news = services.get(STATEMENTS), services.get(NOTIFICATIONS)
        configured, folder = self.config.signing_key, self.context.data_dir
        key = await server_key(statements, "signing", configured, folder)
        tokens, store, hasher = Tokens(key), AuthStore(statements), PasswordHasher()
        rules = PasswordRules(read_common(self.config.common_passwords))
        accounts = Accounts(statements, store, services.get(HOOKS), hasher, rules, tokens)
        gate = Gate(tokens, store)
        news.subscribe(TOPIC, gate.hear)
        yield AuthService(
            self.config,
            statements,
            store,
            accounts,
            gate,
            hasher,
            tokens,
            lambda: services.find(ACCESS),
        )


async def _sweep_always(auth: AuthService) -> None:
    while True:
        try:
            await auth.sweep()
        except Exception as error:
            # Housekeeping that cannot be done (the database is away, or read-only) harms nobody.
            log.warning("cannot sweep", **failure(error))
        await anyio.sleep(SWEEP_EVERY)
