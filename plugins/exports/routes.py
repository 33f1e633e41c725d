"""Links to exports over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import msgspec

from kernel.public import (
    APP_USER,
    LINK_HEADERS,
    PUBLIC,
    BadRequest,
    Message,
    Request,
    Response,
    Route,
    Services,
    StreamedReply,
    find_origin,
    reply,
)

from .config import ExportsConfig
from .models import ExportLink, FileQuery, NewExport, ShownExport
from .service import EXPORTS, ExportLinks

LINKS: Final = "/api/v1/apps/{app_id}/exports"
LINK: Final = f"{LINKS}/{{id}}"
FILE: Final = f"{LINK}/file"

_TEXT: Final = {"schema": {"type": "string"}}
FILE_DOCS: Final[dict[str, Any]] = {
    "responses": {
        "200": {
            "description": "The records, or groups.",
            "content": {"text/csv": _TEXT, "application/x-ndjson": _TEXT},
        }
    }
}
MEDIA_TYPES: Final = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


class ExportsRoutes:
    """The handlers."""

    def __init__(self, services: Services, config: ExportsConfig) -> None:
        self._services = services
        self._config = config

    @cached_property
    def _links(self) -> ExportLinks:
        return self._services.get(EXPORTS)

    def routes(self) -> Sequence[Route]:
        """Every route with what it needs. None is for workers or for the hosts of apps."""
        return [
            Route(
                "POST", LINKS, self.create, APP_USER, NewExport, 128_000, ShownExport, 201,
                errors=(403, 404),
            ),
            Route("GET", LINKS, self.list, APP_USER, returns=list[ShownExport], errors=(403, 404)),
            Route("DELETE", LINK, self.delete, APP_USER, returns=Message, errors=(403, 404)),
            Route(
                "GET", FILE, self.open, PUBLIC, query=FileQuery, errors=(403,), openapi=FILE_DOCS,
            ),
        ]  # fmt: skip

    async def create(self, request: Request, body: NewExport) -> Response:
        """Make an address that shows a view, or a query, as a file without a token.

        It has the caller's rights at each call, and ends with them.
        """
        link = await self._links.create(request.actor, request.path("app_id"), body)
        return reply(self._show(request, link), 201)

    async def list(self, request: Request) -> Response:
        """List the caller's links to exports of an app; for its admins those of all users."""
        links = await self._links.list(request.actor, request.path("app_id"))
        return reply([self._show(request, link) for link in links])

    async def delete(self, request: Request) -> Response:
        """Revoke a link."""
        export_id = request.path("id")
        await self._links.delete(request.actor, request.path("app_id"), export_id)
        return reply({"message": f"export '{export_id}' revoked"})

    async def open(self, request: Request) -> Response:
        """Read the file of a link, as IMPORTDATA and Power Query do."""
        query = request.query()
        for name in query:
            if name != "token":
                raise BadRequest(f"unknown parameter {name[:80]!r}; known: token")
        export = await self._links.open(
            query.get("token", ""), request.actor, request.path("app_id"), request.path("id")
        )
        link = export.link
        headers = {
            **LINK_HEADERS,
            "content-disposition": f'attachment; filename="{link.entity}.{link.format}"',
        }
        media_type = MEDIA_TYPES[link.format]
        return StreamedReply(lambda: self._links.read(export), media_type, headers)

    def _show(self, request: Request, link: ExportLink) -> ShownExport:
        token = self._links.sign(link, request.actor)
        url = None
        if token is not None:
            path = request.public_path(f"/api/v1/apps/{link.app_id}/exports/{link.id}/file")
            url = f"{find_origin(request, self._config.url)}{path}?token={token}"
        return ShownExport(
            id=link.id,
            url=url,
            name=link.name,
            entity=link.entity,
            query=msgspec.to_builtins(link.query),
            format=link.format,
            raw=link.raw,
            by=link.username,
            created_at=link.created_at,
            expires=link.expires,
            last_used_at=link.last_used_at,
        )
