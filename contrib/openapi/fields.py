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
_FILE_ID: Final[Schema] = {"type": "string", "format": "uuid", "description": "The id of a file."}
_FILE: Final[Schema] = {
    "type": "object",
    "description": "A file of the app; writes may have its id alone.",
    "required": ["id"],
    "properties": {
        "id": _UUID,
        "name": _TEXT,
        "type": {"type": "string", "description": "The media type that its content has."},
        "size": {"type": "integer", "description": "Bytes."},
    },
}
_FILE_OR_ID: Final[Schema] = {"anyOf": [_FILE_ID, _FILE]}
_MANAGED: Final[Mapping[str, str]] = {"file": "managed_file", "[file]": "[managed_file]"}
"""What fields of managed files are filtered as: a `file` without a rule is text."""
_RELATIONS: Final = (("$has",), ("$some", "$none"))
"""Filters by a link, and by a reverse link."""
_ORDERED: Final = ("$gt", "$gte", "$lt", "$lte")


class Link(NamedTuple):
    """A way to records of an entity, or to users (`""`); `reverse` by their links to this one."""

    entity: str
    reverse: bool = False


def type_of(field: Field) -> str:
    """Return the type by which a field is filtered: for a link, the type of the linked id."""
    if field.file is not None:
        return _MANAGED[field.type]
    if field.type == "file":
        return "text"
    if field.type != "entity_link":
        return field.type
    if field.sql_type == "uuid":
        return "uuid"
    return "text"


def columns(entity: Entity) -> dict[str, str]:
    """Return name and type of each member of a record, in order."""
    fields = {field.name: type_of(field) for field in entity.fields}
    return {"id": entity.id_type, **fields, "created_at": "timestamp", "updated_at": "timestamp"}


def shapes(entity: Entity, links: Mapping[str, Link]) -> dict[str, Schema]:
    """The schemas of an entity by the name of the shape; `links` are those of the caller."""
    return {
        "Record": _record(entity, links),
        "NewRecord": _new(entity),
        "RecordChanges": _changes(entity),
        "Where": _where(entity, links),
        "Group": _group(entity),
    }


def links_of(entity: Entity, readable: Iterable[Entity]) -> dict[str, Link]:
    """Find the links from an entity, and those to it, to entities that the caller may read."""
    links: dict[str, Link] = {}
    readable_names: set[str] = set()
    for source in readable:
        readable_names.add(source.name)
        for field in source.fields:
            if field.references is not None and field.references.entity == entity.name:
                links[f"{source.name}_via_{field.name}"] = Link(source.name, reverse=True)

    for field in entity.fields:
        links.pop(field.name, None)  # a field has precedence over a reverse link of its name
        if field.references is None:
            continue
        target = field.references.entity
        if target in readable_names:
            links[field.name] = Link(target)
        elif ":" in target:  # `core:users` is of no app
            links[field.name] = Link("")
    return links


def sort_field(entity: Entity) -> Schema:
    """Return the fields that an entity's records can be sorted by."""
    return {"type": "string", "enum": list(columns(entity))}


def filters(entity: Entity, reserved: frozenset[str]) -> dict[str, Schema]:
    """Return the filters of a list; a field with the name of a parameter has none."""
    types = {**_TYPES, **dict.fromkeys(_MANAGED.values(), _FILE_ID)}
    return {
        name: types[kind]
        for name, kind in columns(entity).items()
        if name not in reserved and kind not in _LISTS and kind != "json"
    }


def operators() -> dict[str, Schema]:
    """Return the operators of a where-tree by the type of a field, for every entity."""
    kinds = {name: schema for name, schema in _TYPES.items() if name != "file"}
    operators = {where_name(kind): _operators_of(kind, schema) for kind, schema in kinds.items()}
    of_files = _operators_of_files()
    return operators | {where_name(kind): of_files for kind in _MANAGED.values()}


def where_name(kind: str) -> str:
    """The name of the component with the operators of a type."""
    name = f"Where.{kind.strip('[]')}"
    if kind.startswith("["):
        name += "s"
    return name


def _record(entity: Entity, links: Mapping[str, Link]) -> Schema:
    expand = {
        "type": "object",
        "description": "Linked records, by the links of `expand`.",
        "properties": {name: _linked(link) for name, link in links.items()},
    }
    properties = {
        "expand": expand,
        "_etag": {"type": "string", "description": "The entity tag, in lists with `etag`."},
        "id": _TYPES[entity.id_type],
        **{field.name: _value(field, shown=True) for field in entity.fields},
        "created_at": _TIME,
        "updated_at": _TIME,
    }
    description = f"A record of {entity.name}; with `fields` it has only these."
    return closed(properties, description=description, required=["id"])


def _linked(link: Link) -> Schema:
    """A linked record, or null; of a reverse link an array of them."""
    record = _reference(link, "Record")
    if link.reverse:
        return {"type": "array", "items": record}
    return {"anyOf": [record, {"type": "null"}]}


def _reference(link: Link, shape: str) -> Schema:
    if not link.entity:
        return {"type": "object"}
    return {"$ref": f"{PREFIX}{link.entity}.{shape}"}


def _new(entity: Entity) -> Schema:
    properties: Schema = {}
    if entity.id_declared:
        properties["id"] = _TYPES[entity.id_type]
    for field in _writable(entity):
        properties[field.name] = _value(field)
        if field.default is not None:
            properties[field.name]["default"] = field.default

    required = [field.name for field in entity.fields if field.required and field.default is None]
    members: Schema = {"description": f"Values of a new record of {entity.name}."}
    members["minProperties"] = 1
    if required:
        members["required"] = required
    return closed(properties, **members)


def _group(entity: Entity) -> Schema:
    """Describe a group of an aggregation: its members are those that the query names."""
    description = f"A group of records of {entity.name}: fields, units of time, aggregates."
    return {"type": "object", "description": description, "additionalProperties": True}


def _changes(entity: Entity) -> Schema:
    properties = {field.name: _value(field) for field in _writable(entity)}
    description = f"New values of a record of {entity.name}; what is left out stays."
    return closed(properties, description=description, minProperties=1)


def _writable(entity: Entity) -> list[Field]:
    return [field for field in entity.fields if field.generated is None]


def _value(field: Field, *, shown: bool = False) -> Schema:
    """Describe a field's value; null for an optional field. It is `shown` in a record, or sent."""
    schema: Schema = {}
    if field.file is not None:
        return _files(field, shown=shown)
    if field.generated is not None:
        schema["readOnly"] = True
    schema |= _TYPES[type_of(field)]
    if field.references is not None:
        schema |= _link(field.references, field.on_delete)
    if field.enum_values and field.type == "[text]":
        schema["items"] = {"type": "string", "enum": list(field.enum_values)}
    elif field.enum_values:
        schema["enum"] = list(field.enum_values)
    if field.required or field.type == "json":
        return schema
    return _nullable(schema)


def _files(field: Field, *, shown: bool) -> Schema:
    """Describe the files of a field; what it takes is in `x-file`."""
    schema = dict(_FILE if shown else _FILE_OR_ID)
    if field.type == "[file]":
        schema = {"type": "array", "maxItems": 1000, "items": schema}
    assert field.file is not None
    limits = {"maxSize": field.file.max_size, "types": list(field.file.types)}
    if not field.required:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return schema | {"x-file": limits}


def _operators_of_files() -> Schema:
    """The id of a file, or an object of operators; on a list of files they look for single ones."""
    or_null = {"anyOf": [_FILE_ID, {"type": "null"}]}
    properties = {
        "$eq": or_null,
        "$in": {"type": "array", "items": or_null},
        "$isNull": {"type": "boolean"},
    }
    tree = closed(properties, minProperties=1)
    return {"description": "The id of a file, null, or operators.", "anyOf": [or_null, tree]}


def _link(target: Reference, on_delete: OnDelete) -> Schema:
    effects = {"cascade": "goes with it", "restrict": "keeps it", "set_null": "loses the link"}
    effect = effects[on_delete]
    return {
        "description": f"The {target.field} of a record of {target.entity}; this one {effect}.",
        "x-references": {"entity": target.entity, "field": target.field, "onDelete": on_delete},
    }


def _nullable(schema: Schema) -> Schema:
    nullable = schema | {"type": [schema["type"], "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def _where(entity: Entity, links: Mapping[str, Link]) -> Schema:
    properties: dict[str, Schema] = {
        name: {"$ref": PREFIX + where_name(kind)} for name, kind in columns(entity).items()
    }
    for name, link in links.items():
        relations = dict.fromkeys(_RELATIONS[link.reverse], _reference(link, "Where"))
        by_relation = closed(relations, minProperties=1)
        if link.reverse:
            properties[name] = by_relation
        else:
            properties[name] = {"anyOf": [properties[name], by_relation]}

    tree = {"$ref": f"{PREFIX}{entity.name}.Where"}
    trees = {"type": "array", "items": tree}
    properties |= {"$and": trees, "$or": trees, "$not": tree}
    description = f"Which records of {entity.name}: all that is named must hold."
    members: Schema = {"description": description}
    forward = [name for name, link in links.items() if link.entity and not link.reverse]
    if forward:
        members["description"] += " A field of a linked record has its path: `link.field`."
        members["patternProperties"] = {_pattern_of_paths(forward): {}}
    return closed(properties, **members)


def _pattern_of_paths(links: Iterable[str]) -> str:
    """Return the pattern of paths that begin with a link: at most three, and a field."""
    return rf"^({'|'.join(links)})(\.[a-z][a-z0-9_]*){{1,3}}$"


def _operators_of(kind: str, value: Schema) -> Schema:
    """A value, or an object of operators."""
    or_null = value
    if kind != "json":
        or_null = _nullable(dict(value))
    properties: dict[str, Any] = {"$eq": or_null, "$ne": or_null, "$isNull": {"type": "boolean"}}
    if kind in ("json", *_LISTS):
        properties["$contains"] = value
    if kind not in _LISTS:
        properties |= {name: {"type": "array", "items": or_null} for name in ("$in", "$nin")}
    if kind not in ("boolean", "json", *_LISTS):
        properties |= dict.fromkeys(_ORDERED, value)
    if kind == "text":
        properties |= dict.fromkeys(("$like", "$ilike"), value)
    tree = closed(properties, minProperties=1)
    if kind == "json":
        return {"description": "JSON that a field equals, or operators.", "anyOf": [tree, {}]}
    return {"description": f"A value ({kind}), null, or operators.", "anyOf": [or_null, tree]}
