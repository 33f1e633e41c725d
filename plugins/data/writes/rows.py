"""Turns the JSON that a caller sent into the values of a row."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain, cycle
from operator import itemgetter, methodcaller
from typing import Any, Final, ParamSpec, TypeVar, cast

import msgspec
from anyio import to_thread

from kernel.public import BadRequest, Entity, Field, Forbidden, Grant, KernelError, Param, ValueKind
from plugins.data.columns import Column, Columns
from plugins.data.rendering import MAX_RECORD_BYTES, too_large
from plugins.data.store import Table

encode = msgspec.json.Encoder().encode

P = ParamSpec("P")
T = TypeVar("T")
MAX_INLINE_VALUES: Final = 10_000
"""Coercing so many values takes up to 50 ms; more would delay other requests."""

MAX_ID_LENGTH: Final = 1000
"""Characters; the path of a record stays shorter than what a server reads."""

UNREACHABLE_IDS: Final = frozenset(
    {"query", "bulk", "import", "update-where", "delete-where", ".", ".."}
)
"""Routes of the entity itself, and segments that clients remove from a path."""

_NO_NAMES: Final = frozenset[str]()
_COUNTERS: Final = [f"7{n:03x}-8" for n in range(4096)]

Row = dict[str, Any]
"""Field name to coerced value, in the order of the columns."""


async def run_in_thread_if_large(
    columns: Columns,
    rows: Sequence[Mapping[str, Any]],
    work: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run work that takes a step for each value of `rows`; in a thread where they are many."""
    # To count is work too. A row has no more values than there are fields, or its first unknown
    # one refuses it; a list is refused where no field takes one.
    few = not columns.composed and len(rows) * len(columns.fields) <= MAX_INLINE_VALUES
    if few or _values(rows) <= MAX_INLINE_VALUES:
        return work(*args, **kwargs)
    return await to_thread.run_sync(lambda: work(*args, **kwargs))


def _values(rows: Sequence[Mapping[str, Any]]) -> int:
    """Count as if each row had every field that any row names, as `arrays` makes it."""
    count = len(_NO_NAMES.union(*rows)) * len(rows)
    values = chain.from_iterable(map(methodcaller("values"), rows))
    if list in map(type, values):
        every = (value for row in rows for value in row.values())
        count += sum(len(cast("list[Any]", each)) for each in every if type(each) is list)
    return count


def new_rows(table: Table, grant: Grant, bodies: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Coerce bodies that create records; see `row_for`. An error names the index of its body."""
    if not grant.locked and not table.hidden:
        rows = _all_as_sent(table.columns, bodies)
        if rows is not None:
            return rows
    return [
        at(index, row_for, table, grant, values, creating=True)
        for index, values in enumerate(bodies)
    ]


def row_for(table: Table, grant: Grant, values: Mapping[str, Any], *, creating: bool) -> Row:
    """Coerce a body by the rights of its sender. Raises BadRequest, Forbidden."""
    if grant.locked:
        check_locked(table, grant, values)
    row = row_of(table.shown, table.columns, values, creating=creating)
    if creating and table.hidden:
        for column in table.full.columns.needed:
            if column.name in table.hidden:
                raise Forbidden(f"{table.entity.name} has required fields that you may not set")
    return row


def check_locked(table: Table, grant: Grant, values: Mapping[str, Any]) -> None:
    """Raise Forbidden for a field that the caller may read and not write."""
    for name in grant.locked:
        if name in values and name not in grant.hidden:
            raise Forbidden(f"the permission '{table.entity.name}.{name}.write' is needed")


def row_of(
    entity: Entity,
    columns: Columns,
    values: Mapping[str, Any],
    *,
    creating: bool,
    whole: bool = True,
) -> Row:
    """Coerce the fields of a body and drop those that the server sets. Raises BadRequest.

    A `whole` body that creates a record has every required field.
    """
    if not values:
        raise BadRequest(f"{entity.name}: the body must name at least one field")
    if (row := _as_sent(columns, values, whole=creating and whole)) is not None:  # most frequent
        return row
    sent: Row = {}
    for name, value in values.items():
        column = columns.find(name)
        if column.field is not None:
            if column.field.generated is not None:
                raise BadRequest(f"{column.label} is generated: it cannot be set")
            sent[name] = coerced(column, value)
        elif name == "id" and creating and entity.id_declared and value is not None:
            sent[name] = _chosen_id(column, value)
    if creating and whole:
        check_needed(columns, sent)
    # One order, whatever the caller's: bodies with the same fields share one statement.
    order = columns.ordered(sent)
    return sent if order == list(sent) else {name: sent[name] for name in order}


def _as_sent(columns: Columns, values: Mapping[str, Any], *, whole: bool) -> Row | None:
    """Return the row of a body whose values are as their columns store them, else None.

    Fields of the kinds that always need a conversion get it. Raises BadRequest.
    """
    sent = columns.sent(tuple(values))
    if sent is None or (whole and not sent.whole):
        return None
    row = {name: values[name] for name in sent.names}
    try:
        msgspec.convert(row, columns.stored)
    except msgspec.ValidationError:
        return None
    for name in sent.texts:
        if "\0" in (row[name] or ""):
            return None
    for column in sent.converted:
        row[column.name] = coerced(column, row[column.name])
    return row


def _all_as_sent(columns: Columns, bodies: Sequence[Mapping[str, Any]]) -> list[Row] | None:
    """Return the rows of bodies with the same fields, if `_as_sent` would return each as it is."""
    names = tuple(bodies[0])
    if not names or {*map(tuple, bodies)} != {names}:
        return None
    sent = columns.sent(names)
    if sent is None or not sent.whole or sent.converted:
        return None
    try:
        msgspec.convert(bodies, list[columns.stored])
    except msgspec.ValidationError:
        return None
    for name in sent.texts:
        if "\0" in "".join(filter(None, map(itemgetter(name), bodies))):
            return None
    if sent.names == names:  # nothing changes a row in place
        return cast("list[Row]", [*bodies])
    return [{name: values[name] for name in sent.names} for values in bodies]


def check_needed(columns: Columns, row: Mapping[str, Any]) -> None:
    """Raise BadRequest where a record cannot be created from a row."""
    for column in columns.needed:
        if column.name not in row:
            raise BadRequest(f"{column.label} is required")


def with_id(row: Row) -> Row:
    """Give a row an id if it has none."""
    return row if "id" in row else {"id": new_ids(1)[0], **row}


def arrays(
    columns: Columns, rows: Sequence[Row], places: Sequence[int] | None = None
) -> tuple[tuple[str, ...], list[bytes]]:
    """Return the fields of rows, and an array of their ids and one of the values of each field.

    A row that lacks a field gets its default. New ids ascend with the rows, while the arrays have
    the rows in the order of `places`. Raises BadRequest where the defaults are too large together.
    """
    ids, named = new_ids(len(rows)), _NO_NAMES.union(*rows)
    if places is not None:
        ids = [ids[place] for place in places]
        rows = [rows[place] for place in places]
    if "id" in named or {*map(len, rows)} != {len(named)}:
        ids = [row.get("id", made) for made, row in zip(ids, rows, strict=True)]
        wanted = [columns.find(name) for name in columns.ordered(named - {"id"})]
        _check_defaults(wanted, rows)
        defaults = {each.name: _default(each) for each in wanted}
        rows = [
            {name: row.get(name, default) for name, default in defaults.items()} for row in rows
        ]
    names = tuple(rows[0])
    values = {name: [*map(itemgetter(name), rows)] for name in names}
    for name in columns.composed.keys() & names:
        kind, given = columns.composed[name], values[name]
        values[name] = [None if v is None else _composed(kind, v).decode() for v in given]
    return names, [*map(_array, (ids, *values.values()))]


async def params_of(columns: Columns, row: Row) -> list[Param]:
    """Return the values of a row as parameters of their columns' types."""
    if columns.composed.keys().isdisjoint(row):
        return list(row.values())
    return await run_in_thread_if_large(columns, (row,), _encoded, columns, row)


def _encoded(columns: Columns, row: Row) -> list[Param]:
    return [
        value if value is None or (kind := columns.composed.get(name)) is None
        else _composed(kind, value)
        for name, value in row.items()
    ]  # fmt: skip


def _composed(kind: ValueKind, value: Any) -> bytes:
    return encode(value) if kind == "json" else _array(value)


def _array(items: Sequence[str | float | None]) -> bytes:
    """Write an array as PostgreSQL reads it. That is JSON, but for its brackets and escapes."""
    raw = encode(items)
    # Escaped backslashes and quotes are the same in both.
    if b"\\" in raw and b"\\" in raw.replace(b"\\\\", b"").replace(b'\\"', b""):
        return ("{" + ",".join(map(_quoted, items)) + "}").encode()
    return b"{" + raw[1:-1] + b"}"


def _quoted(item: object) -> str:
    if item is None:
        return "null"
    return '"' + str(item).replace("\\", "\\\\").replace('"', '\\"') + '"'


def new_ids(count: int) -> list[str]:
    """Make UUIDs of version 7 (RFC 9562), in ascending order.

    The rows of a statement are then neighbours in each index on their id, where random ones are
    spread over all its pages. PostgreSQL would make a system call for each.
    """
    stamp = f"{time.time_ns() // 1_000_000:012x}"
    random, head = os.urandom(8 * count).hex(" ", 8).split(), f"{stamp[:8]}-{stamp[8:]}-"
    return [f"{head}{n}{r[:3]}-{r[3:15]}" for n, r in zip(cycle(_COUNTERS), random, strict=False)]


def only(record: bytes, names: Collection[str]) -> bytes:
    """Return a record with some of its members; their values stay as they are written."""
    members = _members(record)
    return encode({name: value for name, value in members.items() if name in names})


def without(record: bytes, names: Collection[str]) -> bytes:
    """Return a record without some of its members."""
    members = _members(record)
    return encode({name: value for name, value in members.items() if name not in names})


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def allowed_values(field: Field) -> str:
    """Say which values an enum allows."""
    return f" must be one of {', '.join(field.enum_values)}"


def coerced(column: Column, value: Any) -> Any:
    """Return a value of a body as its column stores it. Raises BadRequest."""
    if column.field is None:
        return None if value is None else _chosen_id(column, value)
    found, field = column.coerce(value), column.field
    if found is None and not column.nullable:
        raise BadRequest(f"{column.label} is required")
    if found is None or not field.enum_values or column.kind != "text":
        return found
    if found not in field.enum_values:
        raise BadRequest(f"{column.label}{allowed_values(field)}")
    return found


def _chosen_id(column: Column, value: Any) -> str:
    """Refuse an id that no route reaches: its record could be neither read nor deleted."""
    chosen: str = column.coerce(value)
    if not chosen:
        raise BadRequest(f"{column.label} must not be empty")
    if len(chosen) > MAX_ID_LENGTH:
        raise BadRequest(f"{column.label} must have at most {MAX_ID_LENGTH} characters")
    if chosen in UNREACHABLE_IDS:
        raise BadRequest(f"{column.label} must not be {chosen!r}, which no path can name")
    return chosen


def _check_defaults(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    sizes = {c.name: len(encode(c.field.default)) for c in columns if c.field is not None}
    if sum(sizes.values()) * len(rows) <= MAX_RECORD_BYTES:  # nearly always
        return
    if sum(sizes[name] for row in rows for name in sizes if name not in row) > MAX_RECORD_BYTES:
        raise too_large(len(rows))


def _default(column: Column) -> Any:
    assert column.field is not None
    return column.field.default  # in the form of records: the manifest's reader converted it


def at(place: int | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run work for one of several rows; an error names its place."""
    try:
        return work(*args, **kwargs)
    except KernelError as error:
        raise placed(error, place) from None


def placed(error: KernelError, place: int | None) -> KernelError:
    """Name the place of a row in an error."""
    if place is not None:
        error.message = f"[{place}] {error.message}"
        error.args = (error.message,)
    return error
