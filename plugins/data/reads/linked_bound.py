"""The bound on the linked records that a page carries.

A page of 1000 records can have 100 linked records each, and each of those as many. Where so many
are possible, a statement of its own counts them first. It stops at the bound, so it reads no more
than a page may carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from kernel.public import BadRequest, Reader
from plugins.data.columns.column import Column
from plugins.data.columns.columns import Columns
from plugins.data.columns.links import Link
from plugins.data.filters.conditions import Conditions, join
from plugins.data.rights.row_scope import RowScope
from plugins.data.statements.expansions import Expansion, Expansions

from .selection import linked_limit, order_of

MAX_CARRIED: Final = 20_000
"""Linked records of a page together, at all depths."""


class PageRows(msgspec.Struct, frozen=True):
    """The records of a page: conditions, order, number, and the cursor that it continues from."""

    conditions: Conditions
    sort: Column
    order: bytes = b""
    limit: int = 1
    offset: int = 0
    cursor: Conditions | None = None


def may_carry_too_many(scope: RowScope, expansions: Expansions, records: int) -> bool:
    """Whether so many records can have more linked ones than a page may carry.

    Raises BadRequest.
    """
    if not expansions:
        return False
    return _count_possible_records(scope.columns, scope.related, expansions, records) > MAX_CARRIED


def _count_possible_records(
    columns: Columns, related: Mapping[str, RowScope], expansions: Expansions, records: int
) -> int:
    total = 0
    for name, expansion in expansions.items():
        link = columns.links.get(name)
        if link is None:
            continue
        linked = related.get(link.entity)
        if linked is None:
            continue
        linked_records = records
        if link.reverse:
            linked_records *= linked_limit(name, expansion.options)
        total += linked_records
        if expansion.inner:
            total += _count_possible_records(
                linked.columns, related, expansion.inner, linked_records
            )
    return total


async def check_linked(
    reader: Reader, scope: RowScope, page: PageRows, expansions: Expansions
) -> None:
    """Raise BadRequest for records with more linked ones than a page may carry."""
    query = counting_statement(scope, page, expansions)
    count = await reader.fetch(query, *page.conditions.params, custom_plan=True)
    if int(count or 0) > MAX_CARRIED:
        raise BadRequest(
            f"expand: these records have more than {MAX_CARRIED} linked records together: "
            "ask for fewer by limit"
        )


def counting_statement(scope: RowScope, page: PageRows, expansions: Expansions) -> bytes:
    """Count the linked records of a page, up to one more than it may carry.

    Parameters are added to those of the page.
    """
    table = scope.table
    conditions = page.conditions
    offset = b""
    if page.offset:
        offset = b" offset " + conditions.bind(page.offset, b"bigint")
    parts = (table.name, conditions.where_clause(), page.order, page.limit, offset)
    page_query = b"select t.* from %b as t%b%b limit %d%b" % parts

    cursor = b""
    cursor_query = table.reads.cursor_query(page.cursor, page.sort)
    if cursor_query is not None:
        cursor = b"cursor as materialized (%b), " % cursor_query
    linked_queries = [
        b"select from _page as t cross join lateral (%b) _c" % query
        for query in _LinkedQueries(conditions, scope.related).write(table.columns, expansions)
    ]
    all_linked = b" union all ".join(linked_queries)
    parts = (cursor, page_query, all_linked, MAX_CARRIED + 1)
    return b"with %b_page as materialized (%b) select count(*) from (%b limit %d) _n" % parts


class _LinkedQueries:
    """Queries of the records that one outer record has by a link, at any depth."""

    def __init__(self, conditions: Conditions, related: Mapping[str, RowScope]) -> None:
        self._conditions = conditions
        self._related = related

    def write(self, outer: Columns, expansions: Expansions) -> Iterator[bytes]:
        """Yield one for each link; a link within another one follows that."""
        for name, expansion in expansions.items():
            link = outer.find_link(name)
            linked = self._related.get(link.entity)
            if linked is None:
                continue
            alias = self._conditions.next_alias()
            inner = linked.columns.alias_as(alias)
            conditions = [
                join(outer, link, inner),
                *linked.write_conditions(self._conditions, alias),
                *self._compile_where(inner, link, expansion),
            ]
            parts = (alias, linked.source, alias, b" and ".join(conditions))
            records = b"select %b.* from %b as %b where %b" % parts
            if link.reverse:
                records += order_of(name, inner, expansion.options)
                records += b" limit %d" % linked_limit(name, expansion.options)
            yield b"select from (%b) %b" % (records, alias)
            for query in self.write(inner, expansion.inner):
                parts = (records, alias, query)
                yield b"select from (%b) %b cross join lateral (%b) _c" % parts

    def _compile_where(self, inner: Columns, link: Link, expansion: Expansion) -> list[bytes]:
        where = expansion.options.get("where")
        if not link.reverse or where is None:
            return []
        return self._conditions.compile_trees(inner, [where])
