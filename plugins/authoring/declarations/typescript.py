"""Writes TypeScript: for each entity what is read, created, changed and asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

from .entities import EntityType, FieldType, Kind, visible_names

NAME: Final = re.compile(r"[A-Za-z_]\w*")
VALUES: Final[dict[Kind, str]] = {
    "text": "string",
    "number": "number",
    "boolean": "boolean",
    "date": "string",
    "timestamp": "string",
    "json": "Json",
    "uuid": "string",
    "texts": "string[]",
    "numbers": "number[]",
    "file": "FileValue",
    "files": "FileValue[]",
}
SENT: Final[dict[Kind, str]] = {
    **VALUES, "file": "FileValue | string", "files": "(FileValue | string)[]",
}  # fmt: skip
FILTERS: Final[dict[Kind, str]] = {
    "text": "TextFilter",
    "number": "OrderedFilter<number>",
    "boolean": "PlainFilter<boolean>",
    "date": "OrderedFilter<string>",
    "timestamp": "OrderedFilter<string>",
    "json": "JsonFilter",
    "uuid": "OrderedFilter<string>",
    "texts": "ListFilter<string>",
    "numbers": "ListFilter<number>",
    "file": "PlainFilter<string>",
    "files": "ListFilter<string>",
}
HEAD: Final = """\
// Made by `caudex types ts --app {app}`: make it again after a change of the manifest.

export type Json = null | boolean | number | string | Json[] | {{ [key: string]: Json }};

export interface FileValue {{
  id: string;
  name: string;
  type: string;
  size: number;
}}

export interface Logic<Where> {{
  $and?: Where[];
  $or?: Where[];
  $not?: Where;
}}

export type PlainFilter<T> = T | null | {{
  $eq?: T | null;
  $ne?: T | null;
  $in?: (T | null)[];
  $nin?: (T | null)[];
  $isNull?: boolean;
}};

export type OrderedFilter<T> = PlainFilter<T> | {{
  $eq?: T | null;
  $ne?: T | null;
  $in?: (T | null)[];
  $nin?: (T | null)[];
  $isNull?: boolean;
  $gt?: T;
  $gte?: T;
  $lt?: T;
  $lte?: T;
}};

export type TextFilter<T extends string = string> = T | null | {{
  $eq?: T | null;
  $ne?: T | null;
  $in?: (T | null)[];
  $nin?: (T | null)[];
  $isNull?: boolean;
  $gt?: string;
  $gte?: string;
  $lt?: string;
  $lte?: string;
  $like?: string;
  $ilike?: string;
}};

export type ListFilter<T> = T[] | null | {{
  $eq?: T[] | null;
  $ne?: T[] | null;
  $isNull?: boolean;
  $contains?: T | T[];
}};

export type JsonFilter = {{ $eq?: Json; $ne?: Json; $isNull?: boolean; $contains?: Json }};

export type LinkFilter<Where> = OrderedFilter<string> | {{ $has?: Where }};

export type RelationFilter<Where> = {{ $some?: Where; $none?: Where }};
"""


def typescript(app_id: str, entities: Sequence[EntityType]) -> str:
    """Return the file."""
    names = visible_names(entities)
    lines = [HEAD.format(app=app_id)]
    for entity in entities:
        lines += _entity(entity, names)
    lines += _index(entities)
    return "\n".join(lines)


def _entity(entity: EntityType, names: dict[str, str]) -> Iterator[str]:
    id_type = VALUES[entity.id_kind]
    yield f"export interface {entity.type_name}Record {{"
    yield f"  id: {id_type};"
    for field in entity.fields:
        suffix = "" if field.required else " | null"
        yield f"  {_key(field.name)}: {_value(field, VALUES)}{suffix};"
    yield "  created_at: string;"
    yield "  updated_at: string;"
    yield "}\n"
    writable = [field for field in entity.fields if not field.read_only]
    yield f"export interface {entity.type_name}Create {{"
    if entity.id_declared:
        yield f"  id: {id_type};"
    for field in writable:
        if field.required and not field.has_default:
            yield f"  {_key(field.name)}: {_value(field, SENT)};"
        else:
            yield f"  {_key(field.name)}?: {_value(field, SENT)} | null;"
    yield "}\n"
    yield f"export interface {entity.type_name}Update {{"
    for field in writable:
        suffix = "" if field.required else " | null"
        yield f"  {_key(field.name)}?: {_value(field, SENT)}{suffix};"
    yield "}\n"
    where = f"{entity.type_name}Where"
    yield f"export interface {where} extends Logic<{where}> {{"
    yield f"  id?: OrderedFilter<{id_type}>;"
    for field in entity.fields:
        yield f"  {_key(field.name)}?: {_filter(field, names)};"
    yield "  created_at?: OrderedFilter<string>;"
    yield "  updated_at?: OrderedFilter<string>;"
    for relation, source in entity.relations.items():
        yield f"  {_key(relation)}?: RelationFilter<{names[source]}Where>;"
    yield "}\n"


def _index(entities: Sequence[EntityType]) -> Iterator[str]:
    yield "/** The types of each entity by its name. */"
    yield "export interface Entities {"
    for entity in entities:
        name = entity.type_name
        yield f"  {_key(entity.name)}: {{"
        yield f"    record: {name}Record;"
        yield f"    create: {name}Create;"
        yield f"    update: {name}Update;"
        yield f"    where: {name}Where;"
        yield "  };"
    yield "}\n"


def _value(field: FieldType, kinds: dict[Kind, str]) -> str:
    if not field.values:
        return kinds[field.kind]
    union = " | ".join(json.dumps(value) for value in field.values)
    if field.kind == "texts":
        return f"({union})[]"
    return union


def _filter(field: FieldType, names: dict[str, str]) -> str:
    if field.target:
        return f"LinkFilter<{names[field.target]}Where>"
    if field.values and field.kind == "text":
        return f"TextFilter<{_value(field, VALUES)}>"
    return FILTERS[field.kind]


def _key(name: str) -> str:
    return name if NAME.fullmatch(name) else json.dumps(name)
