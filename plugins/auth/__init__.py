"""Accounts, logins, tokens and sessions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

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
    hookimpl,
    provide,
    server_key,
)

from .accounts import Accounts
from .authenticator import TokenAuthenticator, authorization
from .commands import users_command
from .config import AuthConfig
from .limits import LoginLimiter
from .passwords import PasswordHasher, PasswordRules, read_common
from .routes import AuthRoutes
from .service import AUTH, Auth, Logins, Registrations
from .sessions import Sessions
from .store import AuthStore
from .tokens import Tokens

OPEN: Final = (
    "anybody who reaches this server can register; "
    'set [plugins.auth] registration = "first-user" or "closed"'
)

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
        """Provide AUTH, and its parts as IDENTITY and SESSIONS."""
        return [
            provide(AUTH, self._open),
            provide(IDENTITY, lambda services: services.get(AUTH).accounts),
            provide(SESSIONS, lambda services: services.get(AUTH).logins),
        ]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        self._routes = AuthRoutes(services)
        return self._routes.routes()

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        """Add `caudex users`."""
        return [users_command()]

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Check the signing key, and whether registration is open to a network."""
        compare_key(query, "signing", self.config.signing_key, self.context.data_dir)
        return [Finding(name="registration", text=OPEN, state="warn")] if self._exposed else []

    @property
    def _exposed(self) -> bool:
        return self.config.registration == "open" and not self.context.loopback

    @hookimpl
    async def authenticate(self, request: Request) -> Actor | None:
        """Authenticate a bearer token; None only without an Authorization header."""
        if (header := authorization(request)) is None:
            return None
        return await self._routes.authenticator.actor(header, request.request_id, request.address)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Warn where registration is open, and start the maintenance."""
        if self._exposed:
            log.warning(OPEN, host=self.context.host)
        store = AuthStore(services.get(STATEMENTS))
        self.tasks.every(600, store.remove_expired, "remove expired sessions")
        yield

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[Auth]:
        config, statements = self.config, services.get(STATEMENTS)
        key = await server_key(statements, "signing", config.signing_key, self.context.data_dir)
        tokens, store, hasher = Tokens(key), AuthStore(statements), PasswordHasher()
        rules = PasswordRules(read_common(config.common_passwords))
        accounts = Accounts(statements, store, services.get(HOOKS), hasher, rules, tokens)
        authenticator = TokenAuthenticator(tokens, store, services.get(NOTIFICATIONS))
        limiter = LoginLimiter(statements, store, enabled=config.rate_limit_logins)
        registrations = Registrations(
            config, accounts, authenticator, limiter, lambda: services.find(ACCESS)
        )
        sessions = Sessions(statements, store, tokens, limiter, rotate=config.rotate_refresh)
        logins = Logins(statements, store, accounts, sessions, hasher, limiter)
        yield Auth(accounts, authenticator, registrations, logins, sessions)
