"""Turns the JSON that a caller sent into the values of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, ParamSpec, TypeVar, cast

import msgspec

from kernel.public import BadRequest, Entity, Field, Forbidden, Grant, KernelError
from plugins.data.columns.bodies import BodyFields
from plugins.data.columns.column import Column
from plugins.data.columns.columns import Columns
from plugins.data.statements.entity_table import Table

from .threads import run_in_thread_if_large
from .whole_columns import convert_column

P = ParamSpec("P")
T = TypeVar("T")
MAX_ID_LENGTH: Final = 1000
"""Characters; the path of a record stays shorter than what a server reads."""

UNREACHABLE_IDS: Final = frozenset(
    {
        "query", "bulk", "import", "update-where", "delete-where", "feed", "undo", "webhooks",
        ".", "..",
    }
)  # fmt: skip
"""Routes of the entity itself or of its app, and segments that clients remove from a path."""

FROM_LISTS: Final = frozenset({"_etag", "expand"})
"""Members of a record in a list. A body that has them, and no such field, is a record that was read
there; they are left out."""

_NO_NAMES: Final = frozenset[str]()

Row = dict[str, Any]
"""Field name to coerced value, in the order of the columns."""


async def coerce_body(
    table: Table, grant: Grant, values: Mapping[str, Any], *, creating: bool
) -> Row:
    """Coerce one body; see `coerce_row`."""
    return await run_in_thread_if_large(
        table.columns, (values,), coerce_row, table, grant, values, creating=creating
    )


async def coerce_bodies(
    table: Table, grant: Grant, bodies: Sequence[Mapping[str, Any]]
) -> list[Row]:
    """Coerce bodies that create records; see `new_rows`."""
    return await run_in_thread_if_large(table.columns, bodies, new_rows, table, grant, bodies)


def new_rows(table: Table, grant: Grant, bodies: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Coerce bodies that create records; see `coerce_row`. An error names the index of its body."""
    if not grant.locked and not table.hidden:
        rows = _rows_as_sent(table.columns, bodies)
        if rows is not None:
            return rows
    return [
        name_place(index, coerce_row, table, grant, values, creating=True)
        for index, values in enumerate(bodies)
    ]


def coerce_row(table: Table, grant: Grant, values: Mapping[str, Any], *, creating: bool) -> Row:
    """Coerce a body by the rights of its sender. Raises BadRequest, Forbidden."""
    if grant.locked:
        check_locked(table, grant, values)
    row = row_of(table.shown, table.columns, values, creating=creating)
    if creating and table.hidden:
        for column in table.full.columns.bodies.needed:
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
    complete: bool = True,
) -> Row:
    """Coerce the fields of a body and drop those that the server sets. Raises BadRequest.

    A `complete` body that creates a record has every required field.
    """
    if not values:
        raise BadRequest(f"{entity.name}: the body must name at least one field")
    must_be_complete = creating and complete
    row_as_sent = _row_as_sent(columns, values, complete=must_be_complete)
    if row_as_sent is not None:  # most frequent
        return row_as_sent
    row: Row = {}
    for name, value in values.items():
        if name in FROM_LISTS and name not in columns:
            continue
        column = columns.find(name)
        if column.field is not None:
            if column.field.generated is not None:
                raise BadRequest(f"{column.label} is generated: it cannot be set")
            row[name] = coerce_field(column, value)
        elif name == "id" and creating and entity.id_declared and value is not None:
            row[name] = _coerce_id(column, value)
    if must_be_complete:
        check_needed(columns, row)
    # One order, whatever the caller's: bodies with the same fields share one statement.
    order = columns.sort_names(row)
    if order == list(row):
        return row
    return {name: row[name] for name in order}


def _row_as_sent(columns: Columns, values: Mapping[str, Any], *, complete: bool) -> Row | None:
    """Return the row of a body whose values are as their columns store them, else None.

    Fields of the kinds that always need a conversion get it. Raises BadRequest.
    """
    body_fields = columns.bodies.describe(tuple(values))
    if body_fields is None or (complete and not body_fields.complete):
        return None
    row = {name: values[name] for name in body_fields.names}
    try:
        msgspec.convert(row, columns.bodies.struct)
    except msgspec.ValidationError:
        return None
    for name in body_fields.texts:
        if "\0" in (row[name] or ""):
            return None
    for column in body_fields.converted:
        row[column.name] = coerce_field(column, row[column.name])
    return row


def _rows_as_sent(columns: Columns, bodies: Sequence[Mapping[str, Any]]) -> list[Row] | None:
    """Return the rows of bodies with the same fields, where they can be converted together."""
    names = tuple(bodies[0])
    have_same_fields = {*map(tuple, bodies)} == {names}
    if not names or not have_same_fields:
        return None
    body_fields = columns.bodies.describe(names)
    if body_fields is None or not body_fields.complete:
        return None
    try:
        msgspec.convert(bodies, list[columns.bodies.struct])
    except msgspec.ValidationError:
        return None
    for name in body_fields.texts:
        texts = filter(None, map(itemgetter(name), bodies))
        if "\0" in "".join(texts):
            return None
    if body_fields.converted:
        return _convert_rows(body_fields, bodies)
    if body_fields.names == names:  # nothing changes a row in place
        return cast("list[Row]", [*bodies])
    return [{name: values[name] for name in body_fields.names} for values in bodies]


def _convert_rows(body_fields: BodyFields, bodies: Sequence[Mapping[str, Any]]) -> list[Row] | None:
    """Return the rows of bodies of which only `converted` fields are not as they were sent."""
    names = body_fields.names
    values: dict[str, Sequence[Any]] = {name: [*map(itemgetter(name), bodies)] for name in names}
    for column in body_fields.converted:
        converted = convert_column(column, values[column.name])
        if converted is None:
            return None
        values[column.name] = converted
    return [dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)]


def check_needed(columns: Columns, row: Mapping[str, Any]) -> None:
    """Raise BadRequest where a record cannot be created from a row."""
    for column in columns.bodies.needed:
        if column.name not in row:
            raise BadRequest(f"{column.label} is required")


def allowed_values(field: Field) -> str:
    """Say which values an enum allows."""
    return f" must be one of {', '.join(field.enum_values)}"


def coerce_field(column: Column, value: Any) -> Any:
    """Return a value of a body as its column stores it. Raises BadRequest."""
    field = column.field
    if field is None:
        return None if value is None else _coerce_id(column, value)
    stored = column.coerce(value)
    if stored is None and not column.nullable:
        raise BadRequest(f"{column.label} is required")
    is_enum = field.enum_values and column.kind == "text"
    if stored is not None and is_enum and stored not in field.enum_values:
        raise BadRequest(f"{column.label}{allowed_values(field)}")
    return stored


def _coerce_id(column: Column, value: Any) -> str:
    """Refuse an id that no route reaches: its record could be neither read nor deleted."""
    chosen: str = column.coerce(value)
    if not chosen:
        raise BadRequest(f"{column.label} must not be empty")
    if len(chosen) > MAX_ID_LENGTH:
        raise BadRequest(f"{column.label} must have at most {MAX_ID_LENGTH} characters")
    if chosen in UNREACHABLE_IDS:
        raise BadRequest(f"{column.label} must not be {chosen!r}, which no path can name")
    return chosen


def name_place(place: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run work for one of several rows; an error names its place."""
    try:
        return work(*args, **kwargs)
    except KernelError as error:
        raise add_place(error, place) from None


def add_place(error: KernelError, place: int) -> KernelError:
    """Name the place of a row in an error."""
    error.message = f"[{place}] {error.message}"
    error.args = (error.message,)
    return error
