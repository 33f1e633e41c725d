"""JSON Schemas of the types that routes declare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast

import msgspec
import structlog

from kernel.public import SCHEMA_SHAPE, Route

from .models import Schema

PREFIX: Final = "#/components/schemas/"
log = structlog.get_logger("caudex.openapi")


class Schemas:
    """The schemas of all types of some routes, and the components that they refer to."""

    def __init__(self, routes: Sequence[Route]) -> None:
        types: list[Any] = []
        for route in routes:
            types += [route.body, route.returns, route.query]
        self.components: dict[str, Schema] = {}
        self._schemas: dict[int, Schema] = {}
        for type_, schema in zip(types, self._make(types), strict=True):
            self._schemas[id(type_)] = schema
        self._types = types  # the ids above are theirs: they must stay
        self.shaped = _find_shaped(self.components)

    def schema_of(self, type_: Any) -> Schema:
        """The schema of a type that a route declares."""
        return self._schemas[id(type_)]

    def parameters(self, query: type[msgspec.Struct]) -> Iterator[tuple[str, Schema, bool]]:
        """Name, schema and whether it is required of each query parameter."""
        component = self.schema_of(query)["$ref"].removeprefix(PREFIX)
        struct = self.components[component]
        for name, schema in struct["properties"].items():
            yield name, _drop_null(schema), name in struct.get("required", ())

    def _make(self, types: Sequence[Any]) -> Sequence[Schema]:
        """Make all at once, so that names are unique; a type without a schema accepts anything."""
        try:
            schemas, self.components = _make_schemas(types)
        except (TypeError, ValueError, NameError):
            describable = [type_ if _has_schema(type_) else Any for type_ in types]
            schemas, self.components = _make_schemas(describable)
        return schemas


def _make_schemas(types: Sequence[Any]) -> tuple[Sequence[Schema], dict[str, Schema]]:
    schemas, components = msgspec.json.schema_components(types, ref_template=PREFIX + "{name}")
    return cast("Sequence[Schema]", schemas), cast("dict[str, Schema]", components)


def _has_schema(type_: Any) -> bool:
    try:
        _make_schemas([type_])
    except (TypeError, ValueError, NameError) as error:
        log.warning("a type of a route has no schema", type=str(type_), error=str(error))
        return False
    return True


def _drop_null(schema: Schema) -> Schema:
    """A query parameter is left out, never null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    plain = {name: value for name, value in schema.items() if name != "anyOf"}
    if len(options) == 1:
        plain |= options[0]
    elif options:
        plain["anyOf"] = options
    if plain.get("default", ...) is None:
        del plain["default"]
    if None in plain.get("enum", ()):
        plain["enum"] = [value for value in plain["enum"] if value is not None]
    return plain


def replace_parts(schema: Any, replace: Callable[[Schema], Schema | None]) -> Any:
    """Copy a schema; where `replace` returns an object, use it instead."""
    if isinstance(schema, list | tuple):
        return [replace_parts(item, replace) for item in cast("Sequence[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    part = cast("Schema", schema)
    replacement = replace(part)
    if replacement is not None:
        return replacement
    return {name: replace_parts(value, replace) for name, value in part.items()}


def unmark(schema: Any) -> Any:
    """Copy a schema without the markers of the entity."""

    def drop_marker(part: Schema) -> Schema | None:
        if SCHEMA_SHAPE not in part:
            return None
        return {name: value for name, value in part.items() if name != SCHEMA_SHAPE}

    return replace_parts(schema, drop_marker)


def _objects(schema: Any) -> Iterator[Schema]:
    """Every object within a schema, itself included."""
    if isinstance(schema, list | tuple):
        for item in cast("Sequence[Any]", schema):
            yield from _objects(item)
    elif isinstance(schema, dict):
        yield cast("Schema", schema)
        for value in cast("Schema", schema).values():
            yield from _objects(value)


def referred(schema: Any) -> Iterator[str]:
    """Names of the components that a schema refers to."""
    for part in _objects(schema):
        target = part.get("$ref")
        if isinstance(target, str) and target.startswith(PREFIX):
            yield target.removeprefix(PREFIX)


def select_needed(components: dict[str, Schema], schema: Any) -> dict[str, Schema]:
    """The components that something refers to, directly or through others, by name."""
    waiting = list(referred(schema))
    needed = set[str]()
    while waiting:
        name = waiting.pop()
        if name in components and name not in needed:
            needed.add(name)
            waiting += referred(components[name])
    return {name: components[name] for name in sorted(needed)}


def _find_shaped(components: dict[str, Schema]) -> frozenset[str]:
    """Names of the components that depend on the entity, themselves or through others."""
    shaped = {
        name
        for name, component in components.items()
        if any(SCHEMA_SHAPE in part for part in _objects(component))
    }
    while True:
        dependent = {
            name
            for name, component in components.items()
            if not shaped.isdisjoint(referred(component))
        }
        if dependent <= shaped:
            return frozenset(shaped)
        shaped |= dependent
