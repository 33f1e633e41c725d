"""Single records, lists and queries over HTTP; `list_parameters.py` reads what lists are asked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final
from urllib.parse import quote

from kernel.public import (
    APPS,
    MAX_PAGE,
    BadRequest,
    Changes,
    Message,
    NewRecord,
    Page,
    Record,
    RecordChanges,
    Request,
    Response,
    Route,
    Services,
    SnapshotReads,
    StreamedReply,
    Tagged,
    Target,
    Transaction,
    entity,
    headers_of,
    reply,
    supports,
)

from .exchange.group_files import grouped_file
from .execution.tags import is_none_match
from .handlers import (
    COLLECTION,
    CollectionRoutes,
    check_parameters,
    header_of,
    read_flag,
    target_of,
)
from .list_parameters import (
    MAY_HAVE_VIEW,
    Listing,
    ReplyFormat,
    read_format,
    read_listing,
    read_view,
)
from .models import VIEW_PARAMETERS, ExportQuery, Found, ListQuery, QueryBody, RecordQuery
from .openapi import CREATE_DOCS, DELETE_DOCS, LIST_DOCS, QUERY_DOCS, RECORD_DOCS, UPDATE_DOCS
from .reads.export import Format, choose_format
from .reads.record_reader import EVERYTHING
from .reads.totals import answer_page
from .rendering import count_in, last_id
from .statements.caching import keep
from .watches.following import (
    find_changes,
    find_live_queries,
    make_live_query,
    open_list,
    read_page,
    reply_with_position,
    wants_events,
)
from .whole_records import count_page, read_whole, wants_count

RECORD: Final = f"{COLLECTION}/{{id}}"

_field_name = attrgetter("name")


class RecordRoutes(CollectionRoutes):
    """Routes of single records, lists and queries."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._listings: dict[bytes | tuple[bytes, frozenset[str]], Listing] = {}

    def routes(self) -> Sequence[Route]:
        """Declare the routes, and the permission that each needs."""
        read = entity("read")
        create = entity("create")
        update = entity("update")
        delete = entity("delete")
        return [
            Route(
                "GET", COLLECTION, self._list, read, returns=list[Record], query=ListQuery,
                workers=True, app_hosts=True, openapi=LIST_DOCS,
            ),
            Route(
                "POST", COLLECTION, self._create, create, NewRecord, returns=Record, status=201,
                workers=True, app_hosts=True, openapi=CREATE_DOCS,
            ),
            Route(
                "GET", RECORD, self._get, read, returns=Record, query=RecordQuery,
                errors=(400,), workers=True, app_hosts=True, openapi=RECORD_DOCS,
            ),
            Route(
                "PATCH", RECORD, self._update, update, RecordChanges, returns=Record,
                errors=(412,), workers=True, app_hosts=True, openapi=UPDATE_DOCS,
            ),
            Route(
                "PUT", RECORD, self._replace, update, RecordChanges, returns=Record,
                errors=(412,), workers=True, app_hosts=True, openapi=UPDATE_DOCS,
            ),
            Route(
                "DELETE", RECORD, self._delete, delete, returns=Message, errors=(400, 412),
                workers=True, app_hosts=True, openapi=DELETE_DOCS,
            ),
            Route(
                "POST", f"{COLLECTION}/query", self._query, read, QueryBody, returns=Found,
                query=ExportQuery, workers=True, app_hosts=True, openapi=QUERY_DOCS,
            ),
        ]  # fmt: skip

    async def _get(self, request: Request) -> Response:
        """Show a record; linked records are under `expand`."""
        view = EVERYTHING
        if request.scope["query_string"]:
            parameters = request.query()
            check_parameters(parameters, VIEW_PARAMETERS - {"format"})
            view = read_view(parameters, await self._view_parameters(request))
        record = await self._records.get(target_of(request), request.path("id"), view)
        known_tags = headers_of(request.scope).get(b"if-none-match")
        if known_tags is None or record.etag is None or view.expand:
            return _reply_tagged(record)
        if is_none_match(known_tags, record.etag):
            return Response(status_code=304, headers={"etag": record.etag})
        return _reply_tagged(record)

    async def _view_parameters(self, request: Request) -> frozenset[str]:
        """Return the parameters of a view; a field of such a name takes precedence."""
        apps = self._services.get(APPS)
        described = await apps.entity(request.path("app_id"), request.path("entity"))
        return VIEW_PARAMETERS.difference(map(_field_name, described.fields))

    async def _list(self, request: Request) -> Response:
        """List records, the newest first; without `limit` all of them.

        A full page carries a `Link` to the next one.
        """
        listing = await self._read_listing(request)
        page = listing.page
        file_format = _format_of(request, listing.file_format)
        if file_format is not None:
            limit = None if listing.complete else page.limit
            return self._export(request, page, file_format, limit=limit, raw=listing.raw)
        target = target_of(request)
        if b"prefer" in headers_of(request.scope):
            return await self._list_as_preferred(request, listing, target)
        if listing.complete:
            return self._stream(target, page, None)
        array = await self._records.page(target, page)
        return reply(array, headers=_link_next(request, listing, array))

    async def _list_as_preferred(
        self, request: Request, listing: Listing, target: Target
    ) -> Response:
        """Answer a list whose client asks for its position, or for the number of all records."""
        page = listing.page
        records = self._records
        changes = find_changes(self._services, request)
        counts = wants_count(request)
        if listing.complete:
            response = self._stream(target, page, changes)
            if counts:
                response.headers.update(await count_page(records, target, page, None))
            return response
        headers: dict[str, str] = {}
        if changes is None:
            array = await records.page(target, page)
        else:
            array, headers = await read_page(records, changes, target, page)
        if counts:
            headers |= await count_page(records, target, page, array)
        return reply(array, headers={**headers, **(_link_next(request, listing, array) or {})})

    def _stream(self, target: Target, page: Page, changes: Changes | None) -> Response:
        """Answer with a complete list, and its position where CHANGES is given."""
        records = self._records
        if changes is None or not supports(records, SnapshotReads):
            return StreamedReply(lambda: self._records.stream(target, page))
        response = StreamedReply(lambda: open_list(records, changes, target, page, response))
        return response

    async def _read_listing(self, request: Request) -> Listing:
        """Read the parameters of a list; short ones are cached, since many requests repeat them."""
        raw: bytes = request.scope["query_string"]
        listing = self._listings.get(raw)
        if listing is not None:
            return listing
        key: bytes | tuple[bytes, frozenset[str]] = raw
        view_parameters = VIEW_PARAMETERS
        if MAY_HAVE_VIEW.search(raw) is not None:
            view_parameters = await self._view_parameters(request)
            key = (raw, view_parameters)
            listing = self._listings.get(key)
            if listing is not None:
                return listing
        listing = read_listing(request.query(), view_parameters)
        if len(raw) > 200:
            return listing
        return keep(self._listings, key, listing, 500)

    async def _create(self, request: Request, body: dict[str, Any]) -> Response:
        """Create a record."""
        target = target_of(request)

        async def create(tx: Transaction | None) -> Response:
            record = await self._records.create(target, body, tx=tx)
            return _reply_tagged(record, 201)

        return await self._answer(request, body, create, "create")

    async def _update(self, request: Request, body: dict[str, Any]) -> Response:
        """Change the fields of a record that are named; with `If-Match` unless it has changed."""
        target = target_of(request)
        record_id = request.path("id")
        if_match = header_of(request, b"if-match")
        record = await self._records.update(target, record_id, body, if_match=if_match)
        return _reply_tagged(record)

    async def _replace(self, request: Request, body: dict[str, Any]) -> Response:
        """Change a record by a whole one, as a list shows it; `If-Match` as with PATCH.

        Required fields must be there. Others that are left out stay as they are.
        """
        target = target_of(request)
        record_id = request.path("id")
        described = await self._services.get(APPS).entity(target.app_id, target.entity)
        changes = read_whole(target, described, record_id, body)
        return await self._update(request, changes)

    async def _delete(self, request: Request) -> Response:
        """Delete a record; with `If-Match` unless it has changed."""
        record_id = request.path("id")
        if_match = header_of(request, b"if-match")
        await self._records.delete(target_of(request), record_id, if_match=if_match)
        return reply({"message": f"record '{record_id}' deleted"})

    def _export(
        self, request: Request, page: Page, file_format: Format, *, limit: int | None, raw: bool
    ) -> Response:
        """Answer with a file of records."""
        if limit is not None and limit < 1:
            raise BadRequest("limit must be a whole number of at least 1")
        target = target_of(request)
        bounded_limit = None if limit is None else min(limit, MAX_PAGE)
        media_type, headers = _file_headers(request, file_format)
        return StreamedReply(
            lambda: self._records.export(target, page, file_format, limit=bounded_limit, raw=raw),
            media_type,
            headers,
        )

    async def _query(self, request: Request, body: QueryBody) -> Response:
        """Find records by a where-tree, a page of them with their number, or groups of them.

        With `Accept: text/event-stream` the reply is the event `page`, and its changes follow.
        """
        target = target_of(request)
        if wants_events(request):
            live = find_live_queries(self._services)
            if live is not None:
                query = make_live_query(self._services, self._records, target, body)
                return await live.answer(request, query)
        file_format = _format_of(request, None)
        raw = False
        if request.scope["query_string"]:
            parameters = request.query()
            file_format = _format_of(request, read_format(parameters))
            raw = file_format is not None and read_flag(parameters, "raw")
        changes = find_changes(self._services, request)
        if changes is not None and file_format is None:
            return await reply_with_position(self._records, changes, target, body)
        if body.aggregates:
            if file_format is None:
                return reply(await self._records.aggregate(target, body.aggregation))
            aggregate = partial(self._records.aggregate, target)
            file = await grouped_file(aggregate, body, file_format, raw=raw)
            media_type, headers = _file_headers(request, file_format)
            return Response(file, media_type=media_type, headers=headers)
        page = body.page
        if file_format is not None:
            limit = None if body.limit is None else page.limit
            return self._export(request, page, file_format, limit=limit, raw=raw)
        has_total = body.total is not False
        return reply(await answer_page(self._records, target, page, total=has_total))


def _file_headers(request: Request, file_format: Format) -> tuple[str, dict[str, str]]:
    """Return the media type and the headers of a file."""
    disposition = f'attachment; filename="{request.path("entity")}.{file_format}"'
    media_type = "text/csv" if file_format == "csv" else "application/x-ndjson"
    return media_type, {"content-disposition": disposition}


def _format_of(request: Request, chosen: ReplyFormat | None) -> Format | None:
    """Return the format of a file, None for JSON; the parameter comes before the header."""
    if chosen is None:
        return choose_format(headers_of(request.scope).get(b"accept"))
    return None if chosen == "json" else chosen


def _reply_tagged(record: Tagged, status: int = 200) -> Response:
    """Answer with a record and its entity tag."""
    headers = None if record.etag is None else {"etag": record.etag}
    return reply(record.record, status, headers)


def _link_next(request: Request, listing: Listing, array: bytes) -> dict[str, str] | None:
    """Link to the next page where this one is full."""
    if count_in(array) < listing.page.limit:
        return None
    last = last_id(array)
    if last is None:
        return None
    # The app and the entity exist, so their names hold nothing to quote.
    path = request.public_path(request.scope["path"])
    return {"link": f'<{path}?{listing.query}&after={quote(last)}>; rel="next"'}
