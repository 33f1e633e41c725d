"""Shares over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec

from kernel.public import (
    FRONTENDS,
    LINK_HEADERS,
    PUBLIC,
    Message,
    NotFound,
    Request,
    Response,
    Route,
    Services,
    Unauthenticated,
    find_bearer_token,
    find_origin,
    preferred_type,
    reply,
)

from .config import SharesConfig
from .models import (
    MadeShare,
    NewShare,
    OpenedShare,
    PublicCall,
    Share,
    SharedData,
    ShareInfo,
    ShownShare,
)
from .page import POLICY, draw_page
from .section import FRONTEND, read_section
from .service import MAKES_SHARES, SHARES, Shares

SHARES_OF_APP: Final = "/api/v1/apps/{app_id}/public-shares"
SHARE: Final = f"{SHARES_OF_APP}/{{id}}"
OPENED: Final = "/api/v1/public/share"
PAGE: Final = "/share/{token}"

HEADERS: Final[Mapping[str, str]] = {**LINK_HEADERS, "x-robots-tag": "noindex, nofollow"}
PAGE_DOCS: Final[dict[str, Any]] = {
    "responses": {
        "200": {
            "description": "A page with the records, or JSON for a client that prefers it.",
            "content": {
                "text/html": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "object"}},
            },
        },
        "307": {"description": "The page of the app's frontend, if its manifest says so."},
    }
}


class SharesRoutes:
    """The handlers."""

    def __init__(self, services: Services, config: SharesConfig) -> None:
        self._services = services
        self._config = config

    @cached_property
    def _shares(self) -> Shares:
        return self._services.get(SHARES)

    def routes(self) -> Sequence[Route]:
        """Every route with what it needs.

        Shares are made at the server's own host alone, and opened at those of apps too.
        """
        return [
            Route(
                "POST", SHARES_OF_APP, self.create, MAKES_SHARES, NewShare, 128_000, MadeShare,
                201, errors=(403, 404),
            ),
            Route(
                "GET", SHARES_OF_APP, self.list, MAKES_SHARES, returns=list[ShownShare],
                errors=(403, 404),
            ),
            Route("DELETE", SHARE, self.delete, MAKES_SHARES, returns=Message, errors=(403, 404)),
            Route(
                "GET", OPENED, self.read, PUBLIC, returns=SharedData, errors=(401, 404, 429),
                app_hosts=True,
            ),
            Route(
                "GET", f"{OPENED}/info", self.info, PUBLIC, returns=ShareInfo,
                errors=(401, 404, 429), app_hosts=True,
            ),
            Route(
                "POST", f"{OPENED}/rpc", self.call, PUBLIC, PublicCall, 64_000, Any,
                errors=(401, 403, 404, 429, 500), app_hosts=True,
            ),
            Route("GET", PAGE, self.show, PUBLIC, errors=(404, 429), openapi=PAGE_DOCS),
        ]  # fmt: skip

    async def create(self, request: Request, body: NewShare) -> Response:
        """Share a record or a list with people who have no account.

        It has the caller's rights at each call, and ends with them. The token is shown once.
        """
        share, token = await self._shares.create(request.actor, request.path("app_id"), body)
        origin = find_origin(request, self._config.url)
        made_share = MadeShare(
            id=share.id,
            url=f"{origin}{request.public_path(f'/share/{token}')}",
            token=token,
            token_prefix=share.token_prefix,
            name=share.name,
            context=share.context,
            created_at=share.created_at,
            expires=share.expires,
        )
        return reply(made_share, 201)

    async def list(self, request: Request) -> Response:
        """List the caller's shares of an app; for its admins those of all users."""
        shares = await self._shares.list(request.actor, request.path("app_id"))
        return reply([_describe(share) for share in shares])

    async def delete(self, request: Request) -> Response:
        """Revoke a share."""
        share_id = request.path("id")
        await self._shares.delete(request.actor, request.path("app_id"), share_id)
        return reply({"message": f"share '{share_id}' revoked"})

    async def read(self, request: Request) -> Response:
        """Read the records of a share; its token is sent as a bearer token."""
        opened = await self._open(request)
        return await self._send(opened)

    async def info(self, request: Request) -> Response:
        """Say which app a share belongs to, and what its context is."""
        share = (await self._open(request)).share
        info = ShareInfo(
            app_id=share.app_id, name=share.name, context=share.context, expires=share.expires
        )
        return reply(info, headers=HEADERS)

    async def call(self, request: Request, body: PublicCall) -> Response:
        """Call a method of the worker that the manifest's `public` names, for a share."""
        opened = await self._open(request)
        return reply(await self._shares.call(opened, body), headers=HEADERS)

    async def show(self, request: Request) -> Response:
        """Show a share to a person, or to a client that prefers JSON."""
        token = request.path("token")
        opened = await self._shares.open(token, request.actor)
        accept = request.headers.get("accept", "")
        if preferred_type(accept, ("application/json", "text/html")) != "text/html":
            return await self._send(opened)
        location = await self._find_frontend(request, opened.share.app_id)
        if location is not None:
            headers = {**HEADERS, "location": f"{location}share/{token}"}
            return Response(status_code=307, headers=headers)
        records = await self._shares.read(opened)
        headers = {**HEADERS, "content-security-policy": POLICY}
        page = draw_page(opened.share, msgspec.json.decode(records))
        return Response(page, media_type="text/html", headers=headers)

    async def _open(self, request: Request) -> OpenedShare:
        """Return the share of the bearer token. Raises Unauthenticated, NotFound, Throttled."""
        token = find_bearer_token(request)
        if not token:
            raise Unauthenticated
        return await self._shares.open(token, request.actor)

    async def _send(self, opened: OpenedShare) -> Response:
        records = await self._shares.read(opened)
        share = opened.share
        body = {
            "name": share.name,
            "fields": share.query.fields or [],
            "data": msgspec.Raw(records),
        }
        return reply(body, headers={**HEADERS, "vary": "Accept"})

    async def _find_frontend(self, request: Request, app_id: str) -> str | None:
        """Return the address of the app's frontend, if its manifest has the page of a share."""
        section = await read_section(self._shares.methods.apps, app_id)
        if section.page != FRONTEND:
            return None
        frontends = self._services.find(FRONTENDS)
        if frontends is None or app_id not in await frontends.deployed():
            raise NotFound(f"the app '{app_id}' has no frontend now")
        url = frontends.url(app_id, request)
        return None if url is None else f"{url.rstrip('/')}/"


def _describe(share: Share) -> ShownShare:
    return ShownShare(
        id=share.id,
        app_id=share.app_id,
        name=share.name,
        entity=share.entity,
        record_id=share.record_id,
        query=msgspec.to_builtins(share.query),
        context=share.context,
        token_prefix=share.token_prefix,
        by=share.username,
        created_at=share.created_at,
        expires=share.expires,
        last_accessed_at=share.last_accessed_at,
        access_count=share.access_count,
    )
