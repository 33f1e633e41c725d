"""Statements that create, change and delete records of one entity."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import msgspec

from kernel.public import SETTINGS, SETTINGS_AS_CONDITION
from plugins.data.columns.column import Column
from plugins.data.filters.conditions import Conditions
from plugins.data.rendering import MAX_RECORD_BYTES, SIZE_ERROR

from .column_lists import (
    ValueWriter,
    bare_names,
    unnest_arrays,
    write_changes,
    write_params,
    write_plainly,
)
from .entity import (
    ETAG,
    OWNER,
    VERSION,
    EntityStatements,
    find_ordering_fields,
    find_unique_fields,
    limit_size,
)

NO_SETTINGS: Final = b"{}"
"""The parameter for settings in a transaction, which has them since it began."""


class WriteStatements:
    """The statements that create, change and delete records of a table."""

    def __init__(self, table: EntityStatements) -> None:
        self._table = table
        self.unique_fields = find_unique_fields(table.entity)
        self.ordering_fields = find_ordering_fields(table.entity)

    def insert_statement(
        self, names: tuple[str, ...], write_value: ValueWriter | None = None
    ) -> bytes:
        """Return the SQL that creates a record.

        Parameters: settings, the values of `names`, owner; those of `write_value` follow.
        """
        if write_value is not None:
            return self._make_insert(names, write_value)
        return self._table.find_or_make(("insert", names), lambda: self._make_insert(names))

    def insert_many_statement(
        self,
        names: tuple[str, ...],
        size: int,
        rows: int,
        *,
        versioned: bool = False,
        unless: tuple[str, ...] = (),
        write_value: ValueWriter | None = None,
    ) -> bytes:
        """Return the SQL that creates so many `rows` from arrays of `size` bytes, in their order.

        Parameters: settings, owner, array of ids, an array of the values of each of `names`. With
        `unless`, the fields of a unique index, a row is left out if a record has its values.
        """
        # What is sent grows 62 times at most: 1e308 has five bytes, and is printed with 309.
        few = size + rows * self._added_bytes <= MAX_RECORD_BYTES // 100
        if write_value is not None:
            return self._make_insert_many(names, versioned, few, unless, write_value)
        shape = ("insert many", names, versioned, few, unless)
        return self._table.find_or_make(
            shape, lambda: self._make_insert_many(names, versioned, few, unless)
        )

    def insert_quietly_statement(
        self, names: tuple[str, ...], write_value: ValueWriter | None = None
    ) -> bytes:
        """Return the SQL that creates records like `insert_many_statement`, and counts them."""
        if write_value is not None:
            return self._make_insert_quietly(names, write_value)
        return self._table.find_or_make(
            ("insert quietly", names), lambda: self._make_insert_quietly(names)
        )

    def update_statement(
        self, names: tuple[str, ...], conditions: Conditions, write_value: ValueWriter | None = None
    ) -> bytes:
        """Return the SQL that changes one record.

        Adds the settings to `conditions`. Parameters: settings, the values of `names`, conditions.
        """
        if write_value is not None:
            head = self._make_update(names, write_value)
        else:
            head = self._table.find_or_make(("update", names), lambda: self._make_update(names))
        conditions.parts.append(SETTINGS_AS_CONDITION)
        return b"%b%b returning %b) %b" % (head, conditions.where_clause(), self._versioned, _MADE)

    def update_many_statement(
        self,
        names: tuple[str, ...],
        conditions: Conditions,
        *,
        tagged: bool,
        write_value: ValueWriter | None = None,
    ) -> bytes:
        """Return the SQL that changes records by a JSON array of objects with `_id` and `names`.

        The objects are in any order. With `tagged` they have `_tags`: null, or entity tags of which
        the record must have one. Parameters: settings, array, conditions.
        """
        columns = self._table.find_columns(names)
        changes = write_changes(columns, write_value or write_plainly)
        source = self._join_sent_records(conditions, columns, tagged)
        return SETTINGS + (
            b", _made as (update %b as t set %b from settings, %b%b returning %b) %b"
            % (
                self._table.name,
                changes,
                source,
                conditions.where_clause(),
                self._items_with_xmin,
                self._write_tagged(_ALL_MADE),
            )
        )

    def delete_many_statement(self, conditions: Conditions, *, tagged: bool) -> bytes:
        """Return the SQL that deletes records by a JSON array; it yields their number.

        See `update_many_statement`.
        """
        source = self._join_sent_records(conditions, [], tagged)
        return SETTINGS + (
            b", _made as (delete from %b as t using settings, %b%b returning 1)"
            b" select count(*) from _made" % (self._table.name, source, conditions.where_clause())
        )

    def _join_sent_records(
        self, conditions: Conditions, columns: Sequence[Column], tagged: bool
    ) -> bytes:
        """Return the records of an array, and require that these are the ones that are met."""
        key = self._table.columns.id
        definitions = [b"_id " + key.cast]
        conditions.parts.append(b"%b = x._id" % key.sql)
        if tagged:
            definitions.append(b"_tags text[]")
            conditions.parts.append(b"(x._tags is null or %b = any(x._tags))" % ETAG.sql)
        definitions += [b"%b %b" % (column.bare, column.cast) for column in columns]
        return b"json_to_recordset($2::json) as x(%b)" % b", ".join(definitions)

    def delete_statement(self, conditions: Conditions) -> bytes:
        """Return the SQL that deletes one record and yields its id.

        Adds the settings to `conditions`. Parameters: settings, conditions.
        """
        conditions.parts.append(SETTINGS_AS_CONDITION)
        parts = (self._table.name, conditions.where_clause(), self._table.columns.id.sql)
        return b"delete from %b as t%b returning %b::text" % parts

    def _make_insert(self, names: tuple[str, ...], write_value: ValueWriter | None = None) -> bytes:
        # ValueWriter of their own, not members of one JSON parameter: PostgreSQL takes 7 % less.
        columns = self._table.find_columns(names)
        names_in_sql = b", ".join([*bare_names(columns), OWNER])
        owner = b"$%d::uuid" % (len(columns) + 2)
        values = b", ".join([*write_params(columns, write_value or write_plainly), owner])
        return b"with _made as (insert into %b as t (%b) select %b where %b returning %b) %b" % (
            self._table.name,
            names_in_sql,
            values,
            SETTINGS_AS_CONDITION,
            self._versioned,
            _MADE,
        )

    def _make_insert_quietly(
        self, names: tuple[str, ...], write_value: ValueWriter | None = None
    ) -> bytes:
        inserting = self._write_insert(names, b"1", (), write_value)
        return b"%b select count(*) from _made" % inserting

    def _make_insert_many(
        self,
        names: tuple[str, ...],
        versioned: bool,
        few: bool,
        unless: tuple[str, ...],
        write_value: ValueWriter | None = None,
    ) -> bytes:
        items = self._items_with_xmin if versioned else self._table.everything.items
        inserting = self._write_insert(names, items, unless, write_value)
        array = _FEW_MADE if few else _ALL_MADE
        records = self._write_tagged(array) if versioned else b"select " + array % b"_made"
        return b"%b %b" % (inserting, records)

    @cached_property
    def _added_bytes(self) -> int:
        """The most bytes that PostgreSQL gives a record beside what is sent."""
        if any(field.generated is not None for field in self._table.entity.fields):
            return MAX_RECORD_BYTES
        return sum(len(msgspec.json.encode({f.name: f.default})) for f in self._table.entity.fields)

    @cached_property
    def _versioned(self) -> bytes:
        return b"%b, %b as _v" % (self._table.everything.items, VERSION)

    @cached_property
    def _items_with_xmin(self) -> bytes:
        return b"%b, t.xmin as _xmin" % self._table.everything.items

    def _write_tagged(self, array: bytes) -> bytes:
        # A statement gives the rows that it writes one version, so it is made once.
        version = b"(select %b from _made t limit 1)" % VERSION.replace(b".xmin", b"._xmin")
        written_rows = b"(select %b from _made)" % b", ".join(bare_names(self._table.columns))
        return b"select %b || E'\\n' || %b" % (version, array % written_rows)

    def numbered_rows(self, names: tuple[str, ...]) -> bytes:
        """Return the rows of arrays, the first parameters, as `x` with `_place`, counted from 1."""
        columns = [self._table.columns.id, *self._table.find_columns(names)]
        parts = (unnest_arrays(columns, 1), b", ".join(bare_names(columns)))
        return b"%b with ordinality as x(%b, _place)" % parts

    def _write_rows(self, names: tuple[str, ...]) -> bytes:
        """Return the rows of arrays, in their order. PostgreSQL takes longer to read JSON."""
        columns = [self._table.columns.id, *self._table.find_columns(names)]
        # PostgreSQL returns the rows of functions in order, as it does those that are written.
        return b"settings, %b as x(%b)" % (
            unnest_arrays(columns, 3),
            b", ".join(bare_names(columns)),
        )

    def _write_insert(
        self,
        names: tuple[str, ...],
        items: bytes,
        unless: tuple[str, ...],
        write_value: ValueWriter | None,
    ) -> bytes:
        columns = [self._table.columns.id, *self._table.find_columns(names)]
        write = write_value or write_plainly
        values = [write(column, b"x.%b::%b" % (column.bare, column.cast)) for column in columns]
        conflict = b""
        if unless:
            key = b", ".join(bare_names(self._table.find_columns(unless)))
            conflict = b" on conflict (%b) do nothing" % key
        # Rows are selected from `settings`, so that these are set before the first trigger runs.
        return (
            SETTINGS
            + b", _made as (insert into %b as t (%b) select %b from %b%b returning %b)"
            % (
                self._table.name,
                b", ".join([*bare_names(columns), OWNER]),
                b", ".join([*values, b"$2::uuid"]),
                self._write_rows(names),
                conflict,
                items,
            )
        )

    def _make_update(self, names: tuple[str, ...], write_value: ValueWriter | None = None) -> bytes:
        columns = self._table.find_columns(names)
        values = write_params(columns, write_value or write_plainly)
        changes = b", ".join(
            b"%b = %b" % (column.bare, value) for column, value in zip(columns, values, strict=True)
        )
        return b"with _made as (update %b as t set %b" % (self._table.name, changes)


# A failing cast rolls the statement back, with our text in PostgreSQL's message. It depends on the
# row, as a constant would fail while the statement is planned.
_FAILING: Final = b"('%b' || left(json::text, 0))::int::text" % SIZE_ERROR.encode()
_MADE: Final = limit_size(b"_made", _FAILING + b"::json")
_ALL_MADE: Final = (
    b"'[' || string_agg(case when upto <= %d then json else %b end, E',\\n') || ']'"
    b" from (select json, sum(octet_length(json)) over (rows unbounded preceding) as upto"
    b" from (select row_to_json(_r)::text as json from %%b _r offset 0) _j) _w"
    % (MAX_RECORD_BYTES, _FAILING)
)
"""The records of a source as an array with one per line."""
_FEW_MADE: Final = b"'[' || string_agg(row_to_json(_r)::text, E',\\n') || ']' from %b _r"
