"""Reads manifests: lenient in spelling, strict in meaning, with all problems at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from kernel.public import PERMISSION_KEY, Entity, Field, Permission
from plugins.apps.models import Index, Manifest
from plugins.apps.names import is_identifier

from .access import read_search
from .fields import SERVER_COLUMNS, LinkTargets, read_field, read_id
from .generated import read_generated
from .problems import Part, Problems, part_of
from .sections import NO_SECTIONS, Sections

MAX_BYTES: Final = 1_000_000
MAX_ENTITIES: Final = 200
MAX_FIELDS: Final = 500

RESERVED: Final = ("core", "schema", "public", "information_schema")
RESERVED_PREFIXES: Final = ("pg_", "caudex_")
INERT_KEYS: Final = ("$schema", "type", "icon", "description")
"""Top-level keys that are known and stored, and have no effect on the server."""

_NOT_A_KEY: Final = (
    "must be words of letters, digits, _ and -, joined by . or :, "
    "beginning with a letter, at most 128 long"
)


def app_id_problem(app_id: object) -> str | None:
    """Return why `app_id` cannot be the id of an app, or None where it can."""
    if app_id is None:
        return "is required"
    if not is_identifier(app_id):
        return "must be lower-case letters, digits and _, begin with a letter, at most 63 long"
    text = cast("str", app_id)
    if text in RESERVED or text.startswith(RESERVED_PREFIXES):
        return f"{text!r} is reserved"
    return None


def read_manifest(raw: Mapping[str, Any], sections: Sections = NO_SECTIONS) -> Manifest:
    """Read a manifest; `sections` are the top-level keys that plugins registered.

    Raises BadRequest that lists everything that is wrong.
    """
    problems = Problems()
    top = Part(raw, "", problems)
    app_id = top.get("appId")
    if problem := app_id_problem(app_id):
        problems.add("appId", problem)
    if top.get("name") is None:
        problems.add("name", "is required")
    app_id = app_id if isinstance(app_id, str) else ""
    drafts = _entities(top, app_id)
    permissions = _permissions(top)
    for name in ("description", "icon"):
        top.text(name)
    manifest = Manifest(
        app_id=app_id,
        name=top.title("name", "app"),
        version=top.title("version", "0.0.1", 100),
        entities=tuple(draft.entity for draft in drafts),
        indexes={draft.entity.name: draft.indexes for draft in drafts},
        permissions=permissions,
        ignored=tuple(top.unread({*INERT_KEYS, *sections.keys})[:100]),
        raw=raw,
    )
    top.title("type", "app", 100)
    for path, sentence in sections.problems(raw):
        problems.add(path, sentence)
    problems.raise_any()
    return manifest


class _Draft(msgspec.Struct):
    entity: Entity
    indexes: tuple[Index, ...]


def _entities(top: Part, app_id: str) -> list[_Draft]:
    parts = top.parts("dataContract", MAX_ENTITIES)
    targets = _link_targets(parts)
    drafts: dict[str, _Draft] = {}
    for part in parts:
        name = part.get("entityName")
        if name is None:
            part.problem("entityName", "is required")
        elif not is_identifier(name):
            part.problem("entityName", _not_a_name(name))
        elif name in drafts:
            part.problem("entityName", f"the entity {name!r} is declared twice")
        draft = _entity(part, app_id, name if isinstance(name, str) else "", targets)
        drafts.setdefault(draft.entity.name, draft)
    return list(drafts.values())


def _link_targets(parts: Sequence[Part]) -> LinkTargets:
    """Find the entities that may be linked to, and the types of their ids."""
    found: LinkTargets = {"core:users": "uuid"}
    for part in parts:
        raw_fields: object = part.get("fields")
        name: object = part.get("entityName")
        if isinstance(name, str):
            items = cast("list[Any]", raw_fields) if isinstance(raw_fields, list) else []
            found[name] = _id_type(items)
    return found


def _id_type(items: Sequence[Any]) -> str:
    quiet = Problems()
    for item in items:
        part = part_of(item, "", quiet)
        if part is not None and part.get("name") == "id":
            return read_id(part)
    return "uuid"


def _entity(part: Part, app_id: str, name: str, targets: LinkTargets) -> _Draft:
    fields: dict[str, Field] = {}
    parts: dict[str, Part] = {}
    items = part.parts("fields", MAX_FIELDS)
    id_type, id_declared = "uuid", False
    for item in items:
        field_name = item.get("name")
        if field_name in ("created_at", "updated_at"):
            _read_quietly(item)
        elif field_name == "id":
            if id_declared:
                item.problem("name", "the field 'id' is declared twice")
            id_type, id_declared = read_id(item), True
        elif field_name is None:
            item.problem("name", "is required")
        elif not is_identifier(field_name):
            item.problem("name", _not_a_name(field_name))
        elif field_name in SERVER_COLUMNS:
            item.problem("name", f"{field_name!r} is a column of the database itself")
        elif field_name in fields:
            item.problem("name", f"the field {field_name!r} is declared twice")
        else:
            fields[field_name] = read_field(item, field_name, targets)
            parts[field_name] = item
    generated = [name for name in fields if parts[name].get("generated") is not None]
    plain = {name: fields[name] for name in fields if name not in generated}
    fields |= {name: read_generated(parts[name], fields[name], plain) for name in generated}
    entity = Entity(
        app_id=app_id,
        name=name,
        id_type="text" if id_type == "text" else "uuid",
        id_declared=id_declared,
        fields=tuple(fields.values()),
        search=read_search(part, fields),
    )
    known = {"id", "created_at", "updated_at", *fields}
    indexes = _indexes(part, known)
    return _Draft(entity, indexes)


def _read_quietly(item: Part) -> None:
    """Mark the members of a field that the server owns as read; it is ignored."""
    for name in ("type", "required", "default_value", "enum_values", "references", "on_delete",
                 "unchecked", "is_primary_key", "access", "generated"):  # fmt: skip
        item.get(name)


def _indexes(part: Part, known: Collection[str]) -> tuple[Index, ...]:
    found: dict[tuple[object, ...], Index] = {}
    names: set[str] = set()
    for item in part.parts("indexes"):
        columns = item.items("columns", 32)  # PostgreSQL's INDEX_MAX_KEYS
        if not columns:
            item.problem("columns", "must name at least one field")
        for column in columns:
            if not isinstance(column, str) or column not in known:
                item.problem("columns", f"there is no field {column!r}")
            elif columns.count(column) > 1:
                item.problem("columns", f"{column!r} is named twice")
                break
        name = item.text("name", longest=63)
        if name and name in names:
            item.problem("name", f"the index {name!r} is declared twice")
        names.add(name)
        index = Index(
            columns=tuple(str(column) for column in columns), unique=item.flag("unique"), name=name
        )
        found.setdefault((index.columns, index.unique), index)
    return tuple(found.values())


def _permissions(top: Part) -> tuple[Permission, ...]:
    given = top.get("permissions")
    if isinstance(given, dict):
        inner = top.part("permissions")
        parts = inner.parts("permissions") if inner else []
    else:
        parts = top.parts("permissions")
    found: dict[str, Permission] = {}
    for part in parts:
        key = part.get("key")
        if not isinstance(key, str) or not PERMISSION_KEY.fullmatch(key):
            part.problem("key", _NOT_A_KEY)
        elif key in found:
            part.problem("key", f"the permission {key!r} is declared twice")
        else:
            found[key] = Permission(key, part.text("description"))
    return tuple(found.values())


def _not_a_name(given: object) -> str:
    return (
        f"{str(given)[:80]!r} is no name: lower-case letters, digits and _, "
        "beginning with a letter, at most 63 long"
    )
