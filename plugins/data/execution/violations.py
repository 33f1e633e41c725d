"""Describes violated constraints of the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kernel.public import (
    FILE_SIZE_RULE,
    FILE_TYPE_RULE,
    BadRequest,
    ConstraintViolation,
    Entity,
    Field,
    FileRule,
)
from plugins.data.values.rows import allowed_values

_NOT_NULL: Final = "23502"
_FOREIGN_KEY: Final = ("23503", "23001")
_UNIQUE: Final = "23505"
_CHECK: Final = "23514"


def describe_violation(violation: ConstraintViolation, entity: Entity) -> BadRequest:
    """Name the field of `entity` that is wrong, and why."""
    if violation.table != entity.name:
        return BadRequest(f"{entity.name}: {violation.message}")
    names = _list_field_names(violation, entity)
    if violation.sqlstate == _UNIQUE:
        return already_taken(entity, names)
    field = _find_field(entity, names)
    return BadRequest(f"{_name_fields(entity, names)}{_describe_reason(violation, field)}")


def already_taken(entity: Entity, names: Sequence[str]) -> BadRequest:
    """Say that another record has the values of a unique index."""
    noun = "combination" if len(names) > 1 else "value"
    return BadRequest(f"{_name_fields(entity, names)}: this {noun} is already taken")


def no_such_record(entity: Entity, name: str) -> BadRequest:
    """Say that a link leads to no record."""
    field = _find_field(entity, (name,))
    return BadRequest(f"{_name_fields(entity, (name,))}{_describe_missing_target(field)}")


def _find_field(entity: Entity, names: Sequence[str]) -> Field | None:
    """Return the first of some fields, None where none exists for the caller."""
    for field in entity.fields:
        if field.name in names:
            return field
    return None


def _name_fields(entity: Entity, names: Sequence[str]) -> str:
    """Name the fields of `names` that exist for the caller."""
    fields = {"id", "created_at", "updated_at", *(field.name for field in entity.fields)}
    shown = [name for name in names if name in fields]
    return f"{entity.name}.{', '.join(shown)}" if shown else entity.name


def _describe_reason(violation: ConstraintViolation, field: Field | None) -> str:
    if violation.sqlstate == _NOT_NULL:
        return " is required"
    if field is not None and field.file is not None:
        return _describe_file(violation, field.file)
    if violation.sqlstate in _FOREIGN_KEY and field is not None and field.references is not None:
        return _describe_missing_target(field)
    if violation.sqlstate == _CHECK and field is not None and field.enum_values:
        return allowed_values(field)
    return f": {violation.message}"


def _describe_file(violation: ConstraintViolation, rule: FileRule) -> str:
    """Say what a field of managed files takes."""
    if violation.constraint == FILE_SIZE_RULE:
        return f": a file of at most {rule.max_size} bytes is wanted"
    if violation.constraint == FILE_TYPE_RULE:
        return f": a file of type {', '.join(rule.types)} is wanted"
    return ": no such file"


def _list_field_names(violation: ConstraintViolation, entity: Entity) -> tuple[str, ...]:
    if violation.column:
        return (violation.column,)
    return entity.constraints.get(violation.constraint, ())


def _describe_missing_target(field: Field | None) -> str:
    if field is not None and field.file is not None:
        return ": no such file"
    if field is None or field.references is None:  # a field that does not exist for the caller
        return ": a value breaks a rule of the table"
    entity = field.references.entity
    return ": no such user" if entity == "core:users" else f": no such {entity} record"


def is_broken_link(violation: ConstraintViolation) -> bool:
    """Whether a link has no target, or a delete would take it away."""
    return violation.sqlstate in _FOREIGN_KEY


def describe_reference(
    violation: ConstraintViolation, entity: Entity, referrer: Entity | None, record_id: str
) -> BadRequest:
    """Say which field refers to a record that cannot be deleted.

    `referrer` is the entity of that field as the caller reads it, None where it does not exist for
    the caller. It can be `entity` itself.
    """
    shown_referrer = "another record"
    if referrer is not None:
        readable = {field.name for field in referrer.fields}
        names = [name for name in _list_field_names(violation, referrer) if name in readable]
        if names:
            shown_referrer = f"{referrer.name}.{names[0]}"
    message = f"{entity.name} record '{record_id}' is still referred to by {shown_referrer}"
    return BadRequest(message)
