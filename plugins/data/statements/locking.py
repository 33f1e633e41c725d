"""Statements that find the records of rows, and lock records before they are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from plugins.data.columns.column import Column

from .column_lists import write_definitions
from .entity_table import Table

FULL_LOCK: Final = b"for update of t"
"""Locks a record that is deleted, or changed in a field of a unique index."""
NO_KEY_LOCK: Final = b"for no key update of t"
"""Locks a record that is changed in other fields."""


def find_by_keys_statement(
    table: Table,
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
    is_within = b"true"
    if limits:  # which are null for a record without an owner
        is_within = b"(%b) is true" % b" and ".join(limits)
    columns = table.find_columns(compared)
    same = b"'[]'::json"
    if columns:
        names = b", ".join(
            b"case when %b then '%b' end" % (_is_same(column), column.name.encode())
            for column in columns
        )
        same = b"to_json(array_remove(array[%b], null))" % names
    source = _join_keys(table, (*on, *compared), on, b"$1::json")
    query = b"select json_build_array(x._place, t.id::text, %b, %b)%b" % (is_within, same, source)
    if lock:
        query += b" order by t.id " + lock
    return query


def select_ids_by_keys(table: Table, on: Sequence[str], rows: bytes) -> bytes:
    """Select the ids of records that have the keys of `rows`, a placeholder."""
    return b"select t.id" + _join_keys(table, on, on, rows)


def select_ids(table: Table, conditions: Sequence[bytes]) -> bytes:
    """Select the ids of records within conditions."""
    return b"select t.id from %b as t where %b" % (table.name, b" and ".join(conditions))


def lock_all_statement(table: Table, selections: Sequence[bytes], lock: bytes) -> bytes:
    """Return the SQL that locks the records of selections, in the order of their ids."""
    ids = b" union all ".join(selections)
    return b"select from %b as t where t.id in (%b) order by t.id %b" % (table.name, ids, lock)


def lock_to_change(table: Table, names: Iterable[str]) -> bytes:
    """Return the lock that an update of these fields takes.

    The weaker one lets others link to the record meanwhile.
    """
    return NO_KEY_LOCK if table.writes.unique_fields.isdisjoint(names) else FULL_LOCK


def _join_keys(table: Table, names: Sequence[str], on: Sequence[str], rows: bytes) -> bytes:
    """Join records to rows, objects with `names`, that have their values of the fields `on`."""
    keys = table.find_columns(on)
    return b" from json_to_recordset(%b) as x(_place int, %b) join %b as t on %b" % (
        rows,
        write_definitions(table.find_columns(names)),
        table.name,
        b" and ".join(b"%b = x.%b" % (column.sql, column.bare) for column in keys),
    )


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
