"""Describes violated constraints of the database, and finds the row of a bulk that violates one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from kernel.public import Actor, BadRequest, ConstraintViolation, Entity, Field, Transaction, Work
from plugins.data.store import NO_SETTINGS

from .inserts import Insert, insert_one
from .rows import allowed_values, params_of, with_id

_NOT_NULL: Final = "23502"
_FOREIGN_KEY: Final = ("23503", "23001")
_UNIQUE: Final = "23505"
_CHECK: Final = "23514"


class Deletion(msgspec.Struct, frozen=True):
    """A delete that the database refused, and who asked for it."""

    actor: Actor
    record_id: str


def describe_violation(violation: ConstraintViolation, entity: Entity) -> BadRequest:
    """Name the field of `entity` that is wrong, and why."""
    if violation.table != entity.name:
        return BadRequest(f"{entity.name}: {violation.message}")
    names = _fields(violation, entity)
    if violation.sqlstate == _UNIQUE:
        return already_taken(entity, names)
    field = next((field for field in entity.fields if field.name in names), None)
    return BadRequest(f"{_label(entity, names)}{_reason(violation, field)}")


def already_taken(entity: Entity, names: Sequence[str]) -> BadRequest:
    """Say that another record has the values of a unique index."""
    what = "combination" if len(names) > 1 else "value"
    return BadRequest(f"{_label(entity, names)}: this {what} is already taken")


def no_such_record(entity: Entity, name: str) -> BadRequest:
    """Say that a link leads to no record."""
    field = next((field for field in entity.fields if field.name == name), None)
    return BadRequest(f"{_label(entity, (name,))}{_no_such(field)}")


def _label(entity: Entity, names: Sequence[str]) -> str:
    """Name the fields of `names` that exist for the caller."""
    fields = {"id", "created_at", "updated_at", *(field.name for field in entity.fields)}
    shown = [name for name in names if name in fields]
    return f"{entity.name}.{', '.join(shown)}" if shown else entity.name


def _reason(violation: ConstraintViolation, field: Field | None) -> str:
    if violation.sqlstate == _NOT_NULL:
        return " is required"
    if violation.sqlstate in _FOREIGN_KEY and field is not None and field.references is not None:
        return _no_such(field)
    if violation.sqlstate == _CHECK and field is not None and field.enum_values:
        return allowed_values(field)
    return f": {violation.message}"


def _fields(violation: ConstraintViolation, entity: Entity) -> tuple[str, ...]:
    if violation.column:
        return (violation.column,)
    return entity.constraints.get(violation.constraint, ())


def _no_such(field: Field | None) -> str:
    if field is None or field.references is None:  # a field that does not exist for the caller
        return ": a value breaks a rule of the table"
    entity = field.references.entity
    return ": no such user" if entity == "core:users" else f": no such {entity} record"


def is_reference(violation: ConstraintViolation) -> bool:
    """Whether a link has no target, or a delete would take it away."""
    return violation.sqlstate in _FOREIGN_KEY


def describe_reference(
    violation: ConstraintViolation, entity: Entity, referrer: Entity | None, record_id: str
) -> BadRequest:
    """Say which field refers to a record that cannot be deleted.

    `referrer` is the entity of that field as the caller reads it, None where it does not exist for
    the caller. It can be `entity` itself.
    """
    by = "another record"
    if referrer is not None:
        readable = {field.name for field in referrer.fields}
        names = [name for name in _fields(violation, referrer) if name in readable]
        by = f"{referrer.name}.{names[0]}" if names else by
    return BadRequest(f"{entity.name} record '{record_id}' is still referred to by {by}")


class FailedRow(Exception):
    """The row of a bulk that violates a constraint."""

    def __init__(self, index: int, violation: ConstraintViolation) -> None:
        super().__init__(index)
        self.index = index
        self.violation = violation


class _AllInserted(Exception):
    """Every row could be inserted this time. Raised to roll the inserts back."""


async def find_failed_row(
    run: Callable[[Actor, Work[None]], Awaitable[None]], actor: Actor, insert: Insert
) -> FailedRow | None:
    """Insert the rows one by one and roll back. PostgreSQL does not report which row failed.

    `run` runs work in a transaction. Return None where all of them can be inserted now.
    """
    try:
        await run(actor, partial(_insert_each, insert=insert))
    except FailedRow as found:
        return found
    except _AllInserted:
        pass
    return None


async def _insert_each(tx: Transaction, *, insert: Insert) -> None:
    table, rows = insert.table, insert.rows
    links = [
        field.name
        for field in table.entity.fields
        if field.references is not None and field.references.entity == table.entity.name
    ]
    positions = {row["id"]: index for index, row in enumerate(rows) if row.get("id") is not None}
    for index, each in enumerate(rows):
        forward = [name for name in links if positions.get(each.get(name), -1) > index]
        row = with_id(each)
        # Links to later rows point at the row itself: in a single statement they are valid.
        row = {**row, **dict.fromkeys(forward, row["id"])}
        values = await params_of(table.columns, row)
        statement, params = insert_one(insert, tuple(row), [NO_SETTINGS, *values, tx.actor.user_id])
        try:
            await tx.execute(statement, *params)
        except ConstraintViolation as violation:
            raise FailedRow(index, violation) from None
    raise _AllInserted
