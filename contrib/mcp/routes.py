"""The route of agents, and what says how to sign in to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kernel.public import (
    ANY_USER,
    HOOKS,
    PUBLIC,
    REGISTRY,
    BadRequest,
    NotFound,
    RateLimiter,
    Request,
    Response,
    Route,
    Services,
    read_body,
    reply,
)

from .config import McpConfig
from .errors import RpcError
from .protocol.envelope import read_call
from .protocol.origins import check_origin
from .service import SERVICE

PATH: Final = "/api/v1/mcp"
METADATA: Final = f"/.well-known/oauth-protected-resource{PATH}"
"""Where a client looks for it (RFC 9728, 3.1)."""
MAX_BODY: Final = 2_000_000
MINUTE: Final = 60.0
DOCS: Final[Mapping[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
    "responses": {"202": {"description": "A notification was taken."}},
}


class McpRoutes:
    """Decodes messages, calls the service, encodes answers."""

    def __init__(self, services: Services, config: McpConfig) -> None:
        self._services = services
        self._limiter = RateLimiter(config.rate / MINUTE, MINUTE)

    def routes(self) -> Sequence[Route]:
        """Declare the routes."""
        return [
            Route(
                "POST", PATH, self.answer, ANY_USER, max_body=MAX_BODY, returns=dict[str, Any],
                errors=(403, 404, 429), openapi=DOCS, admit=self.admit, narrowed=True,
            ),
            Route("GET", METADATA, self.metadata, PUBLIC, returns=dict[str, Any], errors=(404,)),
        ]  # fmt: skip

    async def admit(self, request: Request) -> None:
        """Refuse pages of other origins."""
        origins = self._services.get(REGISTRY).config.server.cors_origins or ()
        check_origin(request, origins, self._services.get(HOOKS))

    async def answer(self, request: Request) -> Response:
        """Answer a message of the Model Context Protocol (streamable HTTP, without sessions).

        Errors of messages are those of JSON-RPC.
        """
        actor = request.actor
        key = actor.limits.key if actor.limits is not None else ""
        self._limiter.check(key or actor.user_id, "too many requests of this agent")
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise BadRequest("the content type must be application/json")
        body = await read_body(request, MAX_BODY)
        try:
            call = read_call(body, request.headers)
            if call.id is None:
                return Response(status_code=202)
            return reply(await self._services.get(SERVICE).answer(request, call))
        except RpcError as error:
            return reply(error.view, error.status)

    async def metadata(self, request: Request) -> Response:
        """Describe the protected resource (RFC 9728), where the plugin `oidc` is on."""
        provider = self._services.get(REGISTRY).config.plugins.get("oidc", {})
        is_on = any(
            plugin.name == "oidc" and plugin.state == "on"
            for plugin in self._services.get(REGISTRY).plugins
        )
        if not is_on:
            raise NotFound("there is no such route")
        public_url = str(provider.get("public_url", "")).rstrip("/")
        return reply(
            {
                "resource": public_url + PATH,
                "resource_name": "Caudex",
                "authorization_servers": [provider.get("issuer", "")],
                "bearer_methods_supported": ["header"],
            }
        )
