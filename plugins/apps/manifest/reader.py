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
from .hints import read_label
from .problems import Part, Problems, make_part
from .sections import NO_SECTIONS, Sections

MAX_BYTES: Final = 1_000_000
MAX_ENTITIES: Final = 200
MAX_FIELDS: Final = 500
MAX_FORMER_NAMES: Final = 50

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
    problem = app_id_problem(app_id)
    if problem:
        problems.add("appId", problem)
    if not isinstance(app_id, str):
        app_id = ""
    if top.get("name") is None:
        problems.add("name", "is required")

    drafts = _read_entities(top, app_id)
    permissions = _read_permissions(top)
    top.text("description")
    manifest = Manifest(
        app_id=app_id,
        name=top.title("name", "app"),
        version=top.title("version", "0.0.1", 100),
        type=top.title("type", "app", 100),
        icon=top.text("icon") or None,
        entities=tuple(draft.entity for draft in drafts),
        indexes={draft.entity.name: draft.indexes for draft in drafts},
        permissions=permissions,
        was={path: was for draft in drafts for path, was in draft.was.items() if was},
        ignored=tuple(top.unread({*INERT_KEYS, *sections.keys})[:100]),
        raw=raw,
    )
    for path, sentence in sections.problems(raw):
        problems.add(path, sentence)
    problems.raise_any()
    return manifest


class _Draft(msgspec.Struct):
    entity: Entity
    indexes: tuple[Index, ...]
    was: Mapping[str, tuple[str, ...]]


def _read_entities(top: Part, app_id: str) -> list[_Draft]:
    parts = top.parts("dataContract", MAX_ENTITIES)
    targets = _find_link_targets(parts)
    drafts: dict[str, _Draft] = {}
    for part in parts:
        name = part.get("entityName")
        if name is None:
            part.problem("entityName", "is required")
        elif not is_identifier(name):
            part.problem("entityName", _describe_bad_name(name))
        elif name in drafts:
            part.problem("entityName", f"the entity {name!r} is declared twice")
        if not isinstance(name, str):
            name = ""
        draft = _read_entity(part, app_id, name, targets)
        drafts.setdefault(draft.entity.name, draft)
    return list(drafts.values())


def _find_link_targets(parts: Sequence[Part]) -> LinkTargets:
    """Find the entities that may be linked to, and the types of their ids."""
    targets: LinkTargets = {"core:users": "uuid"}
    for part in parts:
        fields: object = part.get("fields")
        name: object = part.get("entityName")
        if not isinstance(name, str):
            continue
        targets[name] = "uuid"
        if isinstance(fields, list):
            targets[name] = _find_id_type(cast("list[Any]", fields))
    return targets


def _find_id_type(items: Sequence[Any]) -> str:
    """Return the type of the declared `id`; its problems are reported with those of the entity."""
    ignored_problems = Problems()
    for item in items:
        part = make_part(item, "", ignored_problems)
        if part is not None and part.get("name") == "id":
            return read_id(part)
    return "uuid"


def _read_entity(part: Part, app_id: str, name: str, targets: LinkTargets) -> _Draft:
    fields: dict[str, Field] = {}
    parts: dict[str, Part] = {}
    items = part.parts("fields", MAX_FIELDS)
    id_type = "uuid"
    id_declared = False
    for item in items:
        field_name = item.get("name")
        if field_name in ("created_at", "updated_at"):
            _read_quietly(item)
        elif field_name == "id":
            if id_declared:
                item.problem("name", "the field 'id' is declared twice")
            id_type = read_id(item)
            id_declared = True
        elif field_name is None:
            item.problem("name", "is required")
        elif not is_identifier(field_name):
            item.problem("name", _describe_bad_name(field_name))
        elif field_name in SERVER_COLUMNS:
            item.problem("name", f"{field_name!r} is a column of the database itself")
        elif field_name in fields:
            item.problem("name", f"the field {field_name!r} is declared twice")
        else:
            fields[field_name] = read_field(item, field_name, targets)
            parts[field_name] = item

    # Expressions may refer to fields that are declared after them.
    generated = [
        field_name for field_name in fields if parts[field_name].get("generated") is not None
    ]
    plain_fields = {
        field_name: field for field_name, field in fields.items() if field_name not in generated
    }
    for field_name in generated:
        field = fields[field_name]
        fields[field_name] = read_generated(parts[field_name], field, plain_fields)

    entity = Entity(
        app_id=app_id,
        name=name,
        id_type="text" if id_type == "text" else "uuid",
        id_declared=id_declared,
        fields=tuple(fields.values()),
        search=read_search(part, fields),
        label=read_label(part),
    )
    columns = {"id", "created_at", "updated_at", *fields}
    files = frozenset(field.name for field in fields.values() if field.file is not None)
    was = {name: read_former_names(part)}
    was |= {f"{name}.{field}": read_former_names(item) for field, item in parts.items()}
    return _Draft(entity, _read_indexes(part, columns, files), was)


def read_former_names(part: Part) -> tuple[str, ...]:
    """Read `was`: a name, or a list of names."""
    declared = part.get("was")
    names: list[object] = [declared]
    if isinstance(declared, list):
        names = cast("list[object]", declared)
    elif declared is None:
        return ()
    if len(names) > MAX_FORMER_NAMES or not all(is_identifier(name) for name in names):
        part.problem("was", f"must be a former name, or a list of at most {MAX_FORMER_NAMES}")
        return ()
    # As it is written: a name that comes twice is a part of the history.
    return tuple(cast("list[str]", names))


def _read_quietly(item: Part) -> None:
    """Mark the members of a field that the server owns as read; it is ignored."""
    for name in ("type", "required", "default_value", "enum_values", "references", "on_delete",
                 "unchecked", "is_primary_key", "access", "generated", "max_size",
                 "types", "was", "label", "format", "currency", "width", "colours"):  # fmt: skip
        item.get(name)


def _read_indexes(
    part: Part, known_columns: Collection[str], files: frozenset[str]
) -> tuple[Index, ...]:
    indexes: dict[tuple[object, ...], Index] = {}
    names: set[str] = set()
    for item in part.parts("indexes"):
        members = item.names_and_parts("columns", 32)  # PostgreSQL's INDEX_MAX_KEYS
        if _is_beyond_columns(item, members):
            item.leave_unused()
            continue
        columns = [_name_of_column(member) for member in members]
        if not columns:
            item.problem("columns", "must name at least one field")
        for column in columns:
            if not isinstance(column, str) or column not in known_columns:
                item.problem("columns", f"there is no field {column!r}")
            elif columns.count(column) > 1:
                item.problem("columns", f"{column!r} is named twice")
                break
        is_unique = item.flag("unique")
        if is_unique and not files.isdisjoint(map(str, columns)):
            item.problem("unique", "is not for a managed file")
        name = item.text("name", longest=63)
        if name and name in names:
            item.problem("name", f"the index {name!r} is declared twice")
        names.add(name)
        index = Index(columns=tuple(str(column) for column in columns), unique=is_unique, name=name)
        indexes.setdefault((index.columns, index.unique), index)
    return tuple(indexes.values())


def _is_beyond_columns(item: Part, members: Sequence[Any]) -> bool:
    """Whether an index is of an expression, or of another method than a B-tree.

    Such an index is stored with the manifest, and not made.
    """
    has_expression = any(
        isinstance(member, Part) and member.get("expr") is not None for member in members
    )
    return has_expression or item.get("using") not in (None, "btree")


def _name_of_column(member: Any) -> Any:
    """Return the name in `columns`, or in an object there: `{"column": "title", "sort": "desc"}`.

    A B-tree is read in both directions, so that the order of one column is left out.
    """
    return member.get("column") if isinstance(member, Part) else member


def _read_permissions(top: Part) -> tuple[Permission, ...]:
    """Read the list `permissions`, or the one in an object of that name."""
    owner: Part | None = top
    if isinstance(top.get("permissions"), dict):
        owner = top.part("permissions")
    parts: list[Part] = []
    if owner is not None:
        parts = owner.parts("permissions")

    permissions: dict[str, Permission] = {}
    for part in parts:
        key = part.get("key")
        if not isinstance(key, str) or not PERMISSION_KEY.fullmatch(key):
            part.problem("key", _NOT_A_KEY)
        elif key in permissions:
            part.problem("key", f"the permission {key!r} is declared twice")
        else:
            permissions[key] = Permission(key, part.text("description"))
    return tuple(permissions.values())


def _describe_bad_name(value: object) -> str:
    return (
        f"{str(value)[:80]!r} is no name: lower-case letters, digits and _, "
        "beginning with a letter, at most 63 long"
    )
