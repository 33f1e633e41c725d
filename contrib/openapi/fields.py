"""The fields of an entity as schemas: to read, create, change and query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from kernel.public import Entity, Field, OnDelete, Reference

from .models import Schema, closed
from .schemas import PREFIX

_TEXT: Final[Schema] = {"type": "string"}
_UUID: Final[Schema] = {"type": "string", "format": "uuid"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_TYPES: Final[Mapping[str, Schema]] = {
    "text": _TEXT,
    "file": _TEXT,
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "timestamp": _TIME,
    "json": {},
    "uuid": _UUID,
    "[text]": {"type": "array", "items": _TEXT},
    "[number]": {"type": "array", "items": {"type": "number"}},
}
_LISTS: Final = ("[text]", "[number]")
_RELATIONS: Final = (("$has",), ("$some", "$none"))
"""Filters by a link, and by a reverse link."""
_ORDERED: Final = ("$gt", "$gte", "$lt", "$lte")


class Link(NamedTuple):
    """A way to records of an entity, or to users (`""`); `reverse` by their links to this one."""

    entity: str
    reverse: bool = False


def type_of(field: Field) -> str:
    """Return the type by which a field is filtered: for a link, the type of the linked id."""
    if field.type == "entity_link":
        return "uuid" if field.sql_type == "uuid" else "text"
    return "text" if field.type == "file" else field.type


def columns(entity: Entity) -> dict[str, str]:
    """Return name and type of each member of a record, in order."""
    fields = {field.name: type_of(field) for field in entity.fields}
    return {"id": entity.id_type, **fields, "created_at": "timestamp", "updated_at": "timestamp"}


def shapes(entity: Entity, links: Mapping[str, Link]) -> dict[str, Schema]:
    """The schemas of an entity by the name of the shape; `links` are those of the caller."""
    return {
        "Record": _record(entity, links), "NewRecord": _new(entity),
        "RecordChanges": _changes(entity), "Where": _where(entity, links),
    }  # fmt: skip


def links_of(entity: Entity, readable: Iterable[Entity]) -> dict[str, Link]:
    """Find the links from an entity, and those to it, to entities that the caller may read."""
    others = list(readable)
    names = {each.name for each in others}
    found = {
        f"{each.name}_via_{field.name}": Link(each.name, reverse=True)
        for each in others
        for field in each.fields
        if field.references is not None and field.references.entity == entity.name
    }
    for field in entity.fields:
        found.pop(field.name, None)
        if field.references is not None:
            target = field.references.entity
            if target in names or ":" in target:  # `core:users` is of no app
                found[field.name] = Link(target if target in names else "")
    return found


def sort_field(entity: Entity) -> Schema:
    """Return the fields that an entity's records can be sorted by."""
    return {"type": "string", "enum": list(columns(entity))}


def filters(entity: Entity, taken: frozenset[str]) -> dict[str, Schema]:
    """Return the filters of a list; a field with the name of a parameter has none."""
    return {
        name: _TYPES[kind]
        for name, kind in columns(entity).items()
        if name not in taken and kind not in _LISTS and kind != "json"
    }


def operators() -> dict[str, Schema]:
    """Return the operators of a where-tree by the type of a field, for every entity."""
    kinds = {name: schema for name, schema in _TYPES.items() if name != "file"}
    return {where_name(kind): _asked(kind, schema) for kind, schema in kinds.items()}


def where_name(kind: str) -> str:
    """The name of the component with the operators of a type."""
    return f"Where.{kind.strip('[]')}{'s' if kind in _LISTS else ''}"


def _record(entity: Entity, links: Mapping[str, Link]) -> Schema:
    linked = {name: _linked(link) for name, link in links.items()}
    said = "Linked records, by the links of `expand`."
    properties = {
        "expand": {"type": "object", "description": said, "properties": linked},
        "_etag": {"type": "string", "description": "The entity tag, in lists with `etag`."},
        "id": _TYPES[entity.id_type],
        **{field.name: _value(field) for field in entity.fields},
        "created_at": _TIME,
        "updated_at": _TIME,
    }
    said = f"A record of {entity.name}; with `fields` it has only these."
    return closed(properties, description=said, required=["id"])


def _linked(link: Link) -> Schema:
    """A linked record, or null; of a reverse link an array of them."""
    record = _reference(link, "Record")
    if link.reverse:
        return {"type": "array", "items": record}
    return {"anyOf": [record, {"type": "null"}]}


def _reference(link: Link, shape: str) -> Schema:
    return {"$ref": f"{PREFIX}{link.entity}.{shape}"} if link.entity else {"type": "object"}


def _new(entity: Entity) -> Schema:
    needed = [field.name for field in entity.fields if field.required and field.default is None]
    chosen = {"id": _TYPES[entity.id_type]} if entity.id_declared else {}
    properties = {**chosen, **{field.name: _given(field) for field in _writable(entity)}}
    required = {"required": needed} if needed else {}
    said = f"Values of a new record of {entity.name}."
    return closed(properties, description=said, minProperties=1, **required)


def _changes(entity: Entity) -> Schema:
    properties = {field.name: _value(field) for field in _writable(entity)}
    said = f"New values of a record of {entity.name}; what is left out stays."
    return closed(properties, description=said, minProperties=1)


def _writable(entity: Entity) -> list[Field]:
    return [field for field in entity.fields if field.generated is None]


def _given(field: Field) -> Schema:
    default = {} if field.default is None else {"default": field.default}
    return _value(field) | default


def _value(field: Field) -> Schema:
    """Describe a field's value; null for an optional field."""
    schema: Schema = {"readOnly": True} if field.generated is not None else {}
    schema |= _TYPES[type_of(field)]
    if field.references is not None:
        schema |= _link(field.references, field.on_delete)
    if field.enum_values and field.type == "[text]":
        schema["items"] = {"type": "string", "enum": list(field.enum_values)}
    elif field.enum_values:
        schema["enum"] = list(field.enum_values)
    return schema if field.required or field.type == "json" else _nullable(schema)


def _link(target: Reference, on_delete: OnDelete) -> Schema:
    gone = {"cascade": "goes with it", "restrict": "keeps it", "set_null": "loses the link"}
    return {
        "description": f"The {target.field} of a record of {target.entity}; "
        f"this one {gone[on_delete]}.",
        "x-references": {"entity": target.entity, "field": target.field, "onDelete": on_delete},
    }


def _nullable(schema: Schema) -> Schema:
    more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | {"type": [schema["type"], "null"]} | more


def _where(entity: Entity, links: Mapping[str, Link]) -> Schema:
    itself = {"$ref": f"{PREFIX}{entity.name}.Where"}
    asked: dict[str, Schema] = {
        name: {"$ref": PREFIX + where_name(kind)} for name, kind in columns(entity).items()
    }
    for name, link in links.items():
        about = dict.fromkeys(_RELATIONS[link.reverse], _reference(link, "Where"))
        filtered = closed(about, minProperties=1)
        asked[name] = filtered if link.reverse else {"anyOf": [asked[name], filtered]}
    several = {"type": "array", "items": itself}
    said = f"Which records of {entity.name}: all that is named must hold."
    return closed(asked | {"$and": several, "$or": several, "$not": itself}, description=said)


def _asked(kind: str, value: Schema) -> Schema:
    """A value, or an object of operators."""
    or_null = value if kind == "json" else _nullable(dict(value))
    known: dict[str, Any] = {"$eq": or_null, "$ne": or_null, "$isNull": {"type": "boolean"}}
    if kind in ("json", *_LISTS):
        known["$contains"] = value
    if kind not in _LISTS:
        known |= {name: {"type": "array", "items": or_null} for name in ("$in", "$nin")}
    if kind not in ("boolean", "json", *_LISTS):
        known |= dict.fromkeys(_ORDERED, value)
    if kind == "text":
        known |= dict.fromkeys(("$like", "$ilike"), value)
    asked = closed(known, minProperties=1)
    if kind == "json":
        return {"description": "JSON that a field equals, or operators.", "anyOf": [asked, {}]}
    return {"description": f"A value ({kind}), null, or operators.", "anyOf": [or_null, asked]}
