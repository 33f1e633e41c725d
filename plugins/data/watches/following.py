"""Replies that their clients can follow: with a position (`Prefer: position`), or live."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Hashable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec

from kernel.public import (
    CHANGES,
    HOOKS,
    LIVE_QUERIES,
    BadRequest,
    Changes,
    LiveQueries,
    LiveQuery,
    Page,
    Query,
    Records,
    Request,
    Response,
    Services,
    SnapshotReads,
    Target,
    Watched,
    WithSnapshot,
    headers_of,
    hookspecs,
    preferred_type,
    reply,
    supports,
)
from plugins.data.models import QueryBody
from plugins.data.reads.aggregates import list_fields
from plugins.data.reads.export import JSON, MEDIA
from plugins.data.reads.totals import answer_page, answer_page_with, write_page
from plugins.data.rendering import count_in

from .trees import has_relations, is_path

EVENTS: Final = "text/event-stream"
POSITION: Final = "caudex-event"
MAX_COMPLETE: Final = 10_000
"""Records of a live query without a limit."""

_encode = msgspec.json.Encoder(order="deterministic").encode


def wants_events(request: Request) -> bool:
    """Whether a client prefers a stream of events."""
    accept = headers_of(request.scope).get(b"accept")
    if accept is None or b"event-stream" not in accept:
        return False
    return preferred_type(accept.decode("latin-1"), (JSON, *MEDIA, EVENTS)) == EVENTS


def find_changes(services: Services, request: Request) -> Changes | None:
    """Return CHANGES where a client wants the position of the reply, and there are changes."""
    prefer = headers_of(request.scope).get(b"prefer")
    if prefer is None:
        return None
    wishes = [wish.strip().lower() for wish in prefer.split(b",")]
    return services.find(CHANGES) if b"position" in wishes else None


def find_live_queries(services: Services) -> LiveQueries | None:
    """Return what answers live queries, where there are changes to follow."""
    return None if services.find(CHANGES) is None else services.find(LIVE_QUERIES)


async def read_page(
    records: Records, changes: Changes, target: Target, page: Page
) -> tuple[bytes, dict[str, str]]:
    """Return a page, and the header with the position of its statement."""
    if not supports(records, SnapshotReads):
        return await records.page(target, page), {}
    seen = await records.page_with(target, page, changes.snapshot_expression)
    return seen.reply, {POSITION: await changes.position_of(seen.snapshot)}


@asynccontextmanager
async def open_list(
    records: SnapshotReads, changes: Changes, target: Target, page: Page, response: Response
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Open a complete list, and give its position to the response before that begins."""
    async with records.stream_with(target, page, changes.snapshot_expression) as (seen, pieces):
        response.headers[POSITION] = await changes.position_of(seen)
        yield pieces


async def reply_with_position(
    records: Records, changes: Changes, target: Target, body: QueryBody
) -> Response:
    """Reply to a query, with the position of its statement in a header."""
    seen = await _read_reply(records, target, body, changes.snapshot_expression)
    response = reply(seen.reply)
    if seen.snapshot:
        response.headers[POSITION] = await changes.position_of(seen.snapshot)
    return response


def make_live_query(
    services: Services, records: Records, target: Target, body: QueryBody
) -> LiveQuery:
    """Say how a query is read and what is watched for it. Raises BadRequest."""
    has_groups = body.aggregates
    parts = (body.limit, body.offset, body.after, body.search)
    is_cut = any(part is not None for part in parts)
    if has_groups or is_cut or body.expand or body.etag:
        reaches_links = _reaches_links(body)
        depends_on_caller = reaches_links or _has_scope_hooks(services)
        return LiveQuery(
            watched=Watched(app_id=target.app_id, entity=target.entity),
            read=partial(_read_reply, records, target, body),
            repeats=True,
            reaches_links=reaches_links,
            shape=_shape_of(target, body, depends_on_caller=depends_on_caller),
        )
    if not supports(records, SnapshotReads):
        raise BadRequest("a live query needs a limit here")
    watched = Watched(
        app_id=target.app_id, entity=target.entity, where=body.where, fields=body.fields
    )
    return LiveQuery(watched=watched, read=partial(_read_complete, records, target, body))


def _reaches_links(body: QueryBody) -> bool:
    """Whether records of other entities are part of a reply, or decide about it."""
    has_paths = any(map(is_path, list_fields(body.aggregation)))
    return bool(body.expand) or has_paths or has_relations(body.where)


def _has_scope_hooks(services: Services) -> bool:
    """Whether a plugin narrows records: its answer may differ at each read."""
    return bool(services.get(HOOKS).implementations(hookspecs.record_scope))


def _shape_of(target: Target, body: QueryBody, *, depends_on_caller: bool) -> Hashable:
    """Return what a reply depends on beside the watch: see `LiveQuery.shape`.

    With `depends_on_caller` no other session shares it, not even one of the same user.
    """
    shape = (_encode(body), target.grant)
    if not depends_on_caller:
        return shape
    return *shape, msgspec.structs.replace(target.actor, request_id="")


async def _read_reply(
    records: Records, target: Target, body: QueryBody, expression: Query
) -> WithSnapshot:
    """Read the reply of a query, where changes are read; a snapshot says what it saw.

    Without SnapshotReads the reply may be from anywhere, and there is no snapshot.
    """
    has_total = body.total is not False
    if supports(records, SnapshotReads):
        if body.aggregates:
            return await records.aggregate_with(target, body.aggregation, expression)
        return await answer_page_with(records, target, body.page, expression, total=has_total)
    if body.aggregates:
        return WithSnapshot(await records.aggregate(target, body.aggregation), b"")
    return WithSnapshot(await answer_page(records, target, body.page, total=has_total), b"")


async def _read_complete(
    records: SnapshotReads, target: Target, body: QueryBody, expression: Query
) -> WithSnapshot:
    """Read every record that matches. Raises BadRequest for too many."""
    limit = MAX_COMPLETE + 1
    page = msgspec.structs.replace(body.page, limit=limit)
    seen = await records.page_with(target, page, expression, at_most=limit)
    count = count_in(seen.reply)
    if count > MAX_COMPLETE:
        raise BadRequest(f"more than {MAX_COMPLETE} records match: ask for fewer by limit")
    total = None if body.total is False else count
    return WithSnapshot(write_page(seen.reply, total), seen.snapshot)
