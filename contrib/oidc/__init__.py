"""Sign-in with an outside provider by OpenID Connect."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from kernel.public import (
    ACCESS,
    IDENTITY,
    SESSIONS,
    STATEMENTS,
    Access,
    Actor,
    BootError,
    Plugin,
    Provider,
    Request,
    Route,
    Services,
    SignInProvider,
    Transaction,
    User,
    door_of,
    hookimpl,
    provide,
)

from .config import OidcConfig
from .roles import ClaimedRoles
from .store import OidcStore

try:
    from .bearer import BearerTokens
    from .provider import OidcProvider, check, client_of
    from .routes import PATH, OidcRoutes
    from .service import OIDC, OidcService
except ModuleNotFoundError as missing:
    problem = f"the package {missing.name} is missing"
    raise BootError("plugin oidc", problem, "pip install 'httpx2>=2'") from None


class OidcPlugin(Plugin):
    """See the README beside this file."""

    name = "oidc"
    requires = (STATEMENTS, IDENTITY, SESSIONS)
    uses = (ACCESS,)
    Config = OidcConfig
    config: OidcConfig
    _bearer: BearerTokens | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide OIDC."""
        check(self.config)
        return [provide(OIDC, self._open)]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        self._services = services
        return OidcRoutes(services, secure=self.config.public_url.startswith("https:")).routes()

    @hookimpl
    async def authenticate(self, request: Request) -> Actor | None:
        """Return the user of an access token of the provider, on the paths that take such."""
        bearer = self._bearer
        if bearer is None or not bearer.is_for(request, door_of(request.scope)):
            return None
        return await bearer.find_actor(request)

    @hookimpl(optionalhook=True)
    def sign_in_providers(self) -> Sequence[SignInProvider]:
        """Let clients offer this sign-in."""
        name = self.config.display_name or urlsplit(self.config.issuer).hostname or "OpenID Connect"
        return [SignInProvider(id="oidc", display_name=name, url=f"{PATH}/login")]

    @hookimpl
    async def account_closing(self, tx: Transaction, user: User, delete: bool) -> None:
        """Remove the link of an account that is deleted."""
        if delete:
            await self._services.get(OIDC).forget(tx, user.id)

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[OidcService]:
        store = OidcStore(services.get(STATEMENTS))
        identity = services.get(IDENTITY)

        def find_access() -> Access | None:
            return services.find(ACCESS)

        async with client_of(self.config) as client:
            provider = OidcProvider(self.config, client)
            self._bearer = BearerTokens(self.config, provider, store, identity, find_access)
            yield OidcService(
                self.config,
                provider,
                store,
                identity,
                services.get(SESSIONS),
                ClaimedRoles(self.config.roles, store, find_access),
            )
