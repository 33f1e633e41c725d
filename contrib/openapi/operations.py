"""From a route to an operation of OpenAPI 3.1."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from kernel.public import Route

from .models import Schema, closed
from .schemas import Schemas

VERSION: Final = "3.1.1"
JSON: Final = "application/json"
_RESPONSES: Final = "#/components/responses/"
_SCHEMAS: Final = "#/components/schemas/"
_FAILED: Final = 412
_ERRORS: Final[Mapping[int, str]] = {
    400: "The input breaks a rule; the text names it.",
    401: "There is no valid bearer token.",
    403: "The caller may not do this.",
    404: "It does not exist, or not for this caller.",
    409: "It does not go with what is there now; `error` says why.",
    412: "The record has changed; `current` is the record, for callers that may read it.",
    413: "The body is over the limit of the route.",
    429: "Too many attempts; `Retry-After` says for how long.",
    500: "An app's own code failed; the text is its message.",
    503: "Something that the request needs is away for the moment. Without `Retry-After` the "
    "change may have been made: look before you repeat it.",
}
_UUIDS: Final = frozenset({"job_id", "user_id"})
"""Parameters of paths that are ids of the server's own; an `id` may be one of an app."""
_REQUEST_ID: Final[Schema] = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
_SECONDS: Final[Schema] = {"schema": {"type": "string", "pattern": "^[0-9]+$"}}
_LATER: Final[Schema] = {"Retry-After": {"required": True, **_SECONDS}}
_PERHAPS: Final[Schema] = {"Retry-After": {"required": False, **_SECONDS}}
SCHEMES: Final[Schema] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token of a login, or an API key.",
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "Any name, and an API key as the password; not from a page of a browser.",
    },
}
"""Each opens every route that is not public."""
_CHALLENGE: Final[Schema] = {
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "pattern": "^Bearer"}}
}
_HEADERS: Final[Mapping[int, Schema]] = {401: _CHALLENGE, 429: _LATER, 503: _PERHAPS}


def skeleton(title: str, edition: str, description: str) -> Schema:
    """A document without operations."""
    return {
        "openapi": VERSION,
        "info": {"title": title, "version": edition, "description": description},
        "servers": [{"url": "/"}],
        "tags": [],
        "paths": {},
        "components": {
            "schemas": {"Error": _envelope(), "Conflict": _envelope(current={"type": "object"})},
            "headers": {"X-Request-Id": {"required": True, "schema": {"type": "string"}}},
            "securitySchemes": SCHEMES,
            "responses": {str(status): _error(status) for status in _ERRORS},
        },
    }


def operation(plugin: str, route: Route, schemas: Schemas) -> Schema:
    """Describe a route by its declaration."""
    summary, details = _read_docstring(route)
    description = f"Needs: `{route.needs}`."
    if route.workers:
        description += " Workers may call it for a user."
    if details:
        description = f"{details}\n\n{description}"
    security: list[Schema] = []
    if route.needs.kind != "public":
        security = [{name: []} for name in SCHEMES]
    described: Schema = {
        "operationId": operation_id(route.method, route.path),
        "tags": [plugin],
        "summary": summary,
        "description": description,
        "x-permission": str(route.needs),
        "security": security,
    }
    parameters = [*_path_parameters(route.path), *_query_parameters(route, schemas)]
    parameters += route.openapi.get("parameters", ())
    if parameters:
        described["parameters"] = parameters
    if route.body is not None:
        body = schemas.schema_of(route.body)
        described["requestBody"] = {"required": True, "content": _json(body)}
    described["responses"] = _responses(route, schemas)
    members = {name: value for name, value in route.openapi.items() if name != "parameters"}
    return _merge(described, members)


def operation_id(method: str, path: str) -> str:
    """Make the id of an operation, unique for method and path."""
    page = path.replace("*}", "}")
    if path.endswith("/"):
        page = f"{path}index"
    if path.startswith("/apps/"):  # the page of an app, beside /api/v1/apps/…
        page = f"/page{page}"
    words = re.sub(r"[^A-Za-z0-9]+", "_", page.removeprefix("/api/v1")).strip("_")
    return f"{method.lower()}_{words}"


def tag(plugin: str, route: Route) -> Schema:
    """Make the tag of a plugin, with the docstring of its routes' module."""
    module = sys.modules[getattr(route.handler, "__module__", "") or __name__]
    summary = (module.__doc__ or "").partition("\n\n")[0]
    return {"name": plugin, "description": summary.replace("\n", " ")}


def put(tree: Schema, path: str, method: str, described: Schema) -> None:
    """Add an operation to a document."""
    tree["paths"].setdefault(path.replace("*}", "}"), {})[method.lower()] = described


def tags_of(pairs: Iterable[tuple[str, Route]]) -> list[Schema]:
    """Make a tag for each plugin, described by its first route."""
    first_routes: dict[str, Route] = {}
    for plugin, route in pairs:
        first_routes.setdefault(plugin, route)
    return [tag(plugin, route) for plugin, route in sorted(first_routes.items())]


def _read_docstring(route: Route) -> tuple[str, str]:
    """Return the first line of the handler's docstring, and what follows it."""
    docstring = inspect.getdoc(route.handler) or f"{route.method} {route.path}"
    summary, _, details = docstring.partition("\n\n")
    return summary.replace("\n", " "), details


def _path_parameters(path: str) -> list[Schema]:
    described: list[Schema] = []
    for name in re.findall(r"\{(\w+)\*?\}", path):
        schema: Schema = {"type": "string", "minLength": 1}
        if name in _UUIDS:
            schema = {"type": "string", "format": "uuid"}
        described.append({"name": name, "in": "path", "required": True, "schema": schema})
    return described


def _query_parameters(route: Route, schemas: Schemas) -> list[Schema]:
    if route.query is None:
        return []
    return [
        query_parameter(name, schema, required=required)
        for name, schema, required in schemas.parameters(route.query)
    ]


def query_parameter(name: str, schema: Schema, *, required: bool = False) -> Schema:
    """Describe a query parameter; an object describes all names that have none of their own."""
    described: Schema = {"name": name, "in": "query", "required": required}
    description = schema.get("description")
    if description:
        described["description"] = description
    if schema.get("type") == "object":
        described |= {"style": "form", "explode": True}
    described["schema"] = {key: value for key, value in schema.items() if key != "description"}
    return described


def _responses(route: Route, schemas: Schemas) -> Schema:
    """Describe every reply, before the route's own members are merged over them."""
    success = str(route.status)
    declared = route.openapi.get("responses", {})
    described: Schema = {status: {"headers": _REQUEST_ID} for status in (success, *declared)}
    described[success]["description"] = HTTPStatus(route.status).phrase
    has_content = "content" in declared.get(success, {})
    if route.returns is not None:
        described[success]["content"] = _json(schemas.schema_of(route.returns))
    elif route.status < HTTPStatus.MULTIPLE_CHOICES and not has_content:
        described[success]["content"] = _json({})
    errors = {str(status): {"$ref": f"{_RESPONSES}{status}"} for status in statuses(route)}
    return described | errors


def statuses(route: Route) -> Sequence[int]:
    """Return the error statuses of a route: by its need, its body and its declaration."""
    errors = {503, *route.errors}
    if route.needs.kind != "public":
        errors.add(401)
    if route.needs.kind not in ("public", "user"):
        errors.add(403)
    if "{" in route.path:
        errors.add(404)
    if route.body is not None or "requestBody" in route.openapi:
        errors |= {400, 413}
    if route.query is not None:
        errors.add(400)
    return sorted(errors)


def _json(schema: Schema) -> Schema:
    return {JSON: {"schema": schema}}


def _envelope(**members: Schema) -> Schema:
    description = "What every error says: one sentence for people."
    properties = {"error": {"type": "string"}, **members}
    return closed(properties, description=description, required=["error"])


def _error(status: int) -> Schema:
    component = "Error"
    if status == _FAILED:
        component = "Conflict"
    return {
        "description": _ERRORS[status],
        "headers": _REQUEST_ID | _HEADERS.get(status, {}),
        "content": _json({"$ref": _SCHEMAS + component}),
    }


def _merge(base: Any, overlay: Any) -> Any:
    """Merge the members of `overlay` over those of `base`, object by object."""
    if not isinstance(base, dict) or not isinstance(overlay, Mapping):
        return overlay
    merged: dict[str, Any] = dict(base)  # pyright: ignore[reportUnknownArgumentType]
    for name, value in overlay.items():  # pyright: ignore[reportUnknownVariableType]
        merged[name] = _merge(merged[name], value) if name in merged else value
    return merged
