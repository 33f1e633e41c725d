"""Statements that change, delete or lock the records that match conditions, if they are so many."""

from __future__ import annotations

from typing import Final

from kernel.public import SETTINGS
from plugins.data.filters.conditions import Conditions

from .column_lists import ValueWriter, write_changes, write_definitions, write_plainly
from .entity_table import Table
from .locking import FULL_LOCK, lock_to_change

_HOW_MANY: Final = b"select json_build_array((select n from _n), (select count(*) from _made))"


def change_where_statement(
    table: Table,
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
    columns = table.find_columns(names)
    changes = write_changes(columns, write_value or write_plainly)
    return _write_hits(table, conditions, at_least, at_most, lock_to_change(table, names)) + (
        b", _made as (update %b as t set %b"
        b" from settings, _hit, _fits, json_to_record($2::json) as x(%b)"
        b" where t.id = _hit.id returning 1) %b"
        % (table.name, changes, write_definitions(columns), _HOW_MANY)
    )


def delete_where_statement(
    table: Table, conditions: Conditions, at_least: int, at_most: int
) -> bytes:
    """Return the SQL that deletes the records that match, from `at_least` to `at_most`.

    See `change_where_statement`. Parameters: settings, conditions.
    """
    return _write_hits(table, conditions, at_least, at_most, FULL_LOCK) + (
        b", _made as (delete from %b as t using settings, _hit, _fits"
        b" where t.id = _hit.id returning 1) %b" % (table.name, _HOW_MANY)
    )


def lock_where_statement(table: Table, conditions: Conditions, at_most: int, lock: bytes) -> bytes:
    """Return the SQL that locks the records that match, at most one more than `at_most`.

    It yields their ids.
    """
    return _select_locked(
        table, b"t.id::text", conditions, conditions.bind(at_most, b"bigint"), lock
    )


def _select_locked(
    table: Table, items: bytes, conditions: Conditions, limit: bytes, lock: bytes
) -> bytes:
    # An order by id of every record that matches could take long where few are wanted. So they
    # are found first. Those that change meanwhile are compared again when they are locked.
    where = conditions.where_clause() or b" where true"
    return (
        b"select %b from %b as t%b"
        b" and t.id = any(array(select t.id from %b as t%b limit %b + 1))"
        b" order by t.id %b" % (items, table.name, where, table.name, where, limit, lock)
    )


def _write_hits(
    table: Table, conditions: Conditions, at_least: int, at_most: int, lock: bytes
) -> bytes:
    low = conditions.bind(at_least, b"bigint")
    high = conditions.bind(at_most, b"bigint")
    return SETTINGS + (
        b", _hit as materialized (%b),"
        b" _n as materialized (select count(*) as n from _hit),"
        b" _fits as (select from _n where n between %b and %b)"
        % (_select_locked(table, b"t.id", conditions, high, lock), low, high)
    )
