"""The statement that finds rows of which no record can be made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from plugins.data.store import Table


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
    same = b" and ".join(b"%b = x.%b::%b" % (each.sql, each.bare, each.cast) for each in columns)
    return RowTest(tuple(fields), b"exists (select from %b as t where %b)" % (table.name, same))


def is_repeated(table: Table, fields: Sequence[str]) -> RowTest:
    """Refuse a row where an earlier one has its values of a unique index."""
    columns = [table.columns.find(name) for name in fields]
    given = b" and ".join(b"x.%b is not null" % each.bare for each in columns)
    return RowTest(tuple(fields), given, repeats=True)


def has_no_target(table: Table, name: str, target: bytes, *, among_rows: bool = False) -> RowTest:
    """Refuse a row with a link to a record that is neither in `target` nor among the rows."""
    column = table.columns.find(name)
    value = b"x.%b::%b" % (column.bare, column.cast)
    condition = b"%b is not null and not exists (select from %b as l where l.id = %b)" % (
        value,
        target,
        value,
    )
    if among_rows:
        condition += b" and %b <> all($1::%b[])" % (value, column.cast)
    return RowTest((name,), condition, is_link=True)


def refused_rows(table: Table, names: tuple[str, ...], tests: Sequence[RowTest]) -> bytes:
    """Return the rows that a test refuses, in order: place from 0, number of the test, first place.

    The first place is that of the earlier row with the same values. Parameters: arrays of ids and
    of the values of each of `names`, then those of the tests.
    """
    firsts: list[bytes] = []
    shown: list[bytes] = []
    cases: list[bytes] = []
    for number, test in enumerate(tests):
        condition = test.condition
        if test.repeats:
            fields = b", ".join(
                b"x.%b::%b" % (column.bare, column.cast)
                for column in map(table.columns.find, test.fields)
            )
            firsts.append(b", min(_place) over (partition by %b) as _first%d" % (fields, number))
            shown.append(b" when %d then _first%d - 1" % (number, number))
            condition += b" and _place > _first%d" % number
        cases.append(b" when %b then %d" % (condition, number))
    first = b"case _test%b end" % b"".join(shown) if shown else b"null"
    return (
        b"select json_build_array(_place - 1, _test, %b) from"
        b" (select *, case%b end as _test from (select x.*%b from %b) as x) as r"
        b" where _test is not null order by _place"
        % (first, b"".join(cases), b"".join(firsts), table.numbered_rows(names))
    )
