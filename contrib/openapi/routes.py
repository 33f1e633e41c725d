"""The documents of the API, and a page to browse them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kernel.public import ANY_USER, APP_USER, PUBLIC, NotFound, Request, Response, Route, Services

from .assets import PAGE, assets
from .config import OpenapiConfig
from .models import Document
from .service import DOCUMENTS

ASKED_AGAIN: Final = "private, no-cache"
A_DAY: Final = "public, max-age=86400"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing inline and nothing from other servers: the text of a document cannot run."""
UNCHANGED: Final = {"304": {"description": "The caller has it already, by `If-None-Match`."}}


def _file(media_type: str) -> dict[str, Any]:
    content = {media_type: {"schema": {"type": "string"}}}
    return {"responses": {"200": {"description": "The file.", "content": content}, **UNCHANGED}}


class OpenapiRoutes:
    """Decodes requests, calls the service, encodes replies."""

    def __init__(self, services: Services, config: OpenapiConfig) -> None:
        self._services = services
        self._config = config
        self._assets: Mapping[str, Document] = {}
        if config.page:
            self._assets = assets()

    def routes(self) -> Sequence[Route]:
        """Declare the routes. Page and files are public, and say nothing about this server."""
        needs = ANY_USER
        if self._config.public:
            needs = PUBLIC
        tree = dict[str, Any]
        unchanged = {"responses": UNCHANGED}
        of_server = "/api/v1/openapi.json"
        of_app = "/api/v1/apps/{app_id}/openapi.json"
        routes = [
            Route("GET", of_server, self.server, needs, returns=tree, openapi=unchanged),
            Route("GET", of_app, self.app, APP_USER, returns=tree, openapi=unchanged),
        ]
        if self._config.page:
            routes += [
                Route("GET", "/api/v1/docs", self.page, PUBLIC, openapi=_file("text/html")),
                Route("GET", "/api/v1/docs/{file}", self.file, PUBLIC, openapi=_file("*/*")),
            ]
        return routes

    async def server(self, request: Request) -> Response:
        """Describe every route of this server, as OpenAPI 3.1."""
        return _send(request, await self._services.get(DOCUMENTS).server(), ASKED_AGAIN)

    async def app(self, request: Request) -> Response:
        """Describe an app: the fields of its entities, and what the caller may do with them."""
        documents = self._services.get(DOCUMENTS)
        document = await documents.app(request.actor, request.path("app_id"))
        return _send(request, document, ASKED_AGAIN)

    async def page(self, request: Request) -> Response:
        """Show a page to browse and try the API; it asks for a token."""
        return self._asset(request, PAGE, "no-cache")

    async def file(self, request: Request) -> Response:
        """Send a file of the page."""
        return self._asset(request, request.path("file"), A_DAY)

    def _asset(self, request: Request, name: str, caching: str) -> Response:
        asset = self._assets.get(name)
        if asset is None:
            raise NotFound("there is no such file")
        return _send(request, asset, caching)


def _send(request: Request, document: Document, caching: str) -> Response:
    """Send a document, or 304 when the caller has it (RFC 9110, 13.1.2)."""
    headers = {"etag": document.tag, "cache-control": caching, "content-security-policy": POLICY}
    known_tags = [
        tag.strip().removeprefix("W/")
        for tag in request.headers.get("if-none-match", "").split(",")
    ]
    if document.tag in known_tags or known_tags == ["*"]:
        return Response(status_code=304, headers=headers)
    return Response(document.body, headers={**headers, "content-type": document.media_type})
