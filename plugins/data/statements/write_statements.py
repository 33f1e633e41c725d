"""Statements that create, change, lock and delete records of one entity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final

import msgspec

from kernel.public import SETTINGS, SETTINGS_AS_CONDITION
from plugins.data.columns.column import Column
from plugins.data.rendering import MAX_RECORD_BYTES, SIZE_ERROR

from .column_lists import (
    ValueWriter,
    bare_names,
    unnest_arrays,
    write_changes,
    write_definitions,
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
from .filters import Conditions

FULL_LOCK: Final = b"for update of t"
"""Locks a record that is deleted, or changed in a field of a unique index."""
NO_KEY_LOCK: Final = b"for no key update of t"
"""Locks a record that is changed in other fields."""
NO_SETTINGS: Final = b"{}"
"""The parameter for settings in a transaction, which has them since it began."""


class WriteStatements:
    """The statements that create, change, lock and delete records of a table."""

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

    def find_by_keys_statement(
        self,
        on: Sequence[str],
        limits: Sequence[bytes],
        lock: bytes = b"",
        compared: Sequence[str] = (),
    ) -> bytes:
        """Return the SQL that finds the records with the keys of rows.

        Parameter: a JSON array of objects with `_place`, the key, and the fields in `compared`.
        Each row is the place, the record's id, whether the record is within `limits`, and the
        compared fields whose values it has. With a `lock` they are locked, in the order of their
        ids.
        """
        is_within = b" and ".join(limits) or b"true"
        columns = self._table.find_columns(compared)
        same = b"'[]'::json"
        if columns:
            names = b", ".join(
                b"case when %b then '%b' end" % (_is_same(column), column.name.encode())
                for column in columns
            )
            same = b"to_json(array_remove(array[%b], null))" % names
        source = self._join_keys((*on, *compared), on, b"$1::json")
        query = b"select json_build_array(x._place, t.id::text, %b, %b)%b" % (
            is_within,
            same,
            source,
        )
        if lock:
            query += b" order by t.id " + lock
        return query

    def _join_keys(self, names: Sequence[str], on: Sequence[str], rows: bytes) -> bytes:
        """Join records to rows, objects with `names`, that have their values of the fields `on`."""
        keys = self._table.find_columns(on)
        return b" from json_to_recordset(%b) as x(_place int, %b) join %b as t on %b" % (
            rows,
            write_definitions(self._table.find_columns(names)),
            self._table.name,
            b" and ".join(b"%b = x.%b" % (column.sql, column.bare) for column in keys),
        )

    def select_ids_by_keys(self, on: Sequence[str], rows: bytes) -> bytes:
        """Select the ids of records that have the keys of `rows`, a placeholder."""
        return b"select t.id" + self._join_keys(on, on, rows)

    def select_ids(self, conditions: Sequence[bytes]) -> bytes:
        """Select the ids of records within conditions."""
        return b"select t.id from %b as t where %b" % (self._table.name, b" and ".join(conditions))

    def lock_all_statement(self, selections: Sequence[bytes], lock: bytes) -> bytes:
        """Return the SQL that locks the records of selections, in the order of their ids."""
        ids = b" union all ".join(selections)
        return b"select from %b as t where t.id in (%b) order by t.id %b" % (
            self._table.name,
            ids,
            lock,
        )

    def lock_to_change(self, names: Iterable[str]) -> bytes:
        """Return the lock that an update of these fields takes.

        The weaker one lets others link to the record meanwhile.
        """
        return NO_KEY_LOCK if self.unique_fields.isdisjoint(names) else FULL_LOCK

    def change_where_statement(
        self,
        names: tuple[str, ...],
        conditions: Conditions,
        at_least: int,
        at_most: int,
        write_value: ValueWriter | None = None,
    ) -> bytes:
        """Return the SQL that changes the records that match, from `at_least` to `at_most`.

        With another number of records it changes none. Parameters: settings, object, conditions.
        It yields how many there are, at most one more than `at_most`, and how many were changed.
        """
        columns = self._table.find_columns(names)
        changes = write_changes(columns, write_value or write_plainly)
        return self._write_hits(conditions, at_least, at_most, self.lock_to_change(names)) + (
            b", _made as (update %b as t set %b"
            b" from settings, _hit, _fits, json_to_record($2::json) as x(%b)"
            b" where t.id = _hit.id returning 1) %b"
            % (self._table.name, changes, write_definitions(columns), _HOW_MANY)
        )

    def delete_where_statement(self, conditions: Conditions, at_least: int, at_most: int) -> bytes:
        """Return the SQL that deletes the records that match, from `at_least` to `at_most`.

        See `change_where_statement`. Parameters: settings, conditions.
        """
        return self._write_hits(conditions, at_least, at_most, FULL_LOCK) + (
            b", _made as (delete from %b as t using settings, _hit, _fits"
            b" where t.id = _hit.id returning 1) %b" % (self._table.name, _HOW_MANY)
        )

    def lock_where_statement(self, conditions: Conditions, at_most: int, lock: bytes) -> bytes:
        """Return the SQL that locks the records that match, at most one more than `at_most`.

        It yields their ids.
        """
        return self._select_locked(
            b"t.id::text", conditions, conditions.bind(at_most, b"bigint"), lock
        )

    def _select_locked(
        self, items: bytes, conditions: Conditions, limit: bytes, lock: bytes
    ) -> bytes:
        # An order by id of every record that matches could take long where few are wanted. So they
        # are found first. Those that change meanwhile are compared again when they are locked.
        where = conditions.where_clause() or b" where true"
        return (
            b"select %b from %b as t%b"
            b" and t.id = any(array(select t.id from %b as t%b limit %b + 1))"
            b" order by t.id %b"
            % (items, self._table.name, where, self._table.name, where, limit, lock)
        )

    def _write_hits(
        self, conditions: Conditions, at_least: int, at_most: int, lock: bytes
    ) -> bytes:
        low = conditions.bind(at_least, b"bigint")
        high = conditions.bind(at_most, b"bigint")
        return SETTINGS + (
            b", _hit as materialized (%b),"
            b" _n as materialized (select count(*) as n from _hit),"
            b" _fits as (select from _n where n between %b and %b)"
            % (self._select_locked(b"t.id", conditions, high, lock), low, high)
        )

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


def _is_same(column: Column) -> bytes:
    """Return whether a record has the value of a row; an empty cell leaves an empty text."""
    stored = column.sql
    sent = b"x." + column.bare
    if column.kind == "text":
        return b"%b is not distinct from %b or (%b = '' and %b is null)" % (
            stored,
            sent,
            stored,
            sent,
        )
    return b"%b is not distinct from %b" % (stored, sent)


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
_HOW_MANY: Final = b"select json_build_array((select n from _n), (select count(*) from _made))"
