"""Secrets over HTTP: set, list by name, delete. No route gives a value back."""

from __future__ import annotations

from typing import Final

from kernel.public import (
    APP_ADMIN,
    APPS,
    CORE_ADMIN,
    VAULT,
    Message,
    Request,
    Response,
    Route,
    Services,
    Vault,
    reply,
)

from .models import NewSecret, Usage
from .service import VaultService

OF_APP: Final = "/api/v1/apps/{app_id}/secrets"
OF_PLATFORM: Final = "/api/v1/platform/secrets"
Names = list[str]


class VaultRoutes:
    """The handlers; the provider of VAULT answers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """Every route with what it needs."""
        return [
            Route("POST", OF_APP, self.set, APP_ADMIN, NewSecret, returns=Message),
            Route("GET", OF_APP, self.list, APP_ADMIN, returns=Names),
            Route("GET", f"{OF_APP}/usage", self.usage, APP_ADMIN, returns=list[Usage]),
            Route("GET", f"{OF_PLATFORM}/usage", self.usage, CORE_ADMIN, returns=list[Usage]),
            Route("DELETE", f"{OF_APP}/{{key}}", self.delete, APP_ADMIN, returns=Message),
            Route("POST", OF_PLATFORM, self.set, CORE_ADMIN, NewSecret, returns=Message),
            Route("GET", OF_PLATFORM, self.list, CORE_ADMIN, returns=Names),
            Route("DELETE", f"{OF_PLATFORM}/{{key}}", self.delete, CORE_ADMIN, returns=Message),
        ]

    async def set(self, request: Request, body: NewSecret) -> Response:
        """Set a secret; one that is there gets the new value."""
        app_id = await self._app(request)
        await self._vault.set(request.actor, app_id, body.key, body.value)
        return reply({"message": f"{_kind(app_id)} '{body.key}' set"})

    async def list(self, request: Request) -> Response:
        """List the names of the secrets, never their values."""
        return reply(await self._vault.names(await self._app(request)))

    async def usage(self, request: Request) -> Response:
        """List when each secret was set and last given to a worker, where the engine knows it."""
        app_id = await self._app(request)
        vault = self._vault
        if isinstance(vault, VaultService):
            return reply(await vault.usage(app_id))
        return reply([Usage(key) for key in await vault.names(app_id)])

    async def delete(self, request: Request) -> Response:
        """Delete a secret."""
        app_id = await self._app(request)
        key = request.path("key")
        await self._vault.delete(request.actor, app_id, key)
        return reply({"message": f"{_kind(app_id)} '{key}' deleted"})

    @property
    def _vault(self) -> Vault:
        return self._services.get(VAULT)

    async def _app(self, request: Request) -> str | None:
        """The app of the path, which must be installed: `core` has roles and no secrets."""
        app_id: str | None = request.scope["path_params"].get("app_id")
        if app_id is None:
            return None
        app = await self._services.get(APPS).app(app_id)
        return app.id


def _kind(app_id: str | None) -> str:
    if app_id is None:
        return "platform secret"
    return "secret"
