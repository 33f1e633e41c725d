"""One field of a manifest."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from kernel.public import BadRequest, Field, FieldType, OnDelete, Reference

from .access import read_access
from .files import MANAGED, read_file_rule
from .hints import read_hints
from .problems import Part
from .types import ALIASES, COLUMN_TYPES, read_default

LinkTargets = dict[str, str]
"""Entities that links may name, with the types of their ids; `core:users` among them."""

SERVER_COLUMNS: Final = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
"""System columns of PostgreSQL in every table (its manual, 5.6)."""

_ON_DELETE: Final[dict[str, OnDelete]] = {
    "cascade": "cascade",
    "restrict": "restrict",
    "set_null": "set_null",
}


def read_id(part: Part) -> str:
    """Read a declared `id` and return its column type."""
    part.flag("required")
    if part.get("is_primary_key") not in (None, True):
        part.problem("is_primary_key", "id is the primary key of every entity")
    for name in ("default_value", "references", "on_delete", "enum_values", "unchecked"):
        if part.get(name) not in (None, [], False):
            part.problem(name, "is not for the field 'id'")
    kind = part.get("type")
    if kind in ("text", "string"):
        return "text"
    if kind != "uuid":
        part.problem("type", f"a primary key is of type uuid or text, not {kind!r}")
    return "uuid"


def read_field(part: Part, name: str, targets: LinkTargets) -> Field:
    """Read a field other than `id` and report what is wrong with it."""
    if part.flag("is_primary_key"):
        part.problem("is_primary_key", f"a primary key is called id, not {name!r}")
    kind = _read_kind(part)
    required = part.flag("required")
    reference = _reference(part, kind, targets)
    on_delete = _read_on_delete(part, kind, required)
    enum_values = _read_enum_values(part, kind)
    file_rule = read_file_rule(part, kind)
    sql_type: str = COLUMN_TYPES[kind]
    if reference is not None:
        sql_type = targets[reference.entity]
    default = None
    if file_rule is not None:
        sql_type = MANAGED[kind]
        _refuse_default(part)
    else:
        default = _read_default(part, kind, sql_type, enum_values)
    return Field(
        name=name,
        type=kind,
        sql_type=sql_type,
        required=required,
        default=default,
        enum_values=enum_values,
        references=reference,
        on_delete=on_delete,
        unchecked=_read_unchecked(part, kind),
        access=read_access(part),
        file=file_rule,
        hints=read_hints(part, kind, enum_values),
    )


def _read_kind(part: Part) -> FieldType:
    value = part.get("type")
    if isinstance(value, str) and value in ALIASES:
        return ALIASES[value]
    if value is None:
        part.problem("type", "is required")
    else:
        known_types = ", ".join(COLUMN_TYPES)
        part.problem("type", f"unknown type {str(value)[:80]!r}, known are {known_types}")
    return "text"


def _reference(part: Part, kind: FieldType, targets: LinkTargets) -> Reference | None:
    inner = part.part("references")
    if kind != "entity_link":
        if inner is not None:
            part.problem("references", "is for fields of type entity_link only")
        return None
    if inner is None:
        if part.get("references") is None:
            part.problem("references", "is required for an entity_link")
        return None
    entity = inner.text("entity")
    if inner.text("field", "id") != "id":
        inner.problem("field", "a link goes to the field 'id'")
    if entity in targets:
        return Reference(entity)
    if ":" in entity:
        inner.problem("entity", f"{entity[:80]!r}: beyond the app only core:users can be linked")
    else:
        inner.problem("entity", f"there is no entity {entity[:80]!r} in this manifest")
    return None


def _read_on_delete(part: Part, kind: FieldType, required: bool) -> OnDelete:
    value = part.get("on_delete")
    default: OnDelete = "set_null"
    if required and kind == "entity_link":
        default = "restrict"
    if value is None:
        return default

    action = ""
    if isinstance(value, str):
        action = value.lower().replace(" ", "_")
    if action not in _ON_DELETE:
        part.problem("on_delete", f"must be one of {', '.join(_ON_DELETE)}")
    elif kind != "entity_link":
        part.problem("on_delete", "is for fields of type entity_link only")
    elif required and action == "set_null":
        part.problem("on_delete", "a required link cannot be set to null")
    return _ON_DELETE.get(action, default)


def _read_unchecked(part: Part, kind: FieldType) -> bool:
    unchecked = part.flag("unchecked")
    if unchecked and kind != "entity_link":
        part.problem("unchecked", "is for fields of type entity_link only")
    return unchecked


def _read_enum_values(part: Part, kind: FieldType) -> tuple[str, ...]:
    values = part.texts("enum_values")
    if values and kind not in ("text", "[text]"):
        part.problem("enum_values", "is for fields of type text and [text] only")
        return ()
    return values


def _refuse_default(part: Part) -> None:
    """Report a default of a managed file: every record would hold that one file."""
    if part.get("default_value") is not None:
        part.problem("default_value", "is not for a managed file")


def _read_default(part: Part, kind: FieldType, sql_type: str, enum_values: tuple[str, ...]) -> Any:
    declared = part.get("default_value")
    if declared is None:
        return None
    try:
        value = read_default(kind, declared, sql_type)
        size = len(msgspec.json.encode(value))
    except (BadRequest, ValueError):
        part.problem("default_value", f"{str(declared)[:80]!r} is no {kind}")
        return None
    if size > 64_000:  # each record that leaves the field out stores its own copy
        part.problem("default_value", f"must be at most 64000 bytes of JSON, not {size}")
    if enum_values and not _items_of(value) <= set(enum_values):
        part.problem("default_value", f"must be one of {', '.join(enum_values)}"[:300])
    return value


def _items_of(value: Any) -> set[Any]:
    if isinstance(value, list):
        return set(cast("list[Any]", value))
    return {value}
