"""The pages of the REST API: every route with a request and its answer, one page of the built-in
plugins, one of those in contrib/."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from contrib.openapi.operations import operation, tag
from contrib.openapi.schemas import PREFIX, Schemas, select_needed, unmark
from docs import story, story_contrib
from docs.pages.code import table, with_contrib
from kernel.contracts.server import MAX_BODY, Route
from kernel.loading.kernel import Kernel

HEAD = """# REST

Every route of the built-in plugins. Bodies are JSON in UTF-8, and have at most 50 MB unless the
route has a smaller limit. A route that is not public needs `Authorization: Bearer <access token>`.
Every error is `{"error": "<one human sentence>"}`, and every reply has an `X-Request-Id`. A `limit`
above its maximum counts as the maximum. Timestamps of records end in `Z`, those of users in
`+00:00`.

A 503 with a `Retry-After` changed nothing: send the request again after that many seconds. A 503
without it may have changed something, so check before you repeat the request. In that case the
connection to PostgreSQL broke during a write, a worker ended before it replied or did not start, or
the server was stopping.

The examples are requests and replies of a server, with ids, times and tokens replaced. A test
sends the requests again and compares. Enabled plugins of contrib/ add
[routes of their own](rest-contrib.md). The same routes exist as an OpenAPI 3.1 document, for each
app with its own fields: [browse the API](../howto/browse-the-api.md).
"""
CONTRIB = """# REST of contrib/

Every route of the plugins in contrib/. A route exists while its plugin is enabled. The introduction
to the routes of the [built-in plugins](rest.md) also applies here.

The examples are requests and replies of a server that `docs/contrib.toml` configures. Those of
identity_header, which replaces auth, come from a server of `docs/proxy.toml`. There the proxy sends
two headers with each request: the user, and the secret that proves that it is the proxy. A redirect
is shown by its `location`.
"""
Pairs = Iterable[tuple[str, Route]]
Examples = Mapping[str, dict[str, Any]]


def page(kernel: Kernel) -> str:
    """The routes of the built-in plugins."""
    examples = story.read()
    routes = [pair for pair in kernel.routes if not is_page(pair[1].path)]
    return _page(HEAD, routes, {plugin: examples for plugin, _ in routes})


def is_page(path: str) -> bool:
    """Whether a route serves files to a browser: they are no part of the API."""
    return path == "/" or path.startswith(("/console", "/apps/", "/_auth/"))


def contrib_page(_: Kernel) -> str:
    """The routes of the plugins in contrib/."""
    pairs = [pair for kernel in with_contrib() for pair in contrib_routes(kernel)]
    return _page(CONTRIB, pairs, story.read(story_contrib.EXAMPLES))


def contrib_routes(kernel: Kernel) -> Pairs:
    """Those of a kernel's routes that are of a plugin in contrib/."""
    names = {info.name for info in kernel.plugins if info.origin == "contrib"}
    return [pair for pair in kernel.routes if pair[0] in names]


def _page(head: str, routes: Pairs, examples: Mapping[str, Examples]) -> str:
    """The routes by plugin, then by path."""
    pairs = sorted(routes, key=lambda pair: (pair[0], pair[1].path, pair[1].method))
    schemas = Schemas([route for _, route in pairs])
    parts, last = [head], ""
    for plugin, route in pairs:
        if plugin != last:
            parts.append(f"## {plugin}\n\n{tag(plugin, route)['description']}")
            last = plugin
        described = unmark(operation(plugin, route, schemas))
        parts += _route(route, described, schemas, examples.get(plugin, {}).get(_name(route)))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _name(route: Route) -> str:
    return f"{route.method} {route.path}"


def _route(
    route: Route, described: dict[str, Any], schemas: Schemas, example: dict[str, Any] | None
) -> list[str]:
    parts = [f"### {_name(route)}", described["summary"], described["description"]]
    if asked := [each for each in described.get("parameters", ()) if each["in"] == "query"]:
        rows = [
            (f"`{p['name']}`", *_words(p["schema"], schemas), p.get("description", ""))
            for p in asked
        ]
        parts.append(table(("parameter", "type", "default", "meaning"), rows))
    if route.body is not None and (rows := _members(schemas.schema_of(route.body), schemas)):
        parts.append(table(("member of the body", "type", "default"), rows))
    refused = [status for status in described["responses"] if status >= "400"]
    most = f" A body has at most {route.max_body:,} bytes." * (route.max_body < MAX_BODY)
    parts.append(f"Errors: {', '.join(refused)}." + (most if "413" in refused else ""))
    if headers := [each for each in described.get("parameters", ()) if each["in"] == "header"]:
        rows = [(f"`{each['name']}`", each["description"]) for each in headers]
        parts.insert(-1, table(("header", "meaning"), rows))
    if example is None:
        return parts
    shown = [part for each in example.get("more", ()) for part in _shown(route, each)]
    return [*parts, *_example(route, example), *shown]


def _shown(route: Route, example: dict[str, Any]) -> list[str]:
    """One more example, under a few words."""
    return [f"{example['shows']}:", *_example(route, example)]


def _example(route: Route, example: dict[str, Any]) -> list[str]:
    """The request as it goes over the wire, without its headers, and the reply below it."""
    body, sent = example["body"], f"{route.method} {example['path']}"
    sent += "".join(f"\n{name}: {value}" for name, value in example.get("headers", {}).items())
    if isinstance(body, str):
        sent += f"\n{body}"
    elif body is not None:
        sent += "\n\n" + _json(body)
    reply = example["reply"]
    if reply == "":
        return [f"```text\n{sent}\n```", f"{example['status']}."]
    if isinstance(reply, str):  # a page has line feeds alone, CSV has both
        shown = "```text\n{}\n```".format("\n".join(reply.splitlines()))
    else:
        shown = f"```json\n{_json(reply)}\n```"
    part = " (a part)" if _name(route) in story.CUT else ""
    return [f"```text\n{sent}\n```", f"{example['status']}{part}:", shown]


def _members(schema: dict[str, Any], schemas: Schemas) -> list[tuple[str, str, str]]:
    """The members of a body that is a Struct."""
    struct = schemas.components.get(str(schema.get("$ref", "")).removeprefix(PREFIX), {})
    rows: list[tuple[str, str, str]] = []
    for name, value in struct.get("properties", {}).items():
        kind, default = _words(value, schemas)
        needs = name in struct.get("required", ())
        rows.append((f"`{name}`", kind, "needed" if needs else default))
    return rows


def _words(schema: dict[str, Any], schemas: Schemas) -> tuple[str, str]:
    """A type in words, and its default."""
    default = schema.get("default")
    shown = "" if default in (None, {}, []) else f"`{json.dumps(default)}`"
    return _kind(schema, schemas), shown


def _kind(schema: dict[str, Any], schemas: Schemas) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(PREFIX)
        return _kind(select_needed(schemas.components, schema)[name], schemas)
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    if "anyOf" in schema:
        return " or ".join(_kind(each, schemas) for each in schema["anyOf"])
    words: dict[str, str] = {
        "string": "text",
        "integer": "whole number",
        "array": "list",
        "null": "null",
    }
    kind: str | list[str] = schema.get("type", "any JSON")
    kinds: Sequence[str] = [kind] if isinstance(kind, str) else kind
    of = f" of {_kind(schema['items'], schemas)}" if schema.get("items") else ""
    return " or ".join(words.get(each, each) for each in kinds) + of


def _json(value: Any) -> str:
    """JSON as people write it: what fits stays on one line."""
    return _written(value, "")


def _written(value: Any, indent: str) -> str:
    short = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(indent) + len(short) <= 88 or not value:
        return short
    inner = indent + "  "
    if isinstance(value, list):
        items = [inner + _written(item, inner) for item in cast("list[Any]", value)]
        return "[\n" + ",\n".join(items) + f"\n{indent}]"
    given = cast("dict[str, Any]", value).items()
    members = [f"{inner}{json.dumps(name)}: {_written(v, inner)}" for name, v in given]
    return "{\n" + ",\n".join(members) + f"\n{indent}}}"
