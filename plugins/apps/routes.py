"""HTTP for apps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kernel.public import (
    ANY_USER,
    APP_ADMIN,
    BadRequest,
    Request,
    Response,
    Route,
    Services,
    decode,
    reply,
)

from .manifest import MAX_BYTES
from .models import Pruning
from .service import SERVICE, AppsService

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


class AppsRoutes:
    """Routes of the plugin."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def _apps(self) -> AppsService:
        return self._services.get(SERVICE)

    def routes(self) -> Sequence[Route]:
        """Declare them."""
        apps, app = "/api/v1/apps", "/api/v1/apps/{app_id}"
        verify, prune = f"{apps}/schema/verify", f"{app}/schema/prune"
        return [
            Route("GET", apps, self.list_apps, ANY_USER),
            Route("POST", apps, self.install, ANY_USER, msgspec.Raw, MAX_BYTES),
            Route("POST", verify, self.verify, ANY_USER, msgspec.Raw, MAX_BYTES),
            Route("DELETE", app, self.remove, APP_ADMIN),
            Route("POST", prune, self.prune, APP_ADMIN, Pruning),
        ]

    async def list_apps(self, request: Request) -> Response:
        """Every installed app."""
        return reply(await self._apps.summaries())

    async def install(self, request: Request, body: msgspec.Raw) -> Response:
        """Install an app, or bring it to a new manifest."""
        return reply(await self._apps.install(request.actor, _manifest(body)))

    async def verify(self, request: Request, body: msgspec.Raw) -> Response:
        """Say what an install would change."""
        return reply(await self._apps.verify(request.actor, _manifest(body)))

    async def remove(self, request: Request) -> Response:
        """Remove an app."""
        app_id = request.path("app_id")
        await self._apps.remove(request.actor, app_id)
        return reply({"message": f"app '{app_id}' uninstalled"})

    async def prune(self, request: Request, body: Pruning) -> Response:
        """Drop what is retired."""
        return reply(await self._apps.prune(request.actor, request.path("app_id"), body))


def _manifest(body: msgspec.Raw) -> dict[str, Any]:
    """Decode a manifest; a key that is there twice is an error, as it would be lost silently."""
    raw = bytes(body)
    found: dict[str, Any] = decode(raw, _OBJECT)
    json.loads(raw, object_pairs_hook=_each_once, parse_int=str, parse_float=str)
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise BadRequest(f"the manifest has the key {name[:80]!r} twice in one object")
        seen.add(name)
