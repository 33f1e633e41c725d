"""Collections over HTTP."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from typing import IO, Any, Final, Literal, cast
from urllib.parse import quote, urlencode

import msgspec
from anyio import to_thread
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from kernel.public import (
    APP_USER,
    APPS,
    MAX_BODY,
    MAX_PAGE,
    RECORDS,
    Action,
    Aggregation,
    BadRequest,
    Collections,
    Message,
    NewRecord,
    Operation,
    Page,
    Record,
    RecordChanges,
    Records,
    Request,
    Response,
    Route,
    Services,
    Tagged,
    Unavailable,
    View,
    entity,
    limit_of,
    limited,
    nearest,
    one_of,
    reply,
    whole_number,
)

from .errors import PreconditionFailed
from .exchange.export import MEDIA, Format, wanted_format
from .exchange.imports import Mode
from .models import (
    PARAMETERS,
    VIEW_PARAMETERS,
    Batch,
    Bulk,
    BulkQuery,
    Deleted,
    DeleteWhere,
    Found,
    Imported,
    ImportQuery,
    ListQuery,
    QueryBody,
    RecordQuery,
    Results,
    Updated,
    UpdateWhere,
)
from .once import Once
from .reads.records import answer
from .rendering import count_in, last_id
from .store import keep
from .writes.tags import is_none_match
from .writes.upsert import Then

IMPORT_PARAMETERS: Final = ("dryRun", "on", "mode", "raw")
COLLECTION: Final = "/api/v1/apps/{app_id}/collections/{entity}"
BATCH: Final = "/api/v1/apps/{app_id}/batch"
RECORD: Final = f"{COLLECTION}/{{id}}"

Order = Literal["asc", "desc"]


class Listing(msgspec.Struct, frozen=True):
    """Parameters of a list: `whole` without a limit, `query` for the next page but its `after`."""

    page: Page
    whole: bool
    query: str
    raw: bool = False


class RecordRoutes:
    """The routes of the plugin."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._listings: dict[bytes, Listing] = {}
        self._once = Once(services)

    def routes(self) -> Sequence[Route]:
        """Declare every route; a query needs `read`, a bulk `create`."""
        read, create = entity("read"), entity("create")
        update, delete = entity("update"), entity("delete")
        one, many, bad = Record, list[Record], (400,)
        return [
            Route("GET", COLLECTION, self._list, read, returns=many, query=ListQuery),
            Route("POST", COLLECTION, self._create, create, NewRecord, returns=one, status=201),
            Route("GET", RECORD, self._get, read, returns=one, query=RecordQuery, errors=bad),
            Route("PATCH", RECORD, self._update, update, RecordChanges, returns=one, errors=(412,)),
            Route("DELETE", RECORD, self._delete, delete, returns=Message, errors=(400, 412)),
            Route("POST", f"{COLLECTION}/query", self._query, read, QueryBody, returns=Found),
            Route(
                "POST", f"{COLLECTION}/bulk", self._bulk, create, Bulk,
                returns=many, status=201, query=BulkQuery,
            ),
            Route(
                "POST", f"{COLLECTION}/update-where", self._update_where, update, UpdateWhere,
                returns=Updated,
            ),
            Route(
                "POST", f"{COLLECTION}/delete-where", self._delete_where, delete, DeleteWhere,
                returns=Deleted,
            ),
            Route(
                "POST", f"{COLLECTION}/import", self._import, create, returns=Imported,
                query=ImportQuery, errors=(400,),
            ),
            Route(
                "POST", BATCH, self._batch, APP_USER, Batch, returns=Results, errors=(404, 412)
            ),
        ]  # fmt: skip

    @cached_property
    def _records(self) -> Records:
        return self._services.get(RECORDS)

    @cached_property
    def _collections(self) -> Collections:
        if not isinstance(self._records, Collections):
            raise Unavailable("the provider of records does not offer this", retry_after=None)
        return self._records

    async def _get(self, request: Request) -> Response:
        """Show a record; linked records stand under `expand`."""
        names, record_id = _names(request), request.path("id")
        view = View()
        if request.scope["query_string"]:
            view = _view(request.query(), await self._own_parameters(request))
        if not isinstance(self._records, Collections):
            return reply(await self._records.get(request.actor, request.grant, *names, record_id))
        caller = (request.actor, request.grant, *names)
        found = await self._collections.view(*caller, record_id, view)
        unless = _header(request, b"if-none-match")
        if unless and not view.expand and found.etag and is_none_match(unless, found.etag):
            return Response(status_code=304, headers={"etag": found.etag})
        return _tagged(found)

    async def _own_parameters(self, request: Request) -> Collection[str]:
        """Return the parameters of a view; a field of such a name takes precedence."""
        app_id, name = _names(request)
        found = await self._services.get(APPS).entity(app_id, name)
        return VIEW_PARAMETERS - {field.name for field in found.fields}

    async def _list(self, request: Request) -> Response:
        """List records, the newest first; without `limit` all of them.

        A full page carries a `Link` to the next one.
        """
        listing = await self._listing(request)
        page, names, caller = listing.page, _names(request), (request.actor, request.grant)
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
        given = request.query()
        if not VIEW_PARAMETERS.isdisjoint(given):
            return _read(given, await self._own_parameters(request))
        listing = _read(given, VIEW_PARAMETERS)
        return keep(self._listings, raw, listing, 500) if len(raw) <= 200 else listing

    async def _create(self, request: Request, body: dict[str, Any]) -> Response:
        """Create a record."""
        caller = (request.actor, request.grant, *_names(request))
        if not isinstance(self._records, Collections):
            return reply(await self._records.create(*caller, body), 201)

        async def handle() -> Response:
            return _tagged(await self._collections.add(*caller, body), 201)

        return await self._acting(request, body, handle, "create")

    async def _acting(
        self,
        request: Request,
        body: Any,
        handle: Callable[[], Awaitable[Response]],
        *actions: Action,
    ) -> Response:
        """Run a handler, once for an `Idempotency-Key`; it needs these actions on the entity."""
        name = request.path("entity")
        needed: list[tuple[str, Action]] = [(name, action) for action in actions]
        return await self._once(request, lambda: self._collections, body, needed, handle)

    async def _bulk(self, request: Request, body: list[dict[str, Any]]) -> Response:
        """Create 1 to 1000 records, all of them or none, and return them in the order given.

        With `on`, rows that have the key of a record change it: the reply is 200, and says of each
        row what became of it.
        """
        caller, given = (request.actor, request.grant, *_names(request)), request.query()
        if "on" not in given:

            async def create() -> Response:
                return reply(await self._records.create_many(*caller, body), 201)

            return await self._acting(request, body, create, "create")
        then = one_of("then", given.get("then", "update"), ("update", "ignore", "fail"))

        async def upsert() -> Response:
            return reply(
                await self._collections.upsert(*caller, body, given["on"], cast("Then", then))
            )

        return await self._acting(request, body, upsert, "create", "update")

    async def _update_where(self, request: Request, body: UpdateWhere) -> Response:
        """Change the records that match a where-tree, if they are as many as expected."""

        async def handle() -> Response:
            done = await self._collections.update_where(
                request.actor, request.grant, *_names(request), body.where, body.set,
                expect=body.expect, at_most=body.max,
            )  # fmt: skip
            return reply({"updated": done})

        return await self._acting(request, body, handle, "update", "read")

    async def _delete_where(self, request: Request, body: DeleteWhere) -> Response:
        """Delete the records that match a where-tree, if they are as many as expected."""

        async def handle() -> Response:
            done = await self._collections.delete_where(
                request.actor, request.grant, *_names(request), body.where,
                expect=body.expect, at_most=body.max,
            )  # fmt: skip
            return reply({"deleted": done})

        return await self._acting(request, body, handle, "delete", "read")

    async def _batch(self, request: Request, body: Batch) -> Response:
        """Run 1 to 1000 writes of any entities in one transaction, all of them or none.

        Each needs its own permission. `{"$ref": "acme.id"}` is a value of the record that an
        earlier operation named by `as` wrote.
        """

        async def handle() -> Response:
            return reply(
                await self._collections.batch(
                    request.actor, request.path("app_id"), body.operations, dry_run=body.dry_run
                )
            )

        needed: list[tuple[str, Action]] = [
            pair for operation in body.operations for pair in _needed(operation)
        ]
        try:
            return await self._once(request, lambda: self._collections, body, needed, handle)
        except PreconditionFailed as failed:
            return _conflict(failed)

    async def _update(self, request: Request, body: dict[str, Any]) -> Response:
        """Change the fields of a record that are named; with `If-Match` unless it has changed."""
        caller, record_id = (request.actor, request.grant, *_names(request)), request.path("id")
        if_match = _header(request, b"if-match")
        if if_match is None and not isinstance(self._records, Collections):
            return reply(await self._records.update(*caller, record_id, body))
        try:
            changed = await self._collections.change(*caller, record_id, body, if_match)
        except PreconditionFailed as failed:
            return _conflict(failed)
        return _tagged(changed)

    async def _delete(self, request: Request) -> Response:
        """Delete a record; with `If-Match` unless it has changed."""
        caller, record_id = (request.actor, request.grant, *_names(request)), request.path("id")
        if (if_match := _header(request, b"if-match")) is None:
            await self._records.delete(*caller, record_id)
        else:
            try:
                await self._collections.remove(*caller, record_id, if_match)
            except PreconditionFailed as failed:
                return _conflict(failed)
        return reply({"message": f"record '{record_id}' deleted"})

    def _exported(
        self, request: Request, page: Page, kind: Format, *, limit: int | None, raw: bool
    ) -> Response:
        """Answer with a file of records."""
        if limit is not None and limit < 1:
            raise BadRequest("limit must be a whole number of at least 1")
        caller = (request.actor, request.grant, *_names(request))
        most = None if limit is None else min(limit, MAX_PAGE)
        disposition = f'attachment; filename="{request.path("entity")}.{kind}"'
        return StreamedArray(
            lambda: self._collections.export(*caller, page, kind, limit=most, raw=raw),
            "text/csv" if kind == "csv" else "application/x-ndjson",
            {"content-disposition": disposition},
        )

    async def _import(self, request: Request) -> Response:
        """Create records from a CSV file with a header, or from JSON lines, and report on its rows.

        With `on`, rows that have the key of a record change it, which needs `update` as well.
        """
        given = request.query()
        if unknown := next((name for name in given if name not in IMPORT_PARAMETERS), None):
            raise BadRequest(
                f"unknown parameter {unknown[:80]!r}; {nearest(unknown, IMPORT_PARAMETERS)}"
            )
        kind = _given_format(request)
        mode = cast("Mode", one_of("mode", given.get("mode", "all"), ("all", "valid")))
        options = {"dry_run": flag(given, "dryRun"), "raw": flag(given, "raw")}
        with tempfile.SpooledTemporaryFile(1_000_000) as file:
            digest = hashlib.sha256()
            async for piece in limited(request, MAX_BODY):
                digest.update(piece)
                await to_thread.run_sync(file.write, piece)
            caller = (request.actor, request.grant, *_names(request))

            async def handle() -> Response:
                done = await self._collections.import_file(
                    *caller, cast("IO[bytes]", file), kind, mode=mode, on=given.get("on"), **options
                )
                return reply(done)

            actions: list[Action] = ["create", "update"] if "on" in given else ["create"]
            return await self._acting(request, digest.digest(), handle, *actions)

    async def _query(self, request: Request, body: QueryBody) -> Response:
        """Find records by a where-tree, a page of them with their number, or groups of them."""
        caller = (request.actor, request.grant, *_names(request))
        if body.aggregates:
            return reply(await self._collections.aggregate(*caller, _aggregation(body)))
        page = Page(
            where=body.where,
            order_by=body.order_by,
            order=body.order or "desc",
            limit=100 if body.limit is None else body.limit,
            offset=body.offset or 0,
            after=body.after,
            view=_view_of(body),
            search=body.search,
        )
        if (kind := _format(request)) is not None:
            limit = None if body.limit is None else page.limit
            return self._exported(
                request, page, kind, limit=limit, raw=flag(request.query(), "raw")
            )
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


def _format(request: Request) -> Format | None:
    return wanted_format(request.scope["caudex.headers"].get(b"accept"))


def _given_format(request: Request) -> Format:
    """Return the format of a body. Raises BadRequest."""
    kind, _, parameters = (_header(request, b"content-type") or "").lower().partition(";")
    found = MEDIA.get(kind.strip())
    if found is None:
        raise BadRequest(f"the content type must be one of {', '.join(MEDIA)}")
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters)
    if charset and charset[1] not in ("utf-8", "utf8"):
        raise BadRequest("the body must be in UTF-8")
    return found


def _needed(operation: Operation) -> list[tuple[str, Action]]:
    """Return the permissions that an operation of a batch needs."""
    if operation.op == "upsert":
        return [(operation.entity, "create"), (operation.entity, "update")]
    action: Action = operation.op
    return [(operation.entity, action)]


def _header(request: Request, name: bytes) -> str | None:
    value = request.scope["caudex.headers"].get(name)
    return None if value is None else value.decode("latin-1")


def _tagged(found: Tagged, status: int = 200) -> Response:
    """Answer with a record and its entity tag."""
    return reply(found.record, status, None if found.etag is None else {"etag": found.etag})


def _conflict(failed: PreconditionFailed) -> Response:
    """Answer that a record has changed, with the record where the caller may read it."""
    body: dict[str, Any] = {"error": failed.message}
    if failed.current is not None:
        body["current"] = msgspec.Raw(failed.current)
    return reply(body, failed.status)


def _names(request: Request) -> tuple[str, str]:
    return request.path("app_id"), request.path("entity")


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


def flag(given: Mapping[str, str], name: str) -> bool:
    """Read a parameter that is true or false. Raises BadRequest."""
    return one_of(name, given.get(name, "false"), ("true", "false")) == "true"


def _aggregation(body: QueryBody) -> Aggregation:
    return Aggregation(
        where=body.where,
        group_by=body.group_by or (),
        aggregate=body.aggregate or {},
        having=body.having,
        order_by=body.order_by,
        order=body.order,
        limit=100 if body.limit is None else body.limit,
        offset=body.offset or 0,
        timezone=body.timezone,
        search=body.search,
        total=body.total is not False,
    )


def _view_of(body: QueryBody) -> View | None:
    view = View(fields=body.fields, expand=body.expand or (), etag=body.etag is True)
    return None if view == View() else view


def _next(request: Request, listing: Listing, array: bytes) -> dict[str, str] | None:
    """Link to the next page where this one is full."""
    if count_in(array) < listing.page.limit or (last := last_id(array)) is None:
        return None
    app_id, name = _names(request)  # both exist, so they hold nothing to quote
    path = COLLECTION.format(app_id=app_id, entity=name)
    return {"link": f'<{path}?{listing.query}&after={quote(last)}>; rel="next"'}
