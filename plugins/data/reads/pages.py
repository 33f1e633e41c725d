"""Pages of records, and the number of records that a page is taken from."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from kernel.public import (
    MAX_PAGE,
    MAX_PAGE_BYTES,
    BadRequest,
    Page,
    Query,
    Reader,
    Target,
    Transaction,
    WithSnapshot,
)
from plugins.data.columns.column import Column
from plugins.data.filters.conditions import Conditions, Tree
from plugins.data.rendering import TOO_LARGE, check_readable
from plugins.data.rights.row_scope import RowScope
from plugins.data.rights.scopes import RowScopes
from plugins.data.sources.read_sources import ReadSources
from plugins.data.statements.entity import Selection
from plugins.data.statements.expansions import Expansions
from plugins.data.watches.snapshots import SnapshotReader

from .linked_bound import PageRows, check_linked, may_carry_too_many
from .page_parts import (
    check_offset,
    expansions_of,
    last_record_not_found,
    order_of_page,
    page_conditions,
    select_shown,
    sort_column,
)
from .search_terms import Terms, read_terms
from .searches import Searches
from .selection import find_compiled

MAX_QUICK_OFFSET: Final = 10_000
"""Records that a page skips. PostgreSQL reads them all: 6 ms for so many."""


class PageSource(msgspec.Struct, frozen=True):
    """What reads a page, and how many records it may have."""

    reader: Reader
    at_most: int = MAX_PAGE


class PageReader:
    """Reads pages. Of a search that finds nothing, it reads records with similar words."""

    def __init__(self, scopes: RowScopes, sources: ReadSources, searches: Searches) -> None:
        self._scopes = scopes
        self._sources = sources
        self._searches = searches

    async def read(self, target: Target, page: Page, tx: Transaction | None) -> bytes:
        """See `Records.page`."""
        source = PageSource(self._sources.choose_prompt(tx))
        return await self._read_found(target, page, source, tx)

    async def read_with(
        self, target: Target, page: Page, expression: Query, at_most: int
    ) -> WithSnapshot:
        """See `SnapshotReads.page_with`. A replica may see other commits than the trail has."""
        reader = SnapshotReader(self._sources.statements, expression)
        array = await self._read_found(target, page, PageSource(reader, at_most), None)
        return WithSnapshot(array, reader.snapshot)

    async def _read_found(
        self, target: Target, page: Page, source: PageSource, tx: Transaction | None
    ) -> bytes:
        """Read a page; of a search, one of similar words where no record has the words."""
        if page.search is None or not page.search.strip():
            return await self._read(target, page, source)
        terms = read_terms(page.search)
        array = await self._read(target, page, source, terms)
        if array != b"[]":
            return array
        is_later_page = page.offset > 0 or page.after is not None
        if is_later_page and await self._searches.has_exact(target, page.where, terms, tx):
            return array
        return await self._read(target, page, source, terms, similar=True)

    async def count(
        self, target: Target, where: Tree | None, search: str | None, tx: Transaction | None
    ) -> int:
        """See `Records.count`."""
        reader = self._sources.choose_prompt(tx)
        return await self._count_found(reader, target, where, search)

    async def count_with(
        self, target: Target, where: Tree | None, search: str | None, expression: Query
    ) -> WithSnapshot:
        """See `SnapshotReads.count_with`."""
        reader = SnapshotReader(self._sources.statements, expression)
        count = await self._count_found(reader, target, where, search)
        return WithSnapshot(b"%d" % count, reader.snapshot)

    async def _count_found(
        self, reader: Reader, target: Target, where: Tree | None, search: str | None
    ) -> int:
        """Count records; of a search, those of similar words where no record has the words."""
        scope = await self._scopes.resolve(target, "read", where)
        terms = read_terms(search) if search and search.strip() else None
        count = await self._count(reader, scope, where, terms)
        if terms is not None and not count:
            return await self._count(reader, scope, where, terms, similar=True)
        return count

    async def _count(
        self,
        reader: Reader,
        scope: RowScope,
        where: Tree | None,
        terms: Terms | None,
        *,
        similar: bool = False,
    ) -> int:
        conditions = scope.begin_conditions()
        if where:
            conditions.require_tree(where)
        if terms is not None:
            rank = await self._searches.require_terms(
                scope.table, conditions, terms, similar=similar
            )
            if rank is None:
                return 0
        query = scope.table.reads.count_statement(conditions)
        raw = await reader.fetch(query, *conditions.params, custom_plan=True)
        return int(raw or 0)

    async def _read(
        self,
        target: Target,
        page: Page,
        source: PageSource,
        terms: Terms | None = None,
        *,
        similar: bool = False,
    ) -> bytes:
        reader = source.reader
        expansions = expansions_of(page)
        scope = await self._scopes.resolve(target, "read", page.where, expansions)
        if page.limit < 1:
            raise BadRequest("limit must be a whole number of at least 1")
        table = scope.table
        sort = sort_column(scope, page)
        limit = min(page.limit, source.at_most)
        counts_linked = may_carry_too_many(scope, expansions, limit)
        if _is_plain(scope, page, terms) and not counts_linked:
            selection = _find_plain_selection(scope, page, expansions)
            if selection is not None:
                raw = await _read_plain(reader, scope, page, sort, limit, selection)
                return selection.rendering.finish_array(raw)

        # The same statement looks up the last record seen, where an index can serve that.
        cursor = None
        if page.after is not None and not (sort.nullable or page.then_by):
            cursor = scope.begin_conditions_of_record(page.after)
        conditions = await page_conditions(reader, scope, page, cursor)
        order = order_of_page(scope, page)
        if terms is not None:
            rank = await self._searches.require_terms(table, conditions, terms, similar=similar)
            if rank is None:
                return b"[]"
            if page.order_by is None:
                order = table.order_by_rank(rank)
        shown_rows = PageRows(conditions.copy(), sort, order, limit, page.offset, cursor)
        selection = select_shown(scope, conditions, page, expansions)
        if counts_linked:
            await check_linked(reader, scope, shown_rows, expansions)
        raw = await _read_rows(reader, scope, page, shown_rows, conditions, selection)
        return selection.rendering.finish_array(raw)


async def _read_rows(
    reader: Reader,
    scope: RowScope,
    page: Page,
    rows: PageRows,
    conditions: Conditions,
    selection: Selection,
) -> bytes:
    """Return a page; `conditions` are those of its rows and of what is shown of them."""
    statements = scope.table.reads
    texts = statements.select_texts(conditions, rows.order, rows.limit, rows.offset, selection)
    # A generic plan could scan the whole table where these conditions match few rows.
    conditions_of_cursor = 0 if rows.cursor is None else 1
    needs_own_plan = len(conditions.parts) > conditions_of_cursor
    is_quick = _is_quick(page, rows.sort, selection)
    fetch = partial(reader.fetch, custom_plan=needs_own_plan, quick=is_quick)
    query = statements.select_page(texts, rows.sort, rows.limit, rows.cursor)
    raw = await fetch(query, *conditions.params)
    if raw == TOO_LARGE:
        query = statements.select_page_carefully(texts, rows.sort, rows.cursor)
        raw = await fetch(query, *conditions.params)
    return _check_page(raw, page)


def _is_plain(scope: RowScope, page: Page, terms: Terms | None) -> bool:
    """Whether nothing but its owner and its order decides which records a page has."""
    is_filtered = bool(page.where or scope.trees or terms)
    is_continued = page.after is not None
    return not (is_filtered or is_continued or page.then_by)


async def _read_plain(
    reader: Reader, scope: RowScope, page: Page, sort: Column, limit: int, selection: Selection
) -> bytes:
    """Return a page without conditions of its own, by a cached statement."""
    check_offset(page.offset)
    table = scope.table
    own_only = scope.own_only
    skips = page.offset > 0
    query = table.reads.select_plain_page(
        sort, page.order, limit, selection, own_only=own_only, skips=skips
    )
    params: list[str | int | None] = []
    if own_only:
        params.append(scope.user_id)
    if skips:
        params.append(page.offset)
    # A generic plan could scan the whole table for an owner of few records.
    fetch = partial(reader.fetch, custom_plan=own_only, quick=_is_quick(page, sort, selection))
    raw = await fetch(query, *params)
    if raw == TOO_LARGE:
        conditions = scope.begin_conditions()
        order = table.order_by(sort, page.order)
        texts = table.reads.select_texts(conditions, order, limit, page.offset, selection)
        raw = await fetch(table.reads.select_page_carefully(texts, sort, None), *conditions.params)
    return _check_page(raw, page)


def _find_plain_selection(scope: RowScope, page: Page, expansions: Expansions) -> Selection | None:
    """Return what a page shows if that needs no parameters, else None."""
    if page.view is None:
        return scope.table.everything
    if expansions:
        compiled = find_compiled(scope, page.view)
        if compiled is not None:
            return compiled
    conditions = Conditions(scope.columns, (), scope.related)
    selection = select_shown(scope, conditions, page, expansions)
    return None if conditions.params else selection


def _is_quick(page: Page, sort: Column, selection: Selection) -> bool:
    """Whether an index leads to the few records of a page, and nothing else is read for them.

    Every table has an index for these orders. Others may have one: their pages may take long.
    """
    is_indexed = sort.name in ("id", "created_at") and page.offset <= MAX_QUICK_OFFSET
    return is_indexed and not (selection.links or page.then_by)


def _check_page(raw: bytes | None, page: Page) -> bytes:
    """Return a page that exists and is not too large. Raises BadRequest."""
    if raw is None:
        raise last_record_not_found(page.after)
    if raw == TOO_LARGE:
        if page.limit == 1:
            check_readable(raw, None)
        megabytes = MAX_PAGE_BYTES // 1_000_000
        raise BadRequest(f"these records have over {megabytes} MB together: ask for fewer by limit")
    return raw
