"""The document of the server and those of the apps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec

from kernel.public import SHAPE, App, Entity, Grant, Needs, Route

from .fields import filters, operators, shapes, sort_field
from .models import Schema
from .operations import (
    JSON,
    operation,
    operation_id,
    put,
    query_parameter,
    server_version,
    skeleton,
    tags_of,
)
from .schemas import PREFIX, Schemas, needed, replaced, unmarked

Pairs = Sequence[tuple[str, Route]]
Allowed = Mapping[tuple[Needs, str], Grant]
"""What a caller may on an app: need and entity (or "") to what that grants."""
APP: Final = "{app_id}"
ENTITY: Final = "{entity}"
_OWN: Final = "\n\nOnly records that the caller created."
_SERVER: Final = """\
Every route of this server. Sign in by `POST /api/v1/auth/login` and send the access token as a
bearer. A document of one app, with the fields of its entities, is at
`/api/v1/apps/{app_id}/openapi.json`."""
_APP: Final = """\
What the caller may do with this app. Where a field takes a number, a boolean, a date or a
timestamp, an unambiguous text form of it is taken too."""


def of_server(pairs: Pairs, schemas: Schemas) -> Schema:
    """The document of every route of every plugin."""
    tree = skeleton("Caudex", server_version(), _SERVER)
    tree["tags"] = tags_of(pairs)
    built_in, others = recorded("examples.json"), recorded("examples_contrib.json")
    for plugin, route in pairs:
        told = unmarked(operation(plugin, route, schemas))
        examples = others.get(plugin, built_in)
        _show(told, route, examples.get(f"{route.method} {route.path}"))
        put(tree, route.path, route.method, told)
    return _with_components(tree, {name: unmarked(s) for name, s in schemas.components.items()})


def recorded(name: str) -> Mapping[str, Schema]:
    """What a server was sent and answered, by route; that of contrib/ by plugin first."""
    return msgspec.json.decode((files(__package__ or "") / name).read_bytes())


def _show(told: Schema, route: Route, example: Schema | None) -> None:
    """Put an example beside the schemas of the JSON that it is of."""
    if example is None or example["status"] != route.status:
        return
    body = told.get("requestBody", {}).get("content", {}).get(JSON)
    reply = told["responses"][str(route.status)].get("content", {}).get(JSON)
    if body is not None:
        body["example"] = example["body"]
    if reply is not None and not isinstance(example["reply"], str):
        reply["example"] = example["reply"]


def of_app(app: App, pairs: Pairs, schemas: Schemas, allowed: Allowed) -> Schema:
    """The document of an app: each entity's own fields, and only what is allowed."""
    tree = skeleton(app.name, app.version, _APP)
    own = AppSchemas(schemas)
    for entity in app.entities.values():
        own.add(entity)
    shown: list[tuple[str, Route]] = []
    for plugin, route in pairs:
        if ENTITY in route.path:
            for entity in app.entities.values():
                if (grant := allowed.get((route.needs, entity.name))) is not None:
                    told = own.operation(plugin, route, entity, grant)
                    _put(tree, route, app, told, entity.name)
        elif (route.needs, "") in allowed:
            _put(tree, route, app, unmarked(operation(plugin, route, schemas)))
            shown.append((plugin, route))
    entities = [{"name": e.name, "description": f"Records of {e.name}."} for e in _seen(app, tree)]
    tree["tags"] = entities + tags_of(shown)
    return _with_components(tree, own.components)


class AppSchemas:
    """The components of an app: those of the routes, those of each entity, and the two joined."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        bare = {name: unmarked(schema) for name, schema in schemas.components.items()}
        self.components: dict[str, Schema] = bare | operators()

    def add(self, entity: Entity) -> None:
        """Add the shapes of an entity, and the components that speak of them."""
        for name, schema in shapes(entity).items():
            self.components[f"{entity.name}.{name}"] = schema
        for name in self._schemas.shaped:
            schema = self.fitted(self._schemas.components[name], entity)
            self.components[f"{entity.name}.{name}"] = schema

    def operation(self, plugin: str, route: Route, entity: Entity, grant: Grant) -> Schema:
        """An operation on one entity."""
        told = self.fitted(operation(plugin, route, self._schemas), entity)
        told["tags"] = [entity.name]
        told["x-permission"] = f"{entity.name}.{route.needs.key}" + (".own" * grant.own_only)
        told["description"] += _OWN * grant.own_only
        told["parameters"] = _fitting(told.get("parameters", ()), entity)
        return told

    def fitted(self, schema: Any, entity: Entity) -> Any:
        """A schema in which the entity's own take the place of what is marked."""

        def own(part: Schema) -> Schema | None:
            if (shape := part.get(SHAPE)) is not None:
                if shape == "SortField":
                    return {k: v for k, v in part.items() if k != SHAPE} | sort_field(entity)
                return part if shape == "FieldFilters" else _reference(f"{entity.name}.{shape}")
            target = str(part.get("$ref", "")).removeprefix(PREFIX)
            return _reference(f"{entity.name}.{target}") if target in self._schemas.shaped else None

        return replaced(schema, own)


def _fitting(parameters: Sequence[Schema], entity: Entity) -> list[Schema]:
    """Parameters with the entity's id, and with a filter for each of its fields."""
    taken = frozenset(each["name"] for each in parameters if each["in"] == "query")
    found: list[Schema] = []
    for each in parameters:
        if each["schema"].get(SHAPE) == "FieldFilters":
            found += [query_parameter(*pair) for pair in filters(entity, taken).items()]
        elif each["in"] == "path" and each["name"] == "id" and entity.id_type == "uuid":
            found.append(each | {"schema": {"type": "string", "format": "uuid"}})
        else:
            found.append(each)
    return found


def _put(tree: Schema, route: Route, app: App, told: Schema, entity: str = "") -> None:
    """Add an operation under the path that it has for this app and entity."""
    path = route.path.replace(APP, app.id).replace(ENTITY, entity)
    fixed = ("app_id", "entity")
    parameters = [
        each
        for each in told.pop("parameters", ())
        if each["in"] != "path" or each["name"] not in fixed
    ]
    if parameters:
        told["parameters"] = parameters
    told["operationId"] = operation_id(route.method, path)
    put(tree, path, route.method, told)


def _seen(app: App, tree: Schema) -> list[Entity]:
    """The entities that something in the document is about."""
    used = {
        tag for path in tree["paths"].values() for told in path.values() for tag in told["tags"]
    }
    return [entity for entity in app.entities.values() if entity.name in used]


def _reference(name: str) -> Schema:
    return {"$ref": PREFIX + name}


def _with_components(tree: Schema, components: Mapping[str, Schema]) -> Schema:
    """Keep the components that the document refers to."""
    known = dict(components) | tree["components"]["schemas"]
    tree["components"]["schemas"] = needed(known, tree)
    return tree
