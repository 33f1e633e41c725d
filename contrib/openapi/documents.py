"""The document of the server and those of the apps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.resources import files
from typing import Any, Final

import msgspec

from kernel.public import SCHEMA_SHAPE, VERSION, App, Entity, Grant, Needs, Route
from kernel.public import entity as on_entity

from .fields import Link, filters, links_of, operators, shapes, sort_field
from .models import Schema
from .operations import JSON, operation, operation_id, put, query_parameter, skeleton, tags_of
from .portable import make_portable
from .schemas import PREFIX, Schemas, replace_parts, select_needed, unmark

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
    built_in_examples = recorded("examples.json")
    contrib_examples = recorded("examples_contrib.json")
    for plugin, route in pairs:
        described = unmark(operation(plugin, route, schemas))
        examples = contrib_examples.get(plugin, built_in_examples)
        _add_example(described, route, examples.get(f"{route.method} {route.path}"))
        put(tree, route.path, route.method, described)
    components = {name: unmark(schema) for name, schema in schemas.components.items()}
    return _with_components(tree, components)


def recorded(name: str) -> Mapping[str, Schema]:
    """Return recorded requests and replies by route; those of contrib/ by plugin first."""
    return msgspec.json.decode((files(__package__ or "") / name).read_bytes())


def _add_example(described: Schema, route: Route, example: Schema | None) -> None:
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
    app_schemas = AppSchemas(schemas)
    readable = [entity for entity in app.entities.values() if (_READ, entity.name) in allowed]
    for entity in app.entities.values():
        app_schemas.add(entity, links_of(entity, readable))

    plain_pairs: list[tuple[str, Route]] = []
    for plugin, route in pairs:
        if ENTITY in route.path:
            for entity in app.entities.values():
                grant = allowed.get((route.needs, entity.name))
                if grant is not None:
                    described = app_schemas.operation(plugin, route, entity, grant)
                    _put(tree, route, app, described, entity.name)
        elif (route.needs, "") in allowed:
            _put(tree, route, app, unmark(operation(plugin, route, schemas)))
            plain_pairs.append((plugin, route))

    entity_tags = [
        {"name": entity.name, "description": f"Records of {entity.name}."}
        for entity in _select_described(app, tree)
    ]
    tree["tags"] = entity_tags + tags_of(plain_pairs)
    return _with_components(tree, app_schemas.components)


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
        unmarked = {name: unmark(schema) for name, schema in schemas.components.items()}
        self.components: dict[str, Schema] = unmarked | operators()

    def add(self, entity: Entity, links: Mapping[str, Link]) -> None:
        """Add the shapes of an entity, and the components that refer to them."""
        for name, schema in shapes(entity, links).items():
            self.components[f"{entity.name}.{name}"] = schema
        for name in self._schemas.shaped:
            schema = self.fit(self._schemas.components[name], entity)
            self.components[f"{entity.name}.{name}"] = schema

    def operation(self, plugin: str, route: Route, entity: Entity, grant: Grant) -> Schema:
        """Describe an operation on one entity."""
        described = self.fit(operation(plugin, route, self._schemas), entity)
        permission = f"{entity.name}.{route.needs.key}"
        described["tags"] = [entity.name]
        described["description"] = described["description"].replace(
            f"`{route.needs}`", f"`{permission}`"
        )
        described["x-permission"] = permission
        if grant.own_only:
            described["description"] += _OWN
            described["x-permission"] = f"{permission}.own"
        described["parameters"] = _fit_parameters(described.get("parameters", ()), entity)
        return described

    def fit(self, schema: Any, entity: Entity) -> Any:
        """Return a schema with the entity's own schemas in place of the markers."""

        def replace(part: Schema) -> Schema | None:
            shape = part.get(SCHEMA_SHAPE)
            if shape == "FieldFilters":
                return part
            if shape == "SortField":
                rest = {name: value for name, value in part.items() if name != SCHEMA_SHAPE}
                return rest | sort_field(entity)
            if shape is not None:
                return _reference(f"{entity.name}.{shape}")
            target = str(part.get("$ref", "")).removeprefix(PREFIX)
            if target in self._schemas.shaped:
                return _reference(f"{entity.name}.{target}")
            return None

        return replace_parts(schema, replace)


def _fit_parameters(parameters: Sequence[Schema], entity: Entity) -> list[Schema]:
    """Return parameters with the entity's id, and a filter for each of its fields."""
    reserved = frozenset(
        parameter["name"] for parameter in parameters if parameter["in"] == "query"
    )
    fitted: list[Schema] = []
    for parameter in parameters:
        is_id = parameter["in"] == "path" and parameter["name"] == "id"
        if parameter["schema"].get(SCHEMA_SHAPE) == "FieldFilters":
            for name, schema in filters(entity, reserved).items():
                fitted.append(query_parameter(name, schema))
        elif is_id and entity.id_type == "uuid":
            fitted.append(parameter | {"schema": {"type": "string", "format": "uuid"}})
        else:
            fitted.append(parameter)
    return fitted


def _put(tree: Schema, route: Route, app: App, described: Schema, entity: str = "") -> None:
    """Add an operation under the path that it has for this app and entity."""
    path = route.path.replace(APP, app.id).replace(ENTITY, entity)
    filled_in = ("app_id", "entity")
    parameters = [
        parameter
        for parameter in described.pop("parameters", ())
        if parameter["in"] != "path" or parameter["name"] not in filled_in
    ]
    if parameters:
        described["parameters"] = parameters
    described["operationId"] = operation_id(route.method, path)
    put(tree, path, route.method, described)


def _select_described(app: App, tree: Schema) -> list[Entity]:
    """Return the entities that the document has operations of."""
    tags: set[str] = set()
    for path in tree["paths"].values():
        for described in path.values():
            tags.update(described["tags"])
    return [entity for entity in app.entities.values() if entity.name in tags]


def _reference(name: str) -> Schema:
    return {"$ref": PREFIX + name}


def _with_components(tree: Schema, components: Mapping[str, Schema]) -> Schema:
    """Keep the components that the document refers to."""
    all_components = dict(components) | tree["components"]["schemas"]
    tree["components"]["schemas"] = select_needed(all_components, tree)
    portable = deepcopy(tree)  # parts are shared with other documents
    make_portable(portable)
    return portable
