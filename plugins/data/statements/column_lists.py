"""Columns in the SQL of a write: their names, their values and their types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from kernel.public import ValueKind
from plugins.data.columns.column import Column

_ITEMS: Final[Mapping[ValueKind, bytes]] = {"texts": b"text", "numbers": b"text", "files": b"text"}
"""What arrays of values hold where a value is an array: its text."""

ValueWriter = Callable[[Column, bytes], bytes]
"""How a statement writes a value, which is given as SQL, in a column."""


def write_plainly(_: Column, value: bytes) -> bytes:
    """Write a value as it is."""
    return value


def write_params(columns: Iterable[Column], write_value: ValueWriter) -> list[bytes]:
    """Return the values of columns that are parameters, from the second one on."""
    return [
        write_value(column, b"$%d::%b" % (place, column.cast))
        for place, column in enumerate(columns, 2)
    ]


def write_changes(columns: Iterable[Column], write_value: ValueWriter) -> bytes:
    """Return the changes of columns to the values of a row `x`."""
    return b", ".join(
        b"%b = %b" % (column.bare, write_value(column, b"x." + column.bare)) for column in columns
    )


def unnest_arrays(columns: Sequence[Column], first: int) -> bytes:
    """Return the rows of arrays, the parameters from the `first` one on."""
    arrays = (
        b"$%d::%b[]" % (place, _ITEMS.get(column.kind, column.cast))
        for place, column in enumerate(columns, first)
    )
    return b"unnest(%b)" % b", ".join(arrays)


def write_definitions(columns: Iterable[Column]) -> bytes:
    """Return names with their types, as a function that returns records needs them."""
    return b", ".join(b"%b %b" % (column.bare, column.cast) for column in columns)


def bare_names(columns: Iterable[Column]) -> list[bytes]:
    """Return names without an alias, as an insert has them."""
    return [column.bare for column in columns]
