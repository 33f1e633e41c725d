"""JSON Schemas of the types that routes declare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast

import msgspec
import structlog

from kernel.public import SHAPE, Route

from .models import Schema

PREFIX: Final = "#/components/schemas/"
log = structlog.get_logger("caudex.openapi")


class Schemas:
    """The schemas of all types of some routes, and the components that they refer to."""

    def __init__(self, routes: Sequence[Route]) -> None:
        types = [type_ for r in routes for type_ in (r.body, r.returns, r.query)]
        self.components: dict[str, Schema] = {}
        self._made: dict[int, Schema] = {}
        for type_, schema in zip(types, self._make(types), strict=True):
            self._made[id(type_)] = schema
        self._types = types  # the ids above are theirs: they must stay
        self.shaped = _shaped(self.components)

    def of(self, type_: Any) -> Schema:
        """The schema of a type that a route declares."""
        return self._made[id(type_)]

    def parameters(self, query: type[msgspec.Struct]) -> Iterator[tuple[str, Schema, bool]]:
        """Name, schema and whether it is required of each query parameter."""
        struct = self.components[self.of(query)["$ref"].removeprefix(PREFIX)]
        for name, schema in struct["properties"].items():
            yield name, _without_null(schema), name in struct.get("required", ())

    def _make(self, types: Sequence[Any]) -> Sequence[Schema]:
        """Make all at once, so that names are unique; a type without a schema accepts anything."""
        try:
            made, self.components = _schemas(types)
        except (TypeError, ValueError, NameError):
            known = [type_ if _has_schema(type_) else Any for type_ in types]
            made, self.components = _schemas(known)
        return made


def _schemas(types: Sequence[Any]) -> tuple[Sequence[Schema], dict[str, Schema]]:
    made, components = msgspec.json.schema_components(types, ref_template=PREFIX + "{name}")
    return cast("Sequence[Schema]", made), cast("dict[str, Schema]", components)


def _has_schema(type_: Any) -> bool:
    try:
        _schemas([type_])
    except (TypeError, ValueError, NameError) as error:
        log.warning("a type of a route has no schema", type=str(type_), error=str(error))
        return False
    return True


def _without_null(schema: Schema) -> Schema:
    """A query parameter is left out, never null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    if len(options) == 1:
        rest |= options[0]
    elif options:
        rest["anyOf"] = options
    if rest.get("default", ...) is None:
        del rest["default"]
    if None in rest.get("enum", ()):
        rest["enum"] = [value for value in rest["enum"] if value is not None]
    return rest


def replaced(schema: Any, replace: Callable[[Schema], Schema | None]) -> Any:
    """Copy a schema; where `replace` returns an object, use it instead."""
    if isinstance(schema, list | tuple):
        return [replaced(item, replace) for item in cast("Sequence[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found = cast("Schema", schema)
    if (other := replace(found)) is not None:
        return other
    return {name: replaced(value, replace) for name, value in found.items()}


def unmarked(schema: Any) -> Any:
    """Copy a schema without the markers of the entity."""

    def bare(part: Schema) -> Schema | None:
        if SHAPE not in part:
            return None
        return {name: value for name, value in part.items() if name != SHAPE}

    return replaced(schema, bare)


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
    for found in _objects(schema):
        if isinstance(target := found.get("$ref"), str) and target.startswith(PREFIX):
            yield target.removeprefix(PREFIX)


def needed(components: dict[str, Schema], schema: Any) -> dict[str, Schema]:
    """The components that something refers to, directly or through others, by name."""
    wanted, found = list(referred(schema)), set[str]()
    while wanted:
        if (name := wanted.pop()) in components and name not in found:
            found.add(name)
            wanted += referred(components[name])
    return {name: components[name] for name in sorted(found)}


def _shaped(components: dict[str, Schema]) -> frozenset[str]:
    """Names of the components that depend on the entity, themselves or through others."""
    found = {name for name, each in components.items() if any(SHAPE in o for o in _objects(each))}
    while True:
        more = {name for name, each in components.items() if found & set(referred(each))}
        if more <= found:
            return frozenset(found)
        found |= more
