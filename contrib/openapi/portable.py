"""Writes a document so that generators of clients read it: the same meaning, in plainer schemas.

The forms that are replaced are correct. Some generators refuse them, or make two classes of one
name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from .models import Schema
from .schemas import select_needed

FORM: Final = "multipart/form-data"
JSON: Final = "application/json"
_SINGLE: Final = ("items", "not", "additionalProperties", "propertyNames", "contains")
_LISTS: Final = ("anyOf", "oneOf", "allOf")
_CHOICES: Final = ("anyOf", "oneOf")
_TIMES: Final = frozenset({"date", "date-time"})
_MAPS: Final = ("properties", "patternProperties", "$defs")
_CAMEL: Final = re.compile(r"(?<=[a-z])[A-Z]")
KEPT: Final = frozenset({"userId"})
"""Members whose spelling in camel case is the one of the contract."""


def make_portable(tree: Schema) -> None:
    """Change the schemas of a document in place."""
    components: dict[str, Schema] = tree["components"]["schemas"]
    for schema in [*components.values(), *_schemas_of_operations(tree)]:
        _simplify(schema)
    for operation in _operations(tree):
        _keep_one_form(operation.get("requestBody", {}))
        _name_form(operation)
    _drop_other_spellings([*components.values(), *_schemas_of_operations(tree)])
    _move_defaults(_components_of_bodies(tree, components))
    _name_components(components)


def _simplify(schema: Any) -> None:
    """Replace forms of JSON Schema that generators do not read."""
    if not isinstance(schema, dict):
        return
    part = cast("Schema", schema)
    part.pop("title", None)
    if "default" in part and part["default"] is None:
        del part["default"]
    if "prefixItems" in part:
        _write_as_array(part)
    values: list[Any] = part.get("enum") or [None]
    if all(isinstance(value, bool) for value in values):
        del part["enum"]
        part["type"] = "boolean"
    if "discriminator" in part and "anyOf" in part:
        part["oneOf"] = part.pop("anyOf")  # as each value has one tag
    kinds: Any = part.get("type")
    if isinstance(kinds, list):
        _write_as_choice(part, cast("list[str]", kinds))
    for name in _CHOICES:
        _write_plain_options(part.get(name, ()))
    for name in _SINGLE:
        _simplify(part.get(name))
    for name in _LISTS:
        for option in part.get(name, ()):
            _simplify(option)
    for name in _MAPS:
        for member in part.get(name, {}).values():
            _simplify(member)


def _write_as_array(part: Schema) -> None:
    """Write a tuple as an array of its length, whose items are of any of its types."""
    kinds: list[Schema] = []
    for kind in part.pop("prefixItems"):
        if kind not in kinds:
            kinds.append(kind)
    part["items"] = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _write_as_choice(part: Schema, kinds: list[str]) -> None:
    """Write several types as a choice of schemas; null beside one type is left as it is."""
    if len([kind for kind in kinds if kind != "null"]) < 2:
        return
    del part["type"]
    part["anyOf"] = [
        {"type": kind, "items": {}} if kind == "array" else {"type": kind} for kind in kinds
    ]


def _write_plain_options(options: Sequence[Schema]) -> None:
    """Leave out what generators make types of that they cannot choose between.

    That is the type of the values of a map, and the format of a time. Beside null alone both stay.
    """
    if len([option for option in options if option.get("type") != "null"]) < 2:
        return
    for option in options:
        if "properties" not in option:
            option.pop("additionalProperties", None)
        if option.get("format") in _TIMES:
            del option["format"]


def _schemas_of_operations(tree: Schema) -> Iterator[Schema]:
    """Yield the schemas of parameters, bodies and replies."""
    for operation in _operations(tree):
        for parameter in operation.get("parameters", ()):
            yield parameter["schema"]
        yield from _schemas_of_content(operation.get("requestBody", {}))
        for response in operation["responses"].values():
            yield from _schemas_of_content(response)


def _operations(tree: Schema) -> Iterator[Schema]:
    for path in tree["paths"].values():
        yield from path.values()


def _schemas_of_content(holder: Mapping[str, Any]) -> Iterator[Schema]:
    for media_type in holder.get("content", {}).values():
        if "schema" in media_type:
            yield media_type["schema"]


def _keep_one_form(body: Schema) -> None:
    """Leave the JSON of a body, or the form of an upload, beside which others are taken too.

    Generators make one function for both, which sends neither.
    """
    content: Schema = body.get("content", {})
    if FORM not in content:
        return
    others = [name for name in content if name != FORM]
    if JSON in content:
        others = [FORM]
    for media_type in others:
        del content[media_type]
        description = body.get("description", "A file.")
        body["description"] = f"{description} It is taken as {media_type}, too."


def _name_form(operation: Schema) -> None:
    """Make the form of an upload unlike those of others: of equal ones some make one class."""
    form = operation.get("requestBody", {}).get("content", {}).get(FORM)
    if form is not None and "schema" in form:
        form["schema"]["description"] = f"The form of {operation['operationId']}."


def _components_of_bodies(tree: Schema, components: Mapping[str, Schema]) -> list[Schema]:
    """Return the schemas that only bodies of requests have."""
    in_bodies: list[Schema] = []
    in_replies: list[Schema] = []
    for operation in _operations(tree):
        in_bodies += _schemas_of_content(operation.get("requestBody", {}))
        for response in operation["responses"].values():
            in_replies += _schemas_of_content(response)
    shown = select_needed(dict(components), in_replies)
    sent = select_needed(dict(components), in_bodies)
    return [*in_bodies, *(schema for name, schema in sent.items() if name not in shown)]


def _drop_other_spellings(schemas: Iterable[Schema]) -> None:
    """Leave one spelling of each member: a server takes and shows both, a client needs one.

    Some generators spell both in one way.
    """
    for schema in schemas:
        properties: Schema = schema.get("properties", {})
        for camel in list(properties):
            snake = _CAMEL.sub(lambda match: f"_{match[0].lower()}", camel)
            if snake == camel or snake not in properties:
                continue
            dropped = snake if camel in KEPT else camel
            del properties[dropped]
            if dropped in schema.get("required", ()):
                schema["required"] = [name for name in schema["required"] if name != dropped]


def _move_defaults(schemas: Iterable[Schema]) -> None:
    """Write the defaults of bodies into words: of a schema they make a member that is required."""
    for schema in schemas:
        for member in schema.get("properties", {}).values():
            if "default" not in member:
                continue
            default = msgspec.json.encode(member.pop("default")).decode()
            words = f"{member.get('description', '')} By default {default}."
            member["description"] = words.strip()


def _name_components(components: Mapping[str, Schema]) -> None:
    """Give each component a title of its own: generators name their classes by it."""
    titles: set[str] = set()
    for name, schema in components.items():
        title = "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))
        while title in titles:
            title += "_"
        titles.add(title)
        schema["title"] = title
