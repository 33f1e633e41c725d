"""From what a caller sent to the values of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar, cast
from uuid import uuid4

import msgspec
from anyio import to_thread

from kernel.public import BadRequest, Entity

from .breaches import one_of
from .columns import Column, Columns
from .weight import MAX_RECORD_BYTES, too_heavy

_encode = msgspec.json.Encoder().encode

P = ParamSpec("P")
T = TypeVar("T")
MANY: Final = 10_000
"""Values that are coerced in some 50 ms at most; more would keep others waiting."""

LONGEST_ID: Final = 1000
"""Characters, so that the path of a record has fewer than a server reads."""

UNREACHABLE: Final = frozenset({"query", "bulk", ".", ".."})
"""Routes of the entity itself, and what clients take out of a path."""

Row = dict[str, Any]
"""Field name to coerced value, in the order of the columns."""


async def aside(
    rows: Sequence[Mapping[str, Any]], work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Do what takes a step for each value of `rows`; of many values in a thread."""
    if _values(rows) <= MANY:
        return work(*args, **kwargs)
    return await to_thread.run_sync(lambda: work(*args, **kwargs))


def _values(rows: Sequence[Mapping[str, Any]]) -> int:
    """Count them as if every row had all fields that one of them names: so it is made alike."""
    fields = len(rows[0]) if len(rows) == 1 else len({name for row in rows for name in row})
    lists = (
        len(cast("list[Any]", value))
        for row in rows
        for value in row.values()
        if isinstance(value, list)
    )
    return fields * len(rows) + sum(lists)


def row_of(entity: Entity, columns: Columns, values: Mapping[str, Any], *, creating: bool) -> Row:
    """Coerce the fields of a body; what is the server's own is left out. Raises BadRequest."""
    if not values:
        raise BadRequest(f"{entity.name}: the body must name at least one field")
    sent: Row = {}
    for name, value in values.items():
        column = columns.find(name)
        if column.field is not None:
            sent[name] = _fitting(column, value)
        elif name == "id" and creating and entity.id_declared and value is not None:
            sent[name] = _chosen_id(column, value)
    if creating:
        for column in columns.needed:
            if column.name not in sent:
                raise BadRequest(f"{column.label} is required")
    # One order whatever the caller's: fields that are sent together share one statement.
    return {name: sent[name] for name in columns.ordered(sent)}


def alike(columns: Columns, rows: Sequence[Row]) -> list[Row]:
    """Give every row the same fields; one that lacks a field gets its default.

    Raises BadRequest where the defaults weigh too much together.
    """
    named = {name for row in rows for name in row}
    if all(len(row) == len(named) for row in rows):
        return list(rows)
    wanted = [columns.find(name) for name in columns.ordered(named)]
    _check_defaults(wanted, rows)
    return [{c.name: row[c.name] if c.name in row else _default(c) for c in wanted} for row in rows]


def _fitting(column: Column, value: Any) -> Any:
    fitting, field = column.coerce(value), column.field
    if fitting is None and not column.nullable:
        raise BadRequest(f"{column.label} is required")
    if fitting is None or field is None or not field.enum_values or column.kind != "text":
        return fitting
    if fitting not in field.enum_values:
        raise BadRequest(f"{column.label}{one_of(field)}")
    return fitting


def _chosen_id(column: Column, value: Any) -> str:
    """Take an id that every route reaches: its record could be neither read nor deleted else."""
    chosen: str = column.coerce(value)
    if not chosen:
        raise BadRequest(f"{column.label} must not be empty")
    if len(chosen) > LONGEST_ID:
        raise BadRequest(f"{column.label} must have at most {LONGEST_ID} characters")
    if chosen in UNREACHABLE:
        raise BadRequest(f"{column.label} must not be {chosen!r}, which no path can name")
    return chosen


def _check_defaults(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    sizes = {c.name: len(_encode(c.field.default)) for c in columns if c.field is not None}
    if sum(sizes.values()) * len(rows) <= MAX_RECORD_BYTES:  # nearly always
        return
    if sum(sizes[name] for row in rows for name in sizes if name not in row) > MAX_RECORD_BYTES:
        raise too_heavy(len(rows))


def _default(column: Column) -> Any:
    if column.field is None:
        return str(uuid4())
    return column.field.default  # as records show it: the manifest's reader has seen to that
