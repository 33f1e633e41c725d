"""Statements that read many records of one entity: pages, all of them, their number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kernel.public import MAX_PAGE_BYTES
from plugins.data.columns.column import Column
from plugins.data.filters.conditions import Conditions
from plugins.data.rendering import MAX_RECORD_BYTES, TOO_LARGE

from .entity import EntityStatements, Order, Selection, limit_size

TRIGRAMS: Final = b"""select extnamespace::regnamespace::text from pg_extension
where extname = 'pg_trgm'"""
"""The schema of the extension pg_trgm."""


class ListStatements:
    """The statements that read many records of a table."""

    def __init__(self, table: EntityStatements) -> None:
        self._table = table

    def select_plain_page(
        self,
        sort: Column,
        order: Order,
        limit: int,
        selection: Selection,
        *,
        own_only: bool,
        skips: bool,
    ) -> bytes:
        """Return the SQL of a page without conditions of its own.

        Parameters: the owner where `own_only`, the offset where `skips`.
        """
        items = selection.items
        links = selection.links
        shape = ("listed", sort.name, order, limit, items, links, own_only, skips)

        def make() -> bytes:
            conditions = self._table.begin_conditions_without_values(own_only)
            offset = 1 if skips else 0
            texts = self.select_texts(
                conditions, self._table.order_by(sort, order), limit, offset, selection
            )
            return self.select_page(texts, sort, limit, None)

        return self._table.find_or_make(shape, make)

    def select_texts(
        self, conditions: Conditions, order: bytes, limit: int, offset: int, selection: Selection
    ) -> bytes:
        """Return the SQL that yields the records of a page one by one, as text: its source."""
        records = self._table.select_from(conditions, selection.items, selection.links)
        parts = (records, order, limit, _write_offset(conditions, offset))
        return b"select row_to_json(_r)::text as json from (%b%b limit %d%b) _r offset 0" % parts

    def select_page(
        self, texts: bytes, sort: Column, limit: int, cursor: Conditions | None
    ) -> bytes:
        """Return the SQL of a JSON array of records.

        It yields no row where `cursor` is given and finds no record. It yields `TOO_LARGE` where it
        is too large, or where one record is so large that only `select_page_carefully` can decide.
        """
        # PostgreSQL adds up no more than the bytes of a record before it knows the sum.
        is_small = b"octet_length(json) <= %d" % (MAX_RECORD_BYTES // limit)
        fits = b"sum(octet_length(json)) <= %d and bool_and(%b)" % (MAX_PAGE_BYTES, is_small)
        return self._write_array(texts, fits, is_small, sort, cursor)

    def select_page_carefully(self, texts: bytes, sort: Column, cursor: Conditions | None) -> bytes:
        """Return the SQL of the same, slower, in bounded memory however large the records are.

        A page of a single record may have `MAX_RECORD_BYTES`.
        """
        measured = (
            b"select json, sum(octet_length(json)) over (rows unbounded preceding) as upto"
            b" from (%b) p" % texts
        )
        limits = MAX_PAGE_BYTES, MAX_RECORD_BYTES
        fits = b"max(upto) <= %d or (count(*) = 1 and max(upto) <= %d)" % limits
        begins_within = b"upto - octet_length(json) < %d and octet_length(json) <= %d" % limits
        return self._write_array(measured, fits, begins_within, sort, cursor)

    def select_every(
        self,
        conditions: Conditions,
        order: bytes,
        offset: int,
        selection: Selection,
        limit: int | None = None,
    ) -> bytes:
        """Return the SQL that yields the records one by one, or `TOO_LARGE` in place of one."""
        source = self._table.select_from(conditions, selection.items, selection.links) + order
        source += _write_limits(conditions, limit, offset)
        return limit_size(b"(%b)" % source)

    def select_every_line(
        self,
        conditions: Conditions,
        order: bytes,
        offset: int,
        line: bytes,
        limit: int | None = None,
    ) -> bytes:
        """Return the SQL that yields a line of CSV for each record; see `select_every`."""
        source = self._table.select_from(conditions, line + b" as line") + order
        source += _write_limits(conditions, limit, offset)
        return b"select case when octet_length(line) <= %d then line else '%b' end from (%b) _w" % (
            MAX_RECORD_BYTES,
            TOO_LARGE,
            source,
        )

    def count_statement(self, conditions: Conditions) -> bytes:
        """Return the SQL that counts the records."""
        return b"select count(*) from %b as t%b" % (self._table.name, conditions.where_clause())

    def select_position(self, conditions: Conditions, sort: Column) -> bytes:
        """Return the SQL of the position of a record, as a `LastSeen`, or `TOO_LARGE`."""
        return limit_size(
            b"(select %b::text as record_id, %b::text as value from %b as t%b)"
            % (self._table.columns.id.sql, sort.sql, self._table.name, conditions.where_clause())
        )

    def select_positions(self, conditions: Conditions, sorts: Iterable[Column]) -> bytes:
        """Return the SQL of the same for several columns, as a `LastSeenOfMany`."""
        values = b", ".join(b"%b::text" % sort.sql for sort in sorts)
        parts = (self._table.columns.id.sql, values, self._table.name, conditions.where_clause())
        return limit_size(
            b"(select %b::text as record_id, array[%b] as values from %b as t%b)" % parts
        )

    def exists_statement(self, conditions: Conditions) -> bytes:
        """Return the SQL that yields `t` where there is a record."""
        return b"select exists (select from %b as t%b)" % (
            self._table.name,
            conditions.where_clause(),
        )

    def cursor_query(self, cursor: Conditions | None, sort: Column) -> bytes | None:
        """Return the SQL that looks up the record that a page continues from, if from any."""
        if cursor is None:
            return None
        parts = (sort.sql, self._table.columns.id.sql, self._table.name, cursor.where_clause())
        return b"select %b as value, %b as id from %b as t%b" % parts

    def _write_array(
        self,
        source: bytes,
        fits: bytes,
        is_included: bytes,
        sort: Column,
        cursor: Conditions | None,
    ) -> bytes:
        head = b""
        having = b""
        cursor_query = self.cursor_query(cursor, sort)
        if cursor_query is not None:
            head = b"with cursor as materialized (%b) " % cursor_query
            having = b" having exists (select from cursor)"
        return (
            b"%bselect case when count(*) = 0 then '[]' when %b"
            b" then '[' || string_agg(json, E',\\n') filter (where %b) || ']' else '\"\"' end"
            b" from (%b) a%b" % (head, fits, is_included, source, having)
        )


def _write_limits(conditions: Conditions, limit: int | None, offset: int) -> bytes:
    limits = b"" if limit is None else b" limit %d" % limit
    return limits + _write_offset(conditions, offset)


def _write_offset(conditions: Conditions, offset: int) -> bytes:
    return b" offset " + conditions.bind(offset, b"bigint") if offset else b""
