"""What a rule of the database was broken by, in words."""

from __future__ import annotations

from typing import Final

from kernel.public import App, BadRequest, ConstraintViolation, Entity, Field

_NOT_NULL: Final = "23502"
_FOREIGN_KEY: Final = ("23503", "23001")
_UNIQUE: Final = "23505"
_CHECK: Final = "23514"


def in_words(
    breach: ConstraintViolation, app: App, entity: Entity, deleted: str | None
) -> BadRequest:
    """Say which field of `entity` is wrong and why; `deleted` is the id where it was a delete."""
    if breach.sqlstate in _FOREIGN_KEY and deleted is not None:
        return BadRequest(_still_used(breach, app, entity, deleted))
    if breach.table != entity.name:
        return BadRequest(f"{entity.name}: {breach.message}")
    names = _fields(breach, entity)
    label = f"{entity.name}.{', '.join(names)}" if names else entity.name
    field = next((field for field in entity.fields if field.name in names), None)
    return BadRequest(f"{label}{_reason(breach, field, len(names))}")


def one_of(field: Field) -> str:
    """Say what an enum allows."""
    return f" must be one of {', '.join(field.enum_values)}"


def _reason(breach: ConstraintViolation, field: Field | None, fields: int) -> str:
    if breach.sqlstate == _NOT_NULL:
        return " is required"
    if breach.sqlstate == _UNIQUE:
        return ": this combination is already taken" if fields > 1 else _TAKEN
    if breach.sqlstate in _FOREIGN_KEY and field is not None and field.references is not None:
        return f": no such {_records(field.references.entity)}"
    if breach.sqlstate == _CHECK and field is not None and field.enum_values:
        return one_of(field)
    return f": {breach.message}"


_TAKEN: Final = ": this value is already taken"


def _fields(breach: ConstraintViolation, entity: Entity) -> tuple[str, ...]:
    if breach.column:
        return (breach.column,)
    return entity.constraints.get(breach.constraint, ())


def _records(target: str) -> str:
    return "user" if target == "core:users" else f"{target} record"


def _still_used(breach: ConstraintViolation, app: App, entity: Entity, record_id: str) -> str:
    """The table that PostgreSQL names is the one that refers, be it the entity itself."""
    by = app.entities.get(breach.table)
    names = by.constraints.get(breach.constraint, ()) if by else ()
    place = f"{breach.table}.{names[0]}" if names else breach.table or "another record"
    return f"{entity.name} record '{record_id}' is still referred to by {place}"
