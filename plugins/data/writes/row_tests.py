"""The statement that finds rows of which no record can be made."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from plugins.data.columns.column import Column
from plugins.data.statements.entity_table import Table


class RowTest(msgspec.Struct, frozen=True):
    """A condition over a row `x` that refuses it; `fields` are those that it is about.

    With `repeats` it must also have the same values as an earlier one of the rows.
    """

    fields: tuple[str, ...]
    condition: bytes
    repeats: bool = False
    is_link: bool = False


def is_taken(table: Table, fields: Sequence[str]) -> RowTest:
    """Refuse a row where a record has its values of a unique index."""
    columns = [table.columns.find(name) for name in fields]
    has_values = b" and ".join(b"%b = %b" % (column.sql, sent_value(column)) for column in columns)
    record_exists = b"exists (select from %b as t where %b)" % (table.name, has_values)
    return RowTest(tuple(fields), record_exists)


def is_repeated(table: Table, fields: Sequence[str]) -> RowTest:
    """Refuse a row where an earlier one has its values of a unique index."""
    columns = [table.columns.find(name) for name in fields]
    has_values = b" and ".join(b"x.%b is not null" % column.bare for column in columns)
    return RowTest(tuple(fields), has_values, repeats=True)


def sent_value(column: Column) -> bytes:
    """Return the value of a column in a row."""
    return b"x.%b::%b" % (column.bare, column.cast)


def has_target(column: Column, target: bytes) -> bytes:
    """Require that a link leads to a record of a table."""
    return b"exists (select from %b as l where l.id = %b)" % (target, sent_value(column))


def is_no_link(table: Table, name: str, allowed: Sequence[bytes]) -> RowTest:
    """Refuse a row with a link that meets none of some conditions."""
    value = sent_value(table.columns.find(name))
    condition = b"%b is not null and not (%b)" % (value, b" or ".join(allowed))
    return RowTest((name,), condition, is_link=True)


def refused_rows(table: Table, names: tuple[str, ...], tests: Sequence[RowTest]) -> bytes:
    """Return the SQL of the rows that a test refuses, in order.

    Each has its place from 0, the number of the test, and the first place. The first place is that
    of the earlier row with the same values. Parameters: arrays of ids and of the values of each of
    `names`, then those of the tests.
    """
    first_places: list[bytes] = []
    shown_places: list[bytes] = []
    cases: list[bytes] = []
    for number, test in enumerate(tests):
        condition = test.condition
        if test.repeats:
            fields = b", ".join(sent_value(table.columns.find(name)) for name in test.fields)
            first_places.append(
                b", min(_place) over (partition by %b) as _first%d" % (fields, number)
            )
            shown_places.append(b" when %d then _first%d - 1" % (number, number))
            condition += b" and _place > _first%d" % number
        cases.append(b" when %b then %d" % (condition, number))
    first_place = b"null"
    if shown_places:
        first_place = b"case _test%b end" % b"".join(shown_places)
    rows = table.writes.numbered_rows(names)
    parts = (first_place, b"".join(cases), b"".join(first_places), rows)
    return (
        b"select json_build_array(_place - 1, _test, %b) from"
        b" (select *, case%b end as _test from (select x.*%b from %b) as x) as r"
        b" where _test is not null order by _place" % parts
    )
