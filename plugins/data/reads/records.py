"""Reads of records, by statements that an install can make obsolete."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

import msgspec

from kernel.public import (
    MAX_PAGE,
    Actor,
    Aggregation,
    BadRequest,
    Grant,
    Page,
    Reader,
    Tagged,
    Transaction,
    View,
)
from plugins.data.columns import Column
from plugins.data.exchange.export import Format, csv_pieces, ndjson_pieces
from plugins.data.filters import Conditions
from plugins.data.models import LastSeen
from plugins.data.rendering import TOO_LARGE, Rendering, check_readable, split_version
from plugins.data.row_scope import RowScope, Tree, record_not_found
from plugins.data.statements.entity import Selection
from plugins.data.statements.lists import MAX_PAGE_BYTES

from .aggregates import compile_aggregation, named_time_zone
from .carried import PageRows, check_carried, counting_statement, may_carry_too_many
from .search_query import SearchedScopes
from .search_terms import Terms, read_terms
from .selection import Expansions, known_selection, read_expand, select
from .tables import on_new_schema, taking_part

MAX_OFFSET: Final = 2**31
MAX_QUICK_OFFSET: Final = 10_000
"""Records that a page skips. PostgreSQL reads them all: 6 ms for so many."""

_last_seen = msgspec.json.Decoder(LastSeen).decode


class RecordReads(SearchedScopes):
    """The reads of RECORDS; see `kernel.contracts.records.Collections`."""

    @on_new_schema
    async def get(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """See `Records.get`."""
        scope = await self._scope(actor, grant, app_id, entity, "read")
        if tx is None:
            return (await self._get(scope, record_id)).record
        async with taking_part(tx):
            return (await self._get(scope, record_id)).record

    @on_new_schema
    async def view(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, record_id: str, view: View
    ) -> Tagged:
        """See `Collections.view`."""
        if not view.expand and view.fields is None:  # the most frequent, with the fewest steps
            scope = await self._narrowed(actor, grant, app_id, entity)
            if not scope.trees:
                return await self._get(scope, record_id)
        expansions = read_expand(view.expand)
        scope = await self._scope(actor, grant, app_id, entity, "read", None, expansions)
        if not expansions and view.fields is None:
            return await self._get(scope, record_id)
        rows = scope.record(record_id)
        shown = PageRows(rows.copied(), scope.table.columns.id)
        selected = select(scope, rows, view, expansions)
        if may_carry_too_many(scope, expansions, 1):
            await self._check_linked(scope, shown, expansions)
        return await self._one(scope, rows, selected, record_id, self._prompt)

    @on_new_schema
    async def page(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        page: Page,
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """See `Records.page`."""
        if tx is None:
            return await self._found_or_similar(actor, grant, app_id, entity, page)
        async with taking_part(tx):
            return await self._found_or_similar(actor, grant, app_id, entity, page)

    async def _found_or_similar(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, page: Page
    ) -> bytes:
        """Return a page; of a search that finds nothing, records with similar words."""
        if page.search is None or not page.search.strip():
            return await self._page(actor, grant, app_id, entity, page)
        terms = read_terms(page.search)
        array = await self._page(actor, grant, app_id, entity, page, terms)
        if array == b"[]":
            found = (page.offset or page.after is not None) and await self._found(
                actor, grant, app_id, entity, page.where, terms
            )
            if not found:
                return await self._page(actor, grant, app_id, entity, page, terms, similar=True)
        return array

    async def _page(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        page: Page,
        terms: Terms | None = None,
        *,
        similar: bool = False,
    ) -> bytes:
        expansions = _expansions(page)
        scope = await self._scope(actor, grant, app_id, entity, "read", page.where, expansions)
        if page.limit < 1:
            raise BadRequest("limit must be a whole number of at least 1")
        table, sort = scope.table, scope.table.columns.find(page.order_by or "created_at")
        limit = min(page.limit, MAX_PAGE)
        counts = may_carry_too_many(scope, expansions, limit)
        if not (page.where or page.after is not None or scope.trees or terms or counts):
            plain = table.everything if page.view is None else _unbound(scope, page, expansions)
            if plain is not None:
                return plain.rendering.array(await self._listed(scope, page, sort, limit, plain))
        # The same statement looks up the last record seen, where an index can serve that.
        in_one = page.after is not None and not sort.nullable
        cursor = scope.record(page.after or "") if in_one else None
        rows = await self._conditions(scope, page, cursor)
        order = table.order(sort, page.order)
        if terms is not None:
            rank = await self._matching(table, rows, terms, similar=similar)
            if rank is None:
                return b"[]"
            order = table.ranked(rank) if page.order_by is None else order
        shown = PageRows(rows.copied(), sort, order, limit, page.offset, cursor)
        selected = _selected(scope, rows, page, expansions)
        if counts:
            await self._check_linked(scope, shown, expansions)
        texts = table.texts(rows, order, limit, page.offset, selected)
        # A generic plan could scan the whole table where these conditions match few rows.
        custom = len(rows.parts) > in_one
        fetch = partial(
            self._prompt.fetch, custom_plan=custom, quick=_is_quick(page, sort, selected)
        )
        raw = await fetch(table.page(texts, sort, limit, cursor), *rows.params)
        if raw == TOO_LARGE:
            raw = await fetch(table.careful_page(texts, sort, cursor), *rows.params)
        return selected.rendering.array(_fitting(raw, page))

    @on_new_schema
    async def count(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        where: Mapping[str, Any] | None,
        search: str | None = None,
        *,
        tx: Transaction | None = None,
    ) -> int:
        """See `Records.count`."""
        scope = await self._scope(actor, grant, app_id, entity, "read", where)
        terms = read_terms(search) if search and search.strip() else None
        if tx is None:
            return await self._count_all(app_id, scope, where, terms)
        async with taking_part(tx):
            return await self._count_all(app_id, scope, where, terms)

    async def _count_all(
        self, app_id: str, scope: RowScope, where: Tree | None, terms: Terms | None
    ) -> int:
        count = await self._count(app_id, scope, where, terms)
        if terms is not None and not count:
            return await self._count(app_id, scope, where, terms, similar=True)
        return count

    async def _count(
        self,
        app_id: str,
        scope: RowScope,
        where: Tree | None,
        terms: Terms | None,
        *,
        similar: bool = False,
    ) -> int:
        rows = scope.rows()
        if where:
            rows.matches(where)
        if terms and await self._matching(scope.table, rows, terms, similar=similar) is None:
            return 0
        query = scope.table.count(rows)
        found = await self._prompt.fetch(query, *rows.params, custom_plan=True)
        return int(found or 0)

    @on_new_schema
    async def aggregate(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, wanted: Aggregation
    ) -> bytes:
        """See `Collections.aggregate`."""
        scope = await self._scope(actor, grant, app_id, entity, "read", wanted.where)
        if wanted.limit < 1:
            raise BadRequest("limit must be a whole number of at least 1")
        _check_offset(wanted.offset)
        rows = scope.rows()
        if wanted.where:
            rows.matches(wanted.where)
        await self._match(actor, grant, scope, rows, wanted.where, wanted.search)
        query = compile_aggregation(scope.table, rows, wanted)
        with named_time_zone(wanted.timezone):
            found = await self._large.fetch(query, *rows.params, custom_plan=True)
        if found is None or found == TOO_LARGE:
            raise BadRequest("these groups are too large together: ask for fewer by limit")
        return found

    @asynccontextmanager
    async def stream(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, page: Page
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """See `Records.stream`."""
        async with AsyncExitStack() as stack:
            selected, batches = await self._streamed(actor, grant, app_id, entity, page, stack)
            yield _pieces(selected.rendering, batches)

    @asynccontextmanager
    async def export(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        page: Page,
        kind: Format,
        *,
        limit: int | None = None,
        raw: bool = False,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """See `Collections.export`."""
        if kind == "csv" and page.view is not None and page.view.expand:
            raise BadRequest("expand does not go with text/csv: a cell holds one value")
        async with AsyncExitStack() as stack:
            caller = (actor, grant, app_id, entity)
            selected, batches = await self._streamed(*caller, page, stack, limit)
            records = _finished(selected.rendering, batches)
            if kind == "ndjson":
                yield ndjson_pieces(records)
            else:
                yield csv_pieces(selected.columns, records, raw=raw)

    async def _get(self, scope: RowScope, record_id: str, reader: Reader | None = None) -> Tagged:
        reader = reader or self._prompt
        if scope.trees:
            rows = scope.record(record_id)
            return await self._one(scope, rows, scope.table.everything, record_id, reader)
        scope.table.check_id(record_id)
        query = scope.table.by_id(own_only=scope.own_only)
        owner = (scope.user_id,) if scope.own_only else ()
        raw = await reader.fetch(query, *owner, record_id)
        return _tagged(raw, scope.table.rendering, record_id)

    async def _check_linked(self, scope: RowScope, shown: PageRows, expansions: Expansions) -> None:
        """Raise BadRequest for records with more linked ones than a page may carry."""
        query = counting_statement(scope, shown, expansions)
        check_carried(await self._prompt.fetch(query, *shown.rows.params, custom_plan=True))

    async def _one(
        self, scope: RowScope, rows: Conditions, selected: Selection, record_id: str, reader: Reader
    ) -> Tagged:
        query = scope.table.one(rows, selected=selected)
        raw = await reader.fetch(query, *rows.params, quick=not selected.links)
        return _tagged(raw, selected.rendering, record_id)

    async def _listed(
        self, scope: RowScope, page: Page, sort: Column, limit: int, selected: Selection
    ) -> bytes:
        """Return a page without conditions of its own, by a cached statement."""
        _check_offset(page.offset)
        own, skip = scope.own_only, page.offset > 0
        query = scope.table.listed(sort, page.order, limit, selected, own_only=own, skip=skip)
        # A generic plan could scan the whole table for an owner of few records.
        fetch = partial(self._prompt.fetch, custom_plan=own, quick=_is_quick(page, sort, selected))
        owner = (scope.user_id,) if own else ()
        raw = await fetch(query, *owner, *([page.offset] if skip else ()))
        if raw == TOO_LARGE:
            rows = scope.rows()
            order = scope.table.order(sort, page.order)
            texts = scope.table.texts(rows, order, limit, page.offset, selected)
            raw = await fetch(scope.table.careful_page(texts, sort, None), *rows.params)
        return _fitting(raw, page)

    async def _conditions(
        self, scope: RowScope, page: Page, cursor: Conditions | None = None
    ) -> Conditions:
        """Collect the conditions of a page; the parameters of `cursor` come first."""
        _check_offset(page.offset)
        if page.after is not None and page.search and page.order_by is None:
            raise BadRequest("after: a search has no order to continue without orderBy")
        sort = _sort(scope, page)
        looked_up = page.after is not None and cursor is None
        last = await self._last_seen(scope, page) if looked_up else None
        rows = scope.rows(*(cursor.params if cursor else ()))
        if page.where:
            rows.matches(page.where)
        if cursor is not None:
            scope.table.is_beyond(rows, sort, page.order)
        elif last is not None:
            scope.table.is_after(rows, sort, page.order, last)
        return rows

    async def _last_seen(self, scope: RowScope, page: Page) -> LastSeen:
        assert page.after is not None
        rows = scope.record(page.after)
        query = scope.table.last_seen(rows, _sort(scope, page))
        raw = await self._prompt.fetch(query, *rows.params)
        if raw is None:
            raise _unseen(page)
        return _last_seen(check_readable(raw, page.after))

    @on_new_schema
    async def _streamed(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        page: Page,
        stack: AsyncExitStack,
        limit: int | None = None,
    ) -> tuple[Selection, AsyncIterator[list[bytes]]]:
        expansions = _expansions(page)
        scope = await self._scope(actor, grant, app_id, entity, "read", page.where, expansions)
        rows = await self._conditions(scope, page)
        rank = await self._match(actor, grant, scope, rows, page.where, page.search)
        selected = _selected(scope, rows, page, expansions)
        order = scope.table.order(_sort(scope, page), page.order)
        if rank is not None and page.order_by is None:
            order = scope.table.ranked(rank)
        query = scope.table.every(rows, order, page.offset, selected, limit)
        stream = self._large.stream(query, *rows.params)
        return selected, await stack.enter_async_context(stream)


def _tagged(raw: bytes | None, rendering: Rendering, record_id: str) -> Tagged:
    if raw is None:
        raise record_not_found(record_id)
    record, etag = split_version(check_readable(raw, record_id))
    return Tagged(rendering.record(record), etag)


def _selected(scope: RowScope, rows: Conditions, page: Page, expansions: Expansions) -> Selection:
    """Return what a page shows. What `expand` adds has parameters in `rows`."""
    return select(scope, rows, page.view, expansions) if page.view else scope.table.everything


def _unbound(scope: RowScope, page: Page, expansions: Expansions) -> Selection | None:
    """Return what a page shows if that needs no parameters, else None."""
    if expansions and page.view and (known := known_selection(scope, page.view)) is not None:
        return known
    rows = Conditions(scope.columns, (), scope.related)
    selected = _selected(scope, rows, page, expansions)
    return None if rows.params else selected


def _is_quick(page: Page, sort: Column, selected: Selection) -> bool:
    """Whether an index leads to the few records of a page, and nothing else is read for them.

    Every table has an index for these orders. Others may have one: their pages may take long.
    """
    ordered = sort.name in ("id", "created_at") and page.offset <= MAX_QUICK_OFFSET
    return ordered and not selected.links


def _sort(scope: RowScope, page: Page) -> Column:
    return scope.table.columns.find(page.order_by or "created_at")


def _expansions(page: Page) -> Expansions:
    return read_expand(page.view.expand) if page.view is not None and page.view.expand else {}


def _check_offset(offset: int) -> None:
    if not 0 <= offset <= MAX_OFFSET:
        raise BadRequest(f"offset must be a whole number from 0 to {MAX_OFFSET}")


def _fitting(raw: bytes | None, page: Page) -> bytes:
    """Return a page that exists and is not too large. Raises BadRequest."""
    if raw is None:
        raise _unseen(page)
    if raw == TOO_LARGE:
        if page.limit == 1:
            check_readable(raw, None)
        size = MAX_PAGE_BYTES // 1_000_000
        raise BadRequest(f"these records have over {size} MB together: ask for fewer by limit")
    return raw


def _unseen(page: Page) -> BadRequest:
    return BadRequest(f"after: record '{page.after}' not found")


async def _finished(
    rendering: Rendering, batches: AsyncIterator[list[bytes]]
) -> AsyncIterator[list[bytes]]:
    """Finish batches of records one by one. Raises BadRequest for one too large."""
    async for batch in batches:
        yield [rendering.record(check_readable(record, None)) for record in batch]


async def _pieces(
    rendering: Rendering, batches: AsyncIterator[list[bytes]]
) -> AsyncIterator[bytes]:
    """Write batches of records as one JSON array. Raises BadRequest for one too large."""
    before = b"["
    async for batch in batches:
        if TOO_LARGE in batch:
            check_readable(TOO_LARGE, None)
        yield before + rendering.batch(batch)
        before = b",\n"
    yield b"[]" if before == b"[" else b"]"
