"""Statements that read many records of one entity: pages, all of them, their number."""

from __future__ import annotations

from typing import Final

from plugins.data.columns import Column
from plugins.data.filters import Conditions
from plugins.data.rendering import MAX_RECORD_BYTES

from .entity import EntityStatements, Order, Selection, limited

MAX_PAGE_BYTES: Final = 16_000_000
"""JSON of the records of a page together, unless it is a single record."""

TRIGRAMS: Final = b"""select extnamespace::regnamespace::text from pg_extension
where extname = 'pg_trgm'"""
"""The schema of the extension pg_trgm."""


class ListStatements(EntityStatements):
    """Adds the statements that read many records."""

    def listed(
        self,
        sort: Column,
        order: Order,
        limit: int,
        selected: Selection,
        *,
        own_only: bool,
        skip: bool,
    ) -> bytes:
        """Return a page without conditions of its own.

        Parameters: the owner where `own_only`, the offset where `skip`.
        """
        shape = ("listed", sort.name, order, limit, selected.items, selected.links, own_only, skip)

        def make() -> bytes:
            rows, ordered = self._owned(own_only), self.order(sort, order)
            texts = self.texts(rows, ordered, limit, int(skip), selected)
            return self.page(texts, sort, limit, None)

        return self._cached(shape, make)

    def texts(
        self, rows: Conditions, order: bytes, limit: int, offset: int, selected: Selection
    ) -> bytes:
        """Return the records of a page one by one, as text: its source."""
        return b"select row_to_json(_r)::text as json from (%b%b limit %d%b) _r offset 0" % (
            self._select(rows, selected.items, selected.links),
            order,
            limit,
            b" offset " + rows.bind(offset, b"bigint") if offset else b"",
        )

    def page(self, texts: bytes, sort: Column, limit: int, cursor: Conditions | None) -> bytes:
        """Return a JSON array of records; no row where `cursor` is given and finds no record.

        Return `TOO_LARGE` where it is too large, or where one record is so large that only
        `careful_page` can decide.
        """
        # PostgreSQL adds up no more than the bytes of a record before it knows the sum.
        small = b"octet_length(json) <= %d" % (MAX_RECORD_BYTES // limit)
        fits = b"sum(octet_length(json)) <= %d and bool_and(%b)" % (MAX_PAGE_BYTES, small)
        return self._array(texts, fits, small, sort, cursor)

    def careful_page(self, texts: bytes, sort: Column, cursor: Conditions | None) -> bytes:
        """Return the same, slower, in bounded memory however large the records are.

        A page of a single record may have `MAX_RECORD_BYTES`.
        """
        measured = (
            b"select json, sum(octet_length(json)) over (rows unbounded preceding) as upto"
            b" from (%b) p" % texts
        )
        limits = MAX_PAGE_BYTES, MAX_RECORD_BYTES
        fits = b"max(upto) <= %d or (count(*) = 1 and max(upto) <= %d)" % limits
        begins = b"upto - octet_length(json) < %d and octet_length(json) <= %d" % limits
        return self._array(measured, fits, begins, sort, cursor)

    def every(
        self,
        rows: Conditions,
        order: bytes,
        offset: int,
        selected: Selection,
        limit: int | None = None,
    ) -> bytes:
        """Return the records one by one, or `TOO_LARGE` in place of one."""
        return limited(
            b"(%b%b%b%b)"
            % (
                self._select(rows, selected.items, selected.links),
                order,
                b"" if limit is None else b" limit %d" % limit,
                b" offset " + rows.bind(offset, b"bigint") if offset else b"",
            )
        )

    def count(self, rows: Conditions) -> bytes:
        """Count the records."""
        return b"select count(*) from %b as t%b" % (self.name, rows.clause())

    def last_seen(self, rows: Conditions, sort: Column) -> bytes:
        """Return the position of a record in an order, as a `LastSeen`, or `TOO_LARGE`."""
        return limited(
            b"(select %b::text as record_id, %b::text as value from %b as t%b)"
            % (self.columns.id.sql, sort.sql, self.name, rows.clause())
        )

    def exists(self, rows: Conditions) -> bytes:
        """Return `t` where there is a record."""
        return b"select exists (select from %b as t%b)" % (self.name, rows.clause())

    def cursor_query(self, cursor: Conditions | None, sort: Column) -> bytes | None:
        """Look up the record that a page continues from, if it continues from any."""
        if cursor is None:
            return None
        parts = (sort.sql, self.columns.id.sql, self.name, cursor.clause())
        return b"select %b as value, %b as id from %b as t%b" % parts

    def _array(
        self, source: bytes, fits: bytes, part: bytes, sort: Column, cursor: Conditions | None
    ) -> bytes:
        head, found = b"", b""
        looked_up = self.cursor_query(cursor, sort)
        if looked_up is not None:
            head = b"with cursor as materialized (%b) " % looked_up
            found = b" having exists (select from cursor)"
        return (
            b"%bselect case when count(*) = 0 then '[]' when %b"
            b" then '[' || string_agg(json, E',\\n') filter (where %b) || ']' else '\"\"' end"
            b" from (%b) a%b" % (head, fits, part, source, found)
        )
