"""The entities of an app as the server shows them to the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

Kind = Literal[
    "text", "number", "boolean", "date", "timestamp", "json", "uuid", "texts", "numbers", "file",
    "files",
]  # fmt: skip
KINDS: Mapping[str, Kind] = {
    "text": "text",
    "number": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "json": "json",
    "uuid": "uuid",
    "entity_link": "uuid",
    "[text]": "texts",
    "[number]": "numbers",
}


class FieldType(msgspec.Struct, frozen=True, kw_only=True):
    """A field: the kind of its values, and what a create or an update may leave out."""

    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    """The allowed texts, where they are few."""
    required: bool = False
    has_default: bool = False
    read_only: bool = False
    target: str = ""
    """The entity that a link refers to, if the caller can see it."""


class EntityType(msgspec.Struct, kw_only=True):
    """An entity with the name of its types."""

    name: str
    type_name: str
    id_kind: Kind
    id_declared: bool
    fields: list[FieldType]
    relations: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """`<entity>_via_<field>` of the links to this entity, with the entity that has the link."""


def read_entities(app: Mapping[str, Any]) -> list[EntityType]:
    """Return the entities of an app from the reply of `GET /api/v1/apps/{appId}`."""
    names = {entity["name"] for entity in app["entities"]}
    type_names = set[str]()
    entities = [_entity(entity, names, type_names) for entity in app["entities"]]
    by_name = {entity.name: entity for entity in entities}
    for entity in entities:
        for field in entity.fields:
            if field.target:
                by_name[field.target].relations[f"{entity.name}_via_{field.name}"] = entity.name
    return entities


def _entity(shown: Mapping[str, Any], names: set[str], type_names: set[str]) -> EntityType:
    fields = [_field(field, names) for field in shown["fields"] if field["name"] != "id"]
    return EntityType(
        name=shown["name"],
        type_name=_type_name(shown["name"], type_names),
        id_kind=KINDS.get(shown["id_type"], "text"),
        id_declared=bool(shown["id_declared"]),
        fields=fields,
    )


def _field(shown: Mapping[str, Any], names: set[str]) -> FieldType:
    target = shown.get("references") or ""
    return FieldType(
        name=shown["name"],
        kind=_kind(shown),
        values=tuple(shown.get("enum_values") or ()),
        required=bool(shown["required"]),
        has_default=shown.get("default") is not None,
        read_only=bool(shown.get("generated")),
        target=target if target in names else "",
    )


def _kind(shown: Mapping[str, Any]) -> Kind:
    """Return the kind of a field. A file field that declares no limits holds any text."""
    declared = shown["type"]
    is_managed = shown.get("maxSize") is not None or bool(shown.get("types"))
    if declared == "file":
        return "file" if is_managed else "text"
    if declared == "[file]":
        return "files"
    return KINDS.get(declared, "json")


def _type_name(entity: str, type_names: set[str]) -> str:
    """Return a name in CamelCase; two entities never share one."""
    base = "".join(word.capitalize() for word in entity.split("_") if word)
    name = base
    number = 2
    while name in type_names:
        name = f"{base}{number}"
        number += 1
    type_names.add(name)
    return name


def visible_names(entities: Sequence[EntityType]) -> dict[str, str]:
    """Return the type name of each entity."""
    return {entity.name: entity.type_name for entity in entities}
