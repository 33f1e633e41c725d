"""What a page of records is made of: its conditions, its order and the record before it."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import BadRequest, Page, Reader
from plugins.data.columns.column import Column
from plugins.data.filters.conditions import Conditions
from plugins.data.rendering import check_readable
from plugins.data.rights.row_scope import RowScope
from plugins.data.statements.entity import LastSeen, LastSeenOfMany, Selection, SortTerm
from plugins.data.statements.expansions import Expansions, read_expand

from .selection import select_view

MAX_OFFSET: Final = 2**31

_decode_position = msgspec.json.Decoder(LastSeen).decode
_decode_positions = msgspec.json.Decoder(LastSeenOfMany).decode


def sort_column(scope: RowScope, page: Page) -> Column:
    """Return the column that a page is sorted by. Raises BadRequest."""
    return scope.columns.find(page.order_by or "created_at")


def sort_terms(scope: RowScope, page: Page) -> list[SortTerm]:
    """Return every column that a page is sorted by. Raises BadRequest."""
    terms = [SortTerm(sort_column(scope, page), page.order)]
    for place, item in enumerate(page.then_by):
        pairs = list(item.items())
        if len(pairs) != 1:
            raise BadRequest(f'thenBy[{place}]: an object like {{"field": "asc"}} is wanted')
        name, order = pairs[0]
        terms.append(SortTerm(scope.columns.find(name), order))
    names = [term.column.name for term in terms]
    for name in names:
        if names.count(name) > 1:
            raise BadRequest(f"thenBy: {name!r} is named twice")
    return terms


def order_of_page(scope: RowScope, page: Page) -> bytes:
    """Return the SQL of the order of a page. Raises BadRequest."""
    if page.then_by:
        return scope.table.order_by_terms(sort_terms(scope, page))
    return scope.table.order_by(sort_column(scope, page), page.order)


def expansions_of(page: Page) -> Expansions:
    """Return the links that a page expands. Raises BadRequest."""
    if page.view is None or not page.view.expand:
        return {}
    return read_expand(page.view.expand)


def select_shown(
    scope: RowScope, conditions: Conditions, page: Page, expansions: Expansions
) -> Selection:
    """Return what a page shows. What `expand` adds has parameters in `conditions`."""
    if page.view is None:
        return scope.table.everything
    return select_view(scope, conditions, page.view, expansions)


def check_offset(offset: int) -> None:
    """Raise BadRequest for an offset out of bounds."""
    if not 0 <= offset <= MAX_OFFSET:
        raise BadRequest(f"offset must be a whole number from 0 to {MAX_OFFSET}")


async def page_conditions(
    reader: Reader, scope: RowScope, page: Page, cursor: Conditions | None = None
) -> Conditions:
    """Collect the conditions of a page; the parameters of `cursor` come first.

    Without a `cursor`, the last record seen is looked up before.
    """
    check_offset(page.offset)
    if page.after is not None and page.search and page.order_by is None:
        raise BadRequest("after: a search has no order to continue without orderBy")
    if page.then_by and page.order_by is None:
        raise BadRequest("thenBy: goes with orderBy")
    if page.then_by:
        return await _conditions_of_several(reader, scope, page)
    sort = sort_column(scope, page)
    last = None
    if page.after is not None and cursor is None:
        last = await _look_up(reader, scope, page.after, sort)
    conditions = (
        scope.begin_conditions() if cursor is None else scope.begin_conditions(*cursor.params)
    )
    if page.where:
        conditions.require_tree(page.where)
    if cursor is not None:
        scope.table.require_after_cursor(conditions, sort, page.order)
    elif last is not None:
        scope.table.require_after(conditions, sort, page.order, last)
    return conditions


async def _conditions_of_several(reader: Reader, scope: RowScope, page: Page) -> Conditions:
    """Collect the conditions of a page that is sorted by several fields."""
    terms = sort_terms(scope, page)
    last = None
    if page.after is not None:
        position = scope.begin_conditions_of_record(page.after)
        columns = [term.column for term in terms]
        query = scope.table.reads.select_positions(position, columns)
        raw = await reader.fetch(query, *position.params)
        if raw is None:
            raise last_record_not_found(page.after)
        last = _decode_positions(check_readable(raw, page.after))
    conditions = scope.begin_conditions()
    if page.where:
        conditions.require_tree(page.where)
    if last is not None:
        scope.table.require_after_terms(conditions, terms, last)
    return conditions


async def _look_up(reader: Reader, scope: RowScope, record_id: str, sort: Column) -> LastSeen:
    conditions = scope.begin_conditions_of_record(record_id)
    query = scope.table.reads.select_position(conditions, sort)
    raw = await reader.fetch(query, *conditions.params)
    if raw is None:
        raise last_record_not_found(record_id)
    return _decode_position(check_readable(raw, record_id))


def last_record_not_found(record_id: str | None) -> BadRequest:
    """Say that the last record seen does not exist for the caller."""
    return BadRequest(f"after: record '{record_id}' not found")
