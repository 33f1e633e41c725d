"""Accounts of users that a proxy in front of the server signs in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    ACCESS,
    HOOKS,
    IDENTITY,
    NOTIFICATIONS,
    STATEMENTS,
    AccountDirectory,
    Actor,
    App,
    DatabaseQuery,
    Finding,
    Plugin,
    Provider,
    Request,
    Route,
    Services,
    Transaction,
    compare_key,
    hookimpl,
    provide,
    server_key,
)

from .config import IdentityHeaderConfig
from .groups import GroupRoles
from .headers import Headers
from .routes import IdentityHeaderRoutes
from .service import TOPIC, HeaderIdentity, Rights
from .tokens import Tokens
from .trust import Trust

BY_ADDRESS = (
    "a client that connects from a trusted address can claim to be any user: "
    "set [plugins.identity_header] secret as well, unless only the proxy runs there"
)


class IdentityHeaderPlugin(Plugin):
    """See the README beside this file."""

    name = "identity_header"
    requires = (STATEMENTS, NOTIFICATIONS, HOOKS)
    finds = (ACCESS,)
    Config = IdentityHeaderConfig
    config: IdentityHeaderConfig
    _headers: Headers | None = None
    """None where another plugin was chosen to provide IDENTITY: then no header is read."""

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide IDENTITY."""
        return [provide(IDENTITY, self._open)]

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[HeaderIdentity]:
        trust = Trust(self.config)
        statements = services.get(STATEMENTS)
        key = await server_key(
            statements, "identity_header", self.config.signing_key, self.context.data_dir
        )
        find_access = lambda: services.find(ACCESS)  # noqa: E731
        rights = Rights(
            GroupRoles(self.config.groups, find_access),
            AccountDirectory(self.config.directory, find_access),
        )
        identity = HeaderIdentity(
            self.config,
            statements,
            services.get(NOTIFICATIONS),
            services.get(HOOKS),
            Tokens(key),
            rights,
        )
        self._headers = Headers(self.config, trust, identity)
        yield identity

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes; refuse, at load, to believe others than the proxy."""
        if services.provider(IDENTITY.name) == self.name:  # else no header is read
            Trust(self.config)
        return IdentityHeaderRoutes(services).routes()

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """Forget the tokens of its workers: a later app of the name is another one."""
        await tx.publish(TOPIC, f"app:{app.id}")

    @hookimpl
    async def authenticate(self, request: Request) -> Actor | None:
        """Return the user that the proxy names, or the owner of the token."""
        if self._headers is None:
            return None
        return await self._headers.authenticate(request)

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Warn when only addresses are checked; report a key of another database."""
        compare_key(query, "identity_header", self.config.signing_key, self.context.data_dir)
        if self.config.secret:
            return []
        return [Finding(name="sign-in by header", text=BY_ADDRESS, state="warn")]
