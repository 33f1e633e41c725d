"""Rows as parameters of statements: one value for each column, or one array for each."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from itertools import cycle
from operator import itemgetter
from typing import Any, Final

from kernel.public import Param, ValueKind
from plugins.data.columns.column import Column
from plugins.data.columns.columns import Columns
from plugins.data.rendering import MAX_RECORD_BYTES, too_large

from .encoding import encode
from .rows import Row
from .threads import run_in_thread_if_large

_NO_NAMES: Final = frozenset[str]()
_COUNTERS: Final = [f"7{number:03x}-8" for number in range(4096)]


def new_ids(count: int) -> list[str]:
    """Make UUIDs of version 7 (RFC 9562), in ascending order.

    The rows of a statement are then neighbours in each index on their id, where random ones are
    spread over all its pages. PostgreSQL would make a system call for each.
    """
    milliseconds = f"{time.time_ns() // 1_000_000:012x}"
    head = f"{milliseconds[:8]}-{milliseconds[8:]}-"
    random_parts = os.urandom(8 * count).hex(" ", 8).split()
    return [
        f"{head}{counter}{random[:3]}-{random[3:15]}"
        for counter, random in zip(cycle(_COUNTERS), random_parts, strict=False)
    ]


def ensure_id(row: Row) -> Row:
    """Give a row an id if it has none."""
    return row if "id" in row else {"id": new_ids(1)[0], **row}


async def params_of(columns: Columns, row: Row) -> list[Param]:
    """Return the values of a row as parameters of their columns' types."""
    if columns.kinds_of_json_and_arrays.keys().isdisjoint(row):
        return list(row.values())
    return await run_in_thread_if_large(columns, (row,), _encode_row, columns, row)


def _encode_row(columns: Columns, row: Row) -> list[Param]:
    params: list[Param] = []
    for name, value in row.items():
        kind = columns.kinds_of_json_and_arrays.get(name)
        if value is None or kind is None:
            params.append(value)
        else:
            params.append(_encode_composed(kind, value))
    return params


def rows_to_arrays(
    columns: Columns, rows: Sequence[Row], places: Sequence[int] | None = None
) -> tuple[tuple[str, ...], list[bytes]]:
    """Return the fields of rows, and an array of their ids and one of the values of each field.

    A row that lacks a field gets its default. New ids ascend with the rows, while the arrays have
    the rows in the order of `places`. Raises BadRequest where the defaults are too large together.
    """
    ids = new_ids(len(rows))
    field_names = _NO_NAMES.union(*rows)
    if places is not None:
        ids = [ids[place] for place in places]
        rows = [rows[place] for place in places]
    have_same_fields = "id" not in field_names and {*map(len, rows)} == {len(field_names)}
    if not have_same_fields:
        ids = [row.get("id", new_id) for new_id, row in zip(ids, rows, strict=True)]
        rows = _add_defaults(columns, rows, field_names - {"id"})

    names = tuple(rows[0])
    values = {name: [*map(itemgetter(name), rows)] for name in names}
    for name in columns.kinds_of_json_and_arrays.keys() & names:
        kind = columns.kinds_of_json_and_arrays[name]
        values[name] = [
            None if value is None else _encode_composed(kind, value).decode()
            for value in values[name]
        ]
    return names, [*map(_write_array, (ids, *values.values()))]


def _add_defaults(columns: Columns, rows: Sequence[Row], field_names: frozenset[str]) -> list[Row]:
    """Give each row a value of every field, in the order of a record."""
    row_columns = [columns.find(name) for name in columns.sort_names(field_names)]
    _check_defaults(row_columns, rows)
    defaults = {column.name: _default_of(column) for column in row_columns}
    return [{name: row.get(name, default) for name, default in defaults.items()} for row in rows]


def _check_defaults(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    sizes = {
        column.name: len(encode(column.field.default))
        for column in columns
        if column.field is not None
    }
    if sum(sizes.values()) * len(rows) <= MAX_RECORD_BYTES:  # nearly always
        return
    total = sum(sizes[name] for row in rows for name in sizes if name not in row)
    if total > MAX_RECORD_BYTES:
        raise too_large(len(rows))


def _default_of(column: Column) -> Any:
    if column.field is None:  # a time, which every row has
        return None
    return column.field.default  # in the form of records: the manifest's reader converted it


def _encode_composed(kind: ValueKind, value: Any) -> bytes:
    return encode(value) if kind == "json" else _write_array(value)


def _write_array(items: Sequence[str | float | None]) -> bytes:
    """Write an array as PostgreSQL reads it. That is JSON, but for its brackets and escapes."""
    raw = encode(items)
    # Escaped backslashes and quotes are the same in both.
    if b"\\" in raw and b"\\" in raw.replace(b"\\\\", b"").replace(b'\\"', b""):
        return ("{" + ",".join(map(_quote, items)) + "}").encode()
    return b"{" + raw[1:-1] + b"}"


def _quote(item: object) -> str:
    if item is None:
        return "null"
    return '"' + str(item).replace("\\", "\\\\").replace('"', '\\"') + '"'
