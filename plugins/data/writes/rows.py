"""Turns the JSON that a caller sent into the values of a row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar, cast
from uuid import uuid4

import msgspec
from anyio import to_thread

from kernel.public import BadRequest, Entity, Field
from plugins.data.columns import Column, Columns
from plugins.data.rendering import MAX_RECORD_BYTES, too_large

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

Row = dict[str, Any]
"""Field name to coerced value, in the order of the columns."""


async def run_in_thread_if_large(
    rows: Sequence[Mapping[str, Any]], work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run work that takes a step for each value of `rows`; in a thread where they are many."""
    if _values(rows) <= MAX_INLINE_VALUES:
        return work(*args, **kwargs)
    return await to_thread.run_sync(lambda: work(*args, **kwargs))


def _values(rows: Sequence[Mapping[str, Any]]) -> int:
    """Count as if each row had every field that any row names, as `unify_columns` makes it."""
    fields = len(rows[0]) if len(rows) == 1 else len({name for row in rows for name in row})
    lists = (
        len(cast("list[Any]", value))
        for row in rows
        for value in row.values()
        if isinstance(value, list)
    )
    return fields * len(rows) + sum(lists)


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
    sent: Row = {}
    for name, value in values.items():
        if (as_sent := columns.as_sent.get(name)) is not None and as_sent(value):
            sent[name] = value
            continue
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


def check_needed(columns: Columns, row: Mapping[str, Any]) -> None:
    """Raise BadRequest where a record cannot be created from a row."""
    for column in columns.needed:
        if column.name not in row:
            raise BadRequest(f"{column.label} is required")


def unify_columns(columns: Columns, rows: Sequence[Row]) -> list[Row]:
    """Give every row the same fields; a row that lacks a field gets its default.

    Raises BadRequest where the defaults are too large together.
    """
    named = {name for row in rows for name in row}
    if all(len(row) == len(named) for row in rows):
        return list(rows)
    wanted = [columns.find(name) for name in columns.ordered(named)]
    _check_defaults(wanted, rows)
    return [{c.name: row[c.name] if c.name in row else _default(c) for c in wanted} for row in rows]


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
    if column.field is None:
        return str(uuid4())
    return column.field.default  # in the form of records: the manifest's reader converted it
