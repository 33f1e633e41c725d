"""The routes of API keys and service accounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kernel.public import (
    ANY_USER,
    CORE_ADMIN,
    Message,
    Request,
    Response,
    Route,
    Services,
    decode,
    read_body,
    reply,
)
from plugins.auth.models import MAX_BODY
from plugins.auth.service import AUTH, Auth

from .models import KeyRow, KeysQuery, MadeAccount, MadeKey, NewKey, NewServiceAccount, Rotation
from .service import refuse_key

ROTATION: Final[dict[str, Any]] = {
    "requestBody": {
        "content": {
            "application/json": {"schema": msgspec.json.schema(Rotation)["$defs"]["Rotation"]}
        }
    }
}
"""The body may be left out."""

_rotation: Final = msgspec.json.Decoder(Rotation)


class KeyRoutes:
    """Decodes requests, calls the service, encodes replies."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Sequence[Route]:
        """Declare the routes."""
        keys = "/api/v1/auth/keys"
        key = "/api/v1/auth/keys/{id}"
        return [
            Route("GET", keys, self.list, ANY_USER, returns=list[KeyRow], query=KeysQuery,
                  errors=(400, 403, 404)),
            Route("POST", keys, self.create, ANY_USER, NewKey, MAX_BODY, MadeKey, 201,
                  errors=(401, 403, 404, 429)),
            Route("DELETE", key, self.revoke, ANY_USER, returns=Message, errors=(400, 404)),
            Route("POST", f"{key}/rotate", self.rotate, ANY_USER, None, MAX_BODY, MadeKey, 201,
                  errors=(400, 401, 403, 404, 429), openapi=ROTATION),
            Route("POST", "/api/v1/users/service", self.create_account, CORE_ADMIN,
                  NewServiceAccount, MAX_BODY, MadeAccount, 201),
        ]  # fmt: skip

    @property
    def _auth(self) -> Auth:
        return self._services.get(AUTH)

    async def list(self, request: Request) -> Response:
        """List the caller's API keys, the newest first; for core admins those of `user`."""
        user_id = request.query().get("user")
        return reply(await self._auth.keys.list(request.actor, user_id))

    async def create(self, request: Request, body: NewKey) -> Response:
        """Make an API key, which is shown this once. Core admins make those of service accounts."""
        return reply(await self._auth.keys.create(request.actor, body), 201)

    async def rotate(self, request: Request) -> Response:
        """Replace an API key; the former one is valid for `overlap` seconds more."""
        refuse_key(request.actor)
        raw = await read_body(request, MAX_BODY)
        form = decode(raw, _rotation) if raw else Rotation()
        key = await self._auth.keys.rotate(request.actor, request.path("id"), form)
        return reply(key, 201)

    async def revoke(self, request: Request) -> Response:
        """Revoke an API key at once on every server process."""
        key_id = request.path("id")
        await self._auth.keys.revoke(request.actor, key_id)
        return reply({"message": f"key '{key_id}' revoked"})

    async def create_account(self, request: Request, body: NewServiceAccount) -> Response:
        """Create a service account: it cannot sign in, and has API keys that core admins make."""
        user = await self._auth.creation.create_service(
            request.actor, body.username, body.display_name
        )
        return reply(MadeAccount(user.view), 201)
