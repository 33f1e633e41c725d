"""The document of the server and those of the apps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec

from kernel.public import SHAPE, VERSION, App, Entity, Grant, Needs, Route
from kernel.public import entity as on_entity

from .fields import Link, filters, links_of, operators, shapes, sort_field
from .models import Schema
from .operations import JSON, operation, operation_id, put, query_parameter, skeleton, tags_of
from .schemas import PREFIX, Schemas, needed, replaced, unmarked

Pairs = Sequence[tuple[str, Route]]
Allowed = Mapping[tuple[Needs, str], Grant]
"""Rights of a caller in an app: need and entity (or "") to the grant."""
APP: Final = "{app_id}"
ENTITY: Final = "{entity}"
_READ: Final = on_entity("read")
_OWN: Final = "\n\nOnly records that the caller created."
_SERVER: Final = """\
Every route of this server. Sign in by `POST /api/v1/auth/login` and send the access token as a
bearer. A document of one app, with the fields of its entities, is at
`/api/v1/apps/{app_id}/openapi.json`."""
_APP: Final = """\
What the caller may do with this app. Where a field takes a number, a boolean, a date or a
timestamp, an unambiguous text form of it is taken too."""


def of_server(pairs: Pairs, schemas: Schemas) -> Schema:
    """Describe every route of every plugin."""
    tree = skeleton("Caudex", VERSION, _SERVER)
    tree["tags"] = tags_of(pairs)
    built_in, others = recorded("examples.json"), recorded("examples_contrib.json")
    for plugin, route in pairs:
        described = unmarked(operation(plugin, route, schemas))
        examples = others.get(plugin, built_in)
        _show(described, route, examples.get(f"{route.method} {route.path}"))
        put(tree, route.path, route.method, described)
    return _with_components(tree, {name: unmarked(s) for name, s in schemas.components.items()})


def recorded(name: str) -> Mapping[str, Schema]:
    """Return recorded requests and replies by route; those of contrib/ by plugin first."""
    return msgspec.json.decode((files(__package__ or "") / name).read_bytes())


def _show(described: Schema, route: Route, example: Schema | None) -> None:
    """Add an example to the schemas of body and reply."""
    if example is None or example["status"] != route.status:
        return
    body = described.get("requestBody", {}).get("content", {}).get(JSON)
    reply = described["responses"][str(route.status)].get("content", {}).get(JSON)
    if body is not None:
        body["example"] = example["body"]
    if reply is not None and not isinstance(example["reply"], str):
        reply["example"] = example["reply"]


def of_app(app: App, pairs: Pairs, schemas: Schemas, allowed: Allowed) -> Schema:
    """Describe an app: the fields of each entity, and only allowed operations."""
    tree = skeleton(app.name, app.version, _APP)
    app = app.narrow(_hidden_fields(allowed))
    own = AppSchemas(schemas)
    readable = [e for e in app.entities.values() if (_READ, e.name) in allowed]
    for entity in app.entities.values():
        own.add(entity, links_of(entity, readable))
    shown: list[tuple[str, Route]] = []
    for plugin, route in pairs:
        if ENTITY in route.path:
            for entity in app.entities.values():
                if (grant := allowed.get((route.needs, entity.name))) is not None:
                    described = own.operation(plugin, route, entity, grant)
                    _put(tree, route, app, described, entity.name)
        elif (route.needs, "") in allowed:
            _put(tree, route, app, unmarked(operation(plugin, route, schemas)))
            shown.append((plugin, route))
    entities = [{"name": e.name, "description": f"Records of {e.name}."} for e in _seen(app, tree)]
    tree["tags"] = entities + tags_of(shown)
    return _with_components(tree, own.components)


def _hidden_fields(allowed: Allowed) -> dict[str, frozenset[str]]:
    """Return the entities that exist for the caller, with the fields of each that do not."""
    hidden: dict[str, frozenset[str]] = {}
    for (needs, name), grant in allowed.items():
        if needs.kind == "entity":
            hidden[name] = hidden.get(name, frozenset()) | grant.hidden
    return hidden


class AppSchemas:
    """The components of an app: those of the routes, those of each entity, and the two joined."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        bare = {name: unmarked(schema) for name, schema in schemas.components.items()}
        self.components: dict[str, Schema] = bare | operators()

    def add(self, entity: Entity, links: Mapping[str, Link]) -> None:
        """Add the shapes of an entity, and the components that refer to them."""
        for name, schema in shapes(entity, links).items():
            self.components[f"{entity.name}.{name}"] = schema
        for name in self._schemas.shaped:
            schema = self.fitted(self._schemas.components[name], entity)
            self.components[f"{entity.name}.{name}"] = schema

    def operation(self, plugin: str, route: Route, entity: Entity, grant: Grant) -> Schema:
        """Describe an operation on one entity."""
        described = self.fitted(operation(plugin, route, self._schemas), entity)
        described["tags"] = [entity.name]
        described["x-permission"] = f"{entity.name}.{route.needs.key}" + (".own" * grant.own_only)
        whole = described["description"].replace(
            f"`{route.needs}`", f"`{entity.name}.{route.needs.key}`"
        )
        described["description"] = whole + _OWN * grant.own_only
        described["parameters"] = _fitting(described.get("parameters", ()), entity)
        return described

    def fitted(self, schema: Any, entity: Entity) -> Any:
        """Return a schema with the entity's own schemas in place of the markers."""

        def own(part: Schema) -> Schema | None:
            if (shape := part.get(SHAPE)) is not None:
                if shape == "SortField":
                    return {k: v for k, v in part.items() if k != SHAPE} | sort_field(entity)
                return part if shape == "FieldFilters" else _reference(f"{entity.name}.{shape}")
            target = str(part.get("$ref", "")).removeprefix(PREFIX)
            return _reference(f"{entity.name}.{target}") if target in self._schemas.shaped else None

        return replaced(schema, own)


def _fitting(parameters: Sequence[Schema], entity: Entity) -> list[Schema]:
    """Return parameters with the entity's id, and a filter for each of its fields."""
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


def _put(tree: Schema, route: Route, app: App, described: Schema, entity: str = "") -> None:
    """Add an operation under the path that it has for this app and entity."""
    path = route.path.replace(APP, app.id).replace(ENTITY, entity)
    fixed = ("app_id", "entity")
    parameters = [
        each
        for each in described.pop("parameters", ())
        if each["in"] != "path" or each["name"] not in fixed
    ]
    if parameters:
        described["parameters"] = parameters
    described["operationId"] = operation_id(route.method, path)
    put(tree, path, route.method, described)


def _seen(app: App, tree: Schema) -> list[Entity]:
    """Return the entities that the document has operations of."""
    used = {
        tag
        for path in tree["paths"].values()
        for described in path.values()
        for tag in described["tags"]
    }
    return [entity for entity in app.entities.values() if entity.name in used]


def _reference(name: str) -> Schema:
    return {"$ref": PREFIX + name}


def _with_components(tree: Schema, components: Mapping[str, Schema]) -> Schema:
    """Keep the components that the document refers to."""
    known = dict(components) | tree["components"]["schemas"]
    tree["components"]["schemas"] = needed(known, tree)
    return tree
