"""Collections over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from operator import attrgetter
from typing import Any, Final, Literal, cast
from urllib.parse import quote, urlencode

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from kernel.public import (
    APPS,
    MAX_PAGE,
    BadRequest,
    Message,
    NewRecord,
    Page,
    Record,
    RecordChanges,
    Request,
    Response,
    Route,
    Services,
    Tagged,
    View,
    entity,
    headers_of,
    limit_of,
    one_of,
    reply,
    whole_number,
)

from .described import CHANGED, CREATED, LISTED, REMOVED, SHOWN
from .exchange.export import Format, wanted_format
from .exchange.groups import grouped_file
from .handlers import COLLECTION, CollectionRoutes, check_parameters, flag, header_of, names_of
from .models import (
    PARAMETERS,
    VIEW_PARAMETERS,
    ExportQuery,
    Found,
    ListQuery,
    QueryBody,
    RecordQuery,
)
from .reads.pages import answer
from .rendering import count_in, last_id
from .statements.entity import keep
from .writes.tags import is_none_match

RECORD: Final = f"{COLLECTION}/{{id}}"

Order = Literal["asc", "desc"]


EVERYTHING: Final = View()
_VIEWED: Final = re.compile("|".join(["%", *VIEW_PARAMETERS]).encode())
"""Finds query strings that may have parameters of a view; `%` can write any name."""

_field_name = attrgetter("name")


class Listing(msgspec.Struct, frozen=True):
    """Parameters of a list: `whole` without a limit, `query` for the next page but its `after`."""

    page: Page
    whole: bool
    query: str
    raw: bool = False


class RecordRoutes(CollectionRoutes):
    """The routes of the plugin."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._listings: dict[bytes | tuple[bytes, frozenset[str]], Listing] = {}

    def routes(self) -> Sequence[Route]:
        """Declare every route; a query needs `read`, a bulk `create`."""
        read, create = entity("read"), entity("create")
        update, delete = entity("update"), entity("delete")
        one, many, bad = Record, list[Record], (400,)
        return [
            Route(
                "GET", COLLECTION, self._list, read, returns=many, query=ListQuery, workers=True,
                openapi=LISTED,
            ),
            Route(
                "POST", COLLECTION, self._create, create, NewRecord, returns=one, status=201,
                workers=True, openapi=CREATED,
            ),
            Route(
                "GET", RECORD, self._get, read, returns=one, query=RecordQuery, errors=bad,
                workers=True, openapi=SHOWN,
            ),
            Route(
                "PATCH", RECORD, self._update, update, RecordChanges, returns=one, errors=(412,),
                workers=True, openapi=CHANGED,
            ),
            Route(
                "DELETE", RECORD, self._delete, delete, returns=Message, errors=(400, 412),
                workers=True, openapi=REMOVED,
            ),
            Route(
                "POST", f"{COLLECTION}/query", self._query, read, QueryBody, returns=Found,
                query=ExportQuery, workers=True, openapi=LISTED,
            ),
        ]  # fmt: skip

    async def _get(self, request: Request) -> Response:
        """Show a record; linked records are under `expand`."""
        app_id, name, record_id = map(request.path, ("app_id", "entity", "id"))
        caller, view = (request.actor, request.grant, app_id, name), EVERYTHING
        if request.scope["query_string"]:
            given = request.query()
            check_parameters(given, VIEW_PARAMETERS)
            view = _view(given, await self._own_parameters(request))
        if self._whole is None:
            return reply(await self._records.get(*caller, record_id))
        found = await self._whole.view(*caller, record_id, view)
        unless = headers_of(request.scope).get(b"if-none-match")
        if unless and not view.expand and found.etag and is_none_match(unless, found.etag):
            return Response(status_code=304, headers={"etag": found.etag})
        return _tagged(found)

    async def _own_parameters(self, request: Request) -> frozenset[str]:
        """Return the parameters of a view; a field of such a name takes precedence."""
        app_id, name = names_of(request)
        found = await self._services.get(APPS).entity(app_id, name)
        return VIEW_PARAMETERS.difference(map(_field_name, found.fields))

    async def _list(self, request: Request) -> Response:
        """List records, the newest first; without `limit` all of them.

        A full page carries a `Link` to the next one.
        """
        listing = await self._listing(request)
        page, names, caller = listing.page, names_of(request), (request.actor, request.grant)
        if (kind := _format(request)) is not None:
            limit = None if listing.whole else page.limit
            return self._exported(request, page, kind, limit=limit, raw=listing.raw)
        if listing.whole:
            return StreamedArray(lambda: self._records.stream(*caller, *names, page))
        array = await self._records.page(*caller, *names, page)
        return reply(array, headers=_next(request, listing, array))

    async def _listing(self, request: Request) -> Listing:
        """Read the parameters of a list; short ones are cached, since many requests repeat them."""
        raw: bytes = request.scope["query_string"]
        if (known := self._listings.get(raw)) is not None:
            return known
        key: bytes | tuple[bytes, frozenset[str]] = raw
        own = VIEW_PARAMETERS
        if _VIEWED.search(raw) is not None:
            own = await self._own_parameters(request)
            key = (raw, own)
            if (known := self._listings.get(key)) is not None:
                return known
        listing = _read(request.query(), own)
        return keep(self._listings, key, listing, 500) if len(raw) <= 200 else listing

    async def _create(self, request: Request, body: dict[str, Any]) -> Response:
        """Create a record."""
        caller = (request.actor, request.grant, *names_of(request))
        if self._whole is None:
            return reply(await self._records.create(*caller, body), 201)

        async def handle() -> Response:
            return _tagged(await self._collections.add(*caller, body), 201)

        return await self._acting(request, body, handle, "create")

    async def _update(self, request: Request, body: dict[str, Any]) -> Response:
        """Change the fields of a record that are named; with `If-Match` unless it has changed."""
        caller, record_id = (request.actor, request.grant, *names_of(request)), request.path("id")
        if_match = header_of(request, b"if-match")
        if if_match is None and self._whole is None:
            return reply(await self._records.update(*caller, record_id, body))
        return _tagged(await self._collections.change(*caller, record_id, body, if_match))

    async def _delete(self, request: Request) -> Response:
        """Delete a record; with `If-Match` unless it has changed."""
        caller, record_id = (request.actor, request.grant, *names_of(request)), request.path("id")
        if (if_match := header_of(request, b"if-match")) is None:
            await self._records.delete(*caller, record_id)
        else:
            await self._collections.remove(*caller, record_id, if_match)
        return reply({"message": f"record '{record_id}' deleted"})

    def _exported(
        self, request: Request, page: Page, kind: Format, *, limit: int | None, raw: bool
    ) -> Response:
        """Answer with a file of records."""
        if limit is not None and limit < 1:
            raise BadRequest("limit must be a whole number of at least 1")
        caller = (request.actor, request.grant, *names_of(request))
        most = None if limit is None else min(limit, MAX_PAGE)
        return StreamedArray(
            lambda: self._collections.export(*caller, page, kind, limit=most, raw=raw),
            *_file(request, kind),
        )

    async def _query(self, request: Request, body: QueryBody) -> Response:
        """Find records by a where-tree, a page of them with their number, or groups of them."""
        caller = (request.actor, request.grant, *names_of(request))
        kind = _format(request)
        raw = kind is not None and flag(request.query(), "raw")
        if body.aggregates:
            aggregate = partial(self._collections.aggregate, *caller)
            if kind is None:
                return reply(await aggregate(body.aggregation))
            file = await grouped_file(aggregate, body, kind, raw=raw)
            media, headers = _file(request, kind)
            return Response(file, media_type=media, headers=headers)
        page = body.page
        if kind is not None:
            limit = None if body.limit is None else page.limit
            return self._exported(request, page, kind, limit=limit, raw=raw)
        return reply(await answer(self._records, *caller, page, total=body.total is not False))


class StreamedArray(StreamingResponse):
    """An array of any length. An error before its first piece is still an ordinary reply."""

    def __init__(
        self,
        opened: Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]],
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__((), media_type=media_type, headers=headers)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and close its source however that ends; a HEAD gets the head of a GET."""
        async with self._opened() as pieces:
            first = await anext(pieces, b"")
            if scope["method"] == "HEAD":
                start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(start)
                await send({"type": "http.response.body", "body": b""})
                return
            self.body_iterator = _chained(first, pieces)
            await super().__call__(scope, receive, send)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _file(request: Request, kind: Format) -> tuple[str, dict[str, str]]:
    """Return the media type and the headers of a file."""
    disposition = f'attachment; filename="{request.path("entity")}.{kind}"'
    media = "text/csv" if kind == "csv" else "application/x-ndjson"
    return media, {"content-disposition": disposition}


def _format(request: Request) -> Format | None:
    return wanted_format(headers_of(request.scope).get(b"accept"))


def _tagged(found: Tagged, status: int = 200) -> Response:
    """Answer with a record and its entity tag."""
    return reply(found.record, status, None if found.etag is None else {"etag": found.etag})


def _read(given: Mapping[str, str], own: Collection[str]) -> Listing:
    """Read the parameters of a list; any other name is a field and the value it must have."""
    known = {name for name in PARAMETERS if name not in VIEW_PARAMETERS or name in own}
    offset = given.get("offset")
    view = _view(given, own)
    page = Page(
        where={name: text for name, text in given.items() if name not in known} or None,
        order_by=given.get("sort"),
        order=cast("Order", one_of("order", given.get("order", "desc"), ("asc", "desc"))),
        limit=limit_of(given.get("limit"), MAX_PAGE),
        offset=0 if offset is None else whole_number("offset", offset),
        after=given.get("after"),
        view=None if view == View() else view,
    )
    kept = {name: text for name, text in given.items() if name not in ("offset", "after")}
    raw = "raw" in own and flag(given, "raw")
    return Listing(page, "limit" not in given, urlencode(kept, quote_via=quote), raw)


def _view(given: Mapping[str, str], own: Collection[str]) -> View:
    """Read what a list or a record shows from its parameters."""
    parts = {
        name: given[name].split(",")
        for name in ("fields", "expand")
        if name in own and name in given
    }
    return View(
        fields=parts.get("fields"),
        expand=parts.get("expand", ()),
        etag="etag" in own and flag(given, "etag"),
    )


def _next(request: Request, listing: Listing, array: bytes) -> dict[str, str] | None:
    """Link to the next page where this one is full."""
    if count_in(array) < listing.page.limit or (last := last_id(array)) is None:
        return None
    app_id, name = names_of(request)  # both exist, so they hold nothing to quote
    path = request.public_path(COLLECTION.format(app_id=app_id, entity=name))
    return {"link": f'<{path}?{listing.query}&after={quote(last)}>; rel="next"'}
