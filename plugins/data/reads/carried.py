"""The bound on the linked records that a page carries.

A page of 1000 records can have 100 linked records each, and each of those as many. Where so many
are possible, a statement of its own counts them first. It stops at the bound, so it reads no more
than a page may carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from kernel.public import BadRequest
from plugins.data.columns import Column, Columns, Link
from plugins.data.filters import Conditions, join
from plugins.data.row_scope import RowScope

from .selection import Expansion, Expansions, limit_of, order_of

MAX_CARRIED: Final = 20_000
"""Linked records of a page together, at all depths."""


class PageRows(msgspec.Struct, frozen=True):
    """The records of a page: conditions, order, number, and the cursor that it continues from."""

    rows: Conditions
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
    return _possible_records(scope.columns, scope.related, expansions, records) > MAX_CARRIED


def _possible_records(
    columns: Columns, related: Mapping[str, RowScope], expansions: Expansions, records: int
) -> int:
    total = 0
    for name, expansion in expansions.items():
        link = columns.links.get(name)
        target = None if link is None else related.get(link.entity)
        if link is None or target is None:
            continue
        carried = records * (limit_of(name, expansion.options) if link.reverse else 1)
        total += carried
        if expansion.inner:
            total += _possible_records(target.columns, related, expansion.inner, carried)
    return total


def check_carried(count: bytes | None) -> None:
    """Raise BadRequest for more linked records than a page may carry."""
    if int(count or 0) > MAX_CARRIED:
        raise BadRequest(
            f"expand: these records have more than {MAX_CARRIED} linked records together: "
            "ask for fewer by limit"
        )


def counting_statement(scope: RowScope, page: PageRows, expansions: Expansions) -> bytes:
    """Count the linked records of a page, up to one more than it may carry.

    Parameters are added to those of the page.
    """
    table, rows = scope.table, page.rows
    offset = b" offset " + rows.bind(page.offset, b"bigint") if page.offset else b""
    parts = (table.name, rows.clause(), page.order, page.limit, offset)
    shown = b"select t.* from %b as t%b%b limit %d%b" % parts
    cursor = table.cursor_query(page.cursor, page.sort)
    linked = [
        b"select from _page as t cross join lateral (%b) _c" % query
        for query in _Linked(rows, scope.related).queries(table.columns, expansions)
    ]
    return b"with %b_page as materialized (%b) select count(*) from (%b limit %d) _n" % (
        b"" if cursor is None else b"cursor as materialized (%b), " % cursor,
        shown,
        b" union all ".join(linked),
        MAX_CARRIED + 1,
    )


class _Linked:
    """Queries of the records that one outer record has by a link, at any depth."""

    def __init__(self, rows: Conditions, related: Mapping[str, RowScope]) -> None:
        self._rows = rows
        self._related = related

    def queries(self, outer: Columns, expansions: Expansions) -> Iterator[bytes]:
        """Yield one for each link; a link within another one follows that."""
        for name, expansion in expansions.items():
            link = outer.link(name)
            target = self._related.get(link.entity)
            if target is None:
                continue
            alias = self._rows.alias()
            inner = target.columns.under(alias)
            conditions = [join(outer, link, inner), *target.limits(self._rows, alias)]
            records = b"select %b.* from %b as %b where %b" % (
                alias,
                target.source,
                alias,
                b" and ".join([*conditions, *self._wanted(inner, link, expansion)]),
            )
            if link.reverse:
                records += order_of(name, inner, expansion.options)
                records += b" limit %d" % limit_of(name, expansion.options)
            yield b"select from (%b) %b" % (records, alias)
            for query in self.queries(inner, expansion.inner):
                parts = (records, alias, query)
                yield b"select from (%b) %b cross join lateral (%b) _c" % parts

    def _wanted(self, inner: Columns, link: Link, expansion: Expansion) -> list[bytes]:
        where = expansion.options.get("where")
        return self._rows.within(inner, [where]) if link.reverse and where is not None else []
