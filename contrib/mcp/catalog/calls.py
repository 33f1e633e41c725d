"""From a tool to the routes behind it: what REST refuses is refused here, in the same words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from contrib.mcp.models import Json, Output, Tool
from kernel.public import (
    ACCESS,
    APPS,
    AUDIT,
    ROUTES,
    RPC_USER,
    Actor,
    AuditFilter,
    BadRequest,
    Forbidden,
    InnerCall,
    KernelError,
    NotFound,
    Request,
    Services,
    nearest,
)

from . import definitions as tools
from .actions import Actions
from .examples import describe_links, make_examples

APP_PATH: Final = "/api/v1/apps/{app_id}"
COLLECTION: Final = f"{APP_PATH}/collections/{{entity}}"
DEFAULT_LIMIT: Final = {"query_data": 50, "search_data": 20, "history": 20, "audit_search": 20}
"""Rows that a tool shows where its caller names no number: an agent reads each of them."""
GO_ON: Final = "repeat the call with offset={shown} added to its own, or with less in fields"
GO_BEFORE: Final = "repeat the call with before={last}"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Any).decode


class Visit(msgspec.Struct, frozen=True):
    """A call of a tool: the request that it came with, and who calls."""

    request: Request
    actor: Actor


Handler = Callable[[Visit, Json], Awaitable[Output]]


class ToolCalls:
    """Carries the tools out."""

    def __init__(self, services: Services, actions: Actions) -> None:
        self._services = services
        self._actions = actions
        self._handlers: Mapping[str, Handler] = {
            tools.LIST_APPS.name: self._list_apps,
            tools.DESCRIBE_APP.name: self._describe_app,
            tools.QUERY_DATA.name: self._query_data,
            tools.AGGREGATE_DATA.name: self._aggregate_data,
            tools.SEARCH_DATA.name: self._query_data,
            tools.MUTATE_DATA.name: self._mutate_data,
            tools.CALL_ACTION.name: self._call_action,
            tools.ENQUEUE_JOB.name: self._enqueue_job,
            tools.EXPLAIN_PERMISSION.name: self._explain_permission,
            tools.HISTORY.name: self._history,
            tools.UNDO_REQUEST.name: self._undo,
            tools.AUDIT_SEARCH.name: self._audit_search,
        }

    async def run(self, visit: Visit, tool: Tool, arguments: Json) -> Output:
        """Run a tool. Raises KernelError where the call is refused."""
        check_arguments(tool, arguments)
        members = dict(arguments)
        default = DEFAULT_LIMIT.get(tool.name)
        if default is not None:
            members.setdefault("limit", default)
        return await self._handlers[tool.name](visit, members)

    async def _list_apps(self, visit: Visit, _: Json) -> Output:
        apps = await self._get(visit, "/api/v1/apps")
        return Output(value={"apps": apps}, items="apps", hint="call describe_app for the others")

    async def _describe_app(self, visit: Visit, arguments: Json) -> Output:
        app_id = arguments["app"]
        described = await self._get(visit, APP_PATH, {"app_id": app_id})
        name = arguments.get("entity")
        entities: Sequence[Json] = described["entities"]
        if name is not None:
            entities = [entity for entity in entities if entity["name"] == name]
            if not entities:
                raise NotFound(f"entity '{name[:80]}' not found")
        app = await self._services.get(APPS).app(app_id)
        value = {
            **described,
            "entities": entities,
            "links": describe_links(entities),
            "actions": await self._actions.read(app),
            "examples": make_examples(app_id, entities),
        }
        names = ", ".join(entity["name"] for entity in described["entities"])[:300]
        hint = f"call describe_app with entity, one of {names}"
        return Output(value=value, items="entities", hint=hint.replace("{", "").replace("}", ""))

    async def _query_data(self, visit: Visit, arguments: Json) -> Output:
        body = _without(arguments, "app", "entity")
        path = {"app_id": arguments["app"], "entity": arguments["entity"]}
        answer = await self._post(visit, f"{COLLECTION}/query", path, body)
        return Output(value=answer, hint=GO_ON)

    async def _aggregate_data(self, visit: Visit, arguments: Json) -> Output:
        return await self._query_data(visit, arguments)

    async def _mutate_data(self, visit: Visit, arguments: Json) -> Output:
        operations: Sequence[Any] = arguments["operations"]
        count = len(operations)
        limit = arguments.get("max", tools.MAX_OPERATIONS)
        if not isinstance(limit, int) or not 1 <= limit <= tools.MAX_OPERATIONS:
            raise BadRequest(f"max must be from 1 to {tools.MAX_OPERATIONS}")
        if count > limit:
            raise BadRequest(f"there are {count} operations, and at most {limit} are allowed")
        expected = arguments.get("expect", count)
        if count != expected:
            raise BadRequest(f"{expected} operations are expected, and there are {count}")
        body = {"operations": operations, "dryRun": arguments.get("dryRun", False)}
        path = {"app_id": arguments["app"]}
        results = await self._post(visit, f"{APP_PATH}/batch", path, body)
        value = {"request": visit.request.request_id, **results}
        return Output(value=value, items="results", hint="all of them were done")

    async def _call_action(self, visit: Visit, arguments: Json) -> Output:
        app_id = arguments["app"]
        method = arguments["method"]
        access = self._services.get(ACCESS)
        await access.authorize(visit.actor, RPC_USER, {"app_id": app_id})
        app = await self._services.get(APPS).app(app_id)
        methods = [action["method"] for action in await self._actions.read(app)]
        if method not in methods:
            hint = nearest(method, methods)
            raise NotFound(f"app '{app_id}' declares no action {method[:80]!r}; {hint}")
        body = {"method": method, "params": arguments.get("params", {})}
        result = await self._post(visit, f"{APP_PATH}/rpc", {"app_id": app_id}, body)
        return Output(value={"result": result}, items="result")

    async def _enqueue_job(self, visit: Visit, arguments: Json) -> Output:
        path = {"app_id": arguments["app"]}
        body = _without(arguments, "app")
        return Output(value=await self._post(visit, f"{APP_PATH}/jobs", path, body))

    async def _explain_permission(self, visit: Visit, arguments: Json) -> Output:
        query = {
            "app": arguments["app"],
            "action": f"{arguments['entity']}.{arguments['action']}",
            "user": arguments.get("user") or visit.actor.user_id or "",
        }
        if arguments.get("record") is not None:
            query["record"] = arguments["record"]
        explained = await self._get(visit, "/api/v1/permissions/explain", query=query)
        return Output(value=explained, items="by")

    async def _history(self, visit: Visit, arguments: Json) -> Output:
        path = {"app_id": arguments["app"], "entity": arguments["entity"], "id": arguments["id"]}
        query = _texts(_without(arguments, "app", "entity", "id"))
        changes = await self._get(visit, f"{COLLECTION}/{{id}}/history", path, query)
        return Output(value={"data": changes}, hint=GO_BEFORE)

    async def _undo(self, visit: Visit, arguments: Json) -> Output:
        app_id = arguments["app"]
        await self._check_own(visit, app_id, arguments["request"])
        body = _without(arguments, "app")
        undone = await self._post(visit, f"{APP_PATH}/undo", {"app_id": app_id}, body)
        return Output(value=undone, items="records", hint="all of them were done")

    async def _check_own(self, visit: Visit, app_id: str, request_id: str) -> None:
        """Refuse the request of another user, also to admins: an agent takes back its own."""
        audit = self._services.find(AUDIT)
        if audit is None:
            return
        rows = await audit.search(AuditFilter(app_id=app_id, request_id=request_id, limit=1))
        if any(row["actor_id"] != visit.actor.user_id for row in _decode(rows)):
            raise Forbidden("only what the caller itself has changed can be undone here")

    async def _audit_search(self, visit: Visit, arguments: Json) -> Output:
        rows = await self._get(visit, "/api/v1/audit", query=_texts(arguments))
        return Output(value={"data": rows}, hint=GO_BEFORE)

    async def _get(
        self,
        visit: Visit,
        route: str,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        call = InnerCall(method="GET", route=route, path=path or {}, query=query or {})
        return await self._call(visit, call)

    async def _post(self, visit: Visit, route: str, path: Mapping[str, str], body: Json) -> Any:
        call = InnerCall(method="POST", route=route, path=path, body=_encode(body))
        return await self._call(visit, call)

    async def _call(self, visit: Visit, call: InnerCall) -> Any:
        """Return the JSON of a reply. Raises KernelError."""
        routes = self._services.get(ROUTES)
        if routes.find(call.method, call.route) is None:
            raise NotFound("this server has no such tool: the plugin behind it is off")
        reply = await routes.call(visit.request, visit.actor, call)
        if not reply.is_whole:
            if call.method == "GET" or call.route.endswith("/query"):
                raise BadRequest("the answer is too large: ask for fewer records or fields")
            return {"done": True, "cut": "it was done; the answer is too large to be shown"}
        value: Any = _decode(reply.body or b"{}")
        if reply.status >= 400:
            raise KernelError(value.get("error", "the call was refused"))
        return value


def check_arguments(tool: Tool, arguments: Json) -> None:
    """Refuse arguments that the schema of a tool does not have. Raises BadRequest.

    The route behind the tool checks their values; here are those that become a part of its path.
    """
    for name in arguments:
        if name not in tool.properties:
            raise BadRequest(f"unknown argument {name[:80]!r}; {nearest(name, tool.properties)}")
    for name in tool.required:
        if name not in arguments:
            raise BadRequest(f"{name} is required")
    for name, value in arguments.items():
        kind = tool.properties[name].get("type")
        if kind == "string" and not isinstance(value, str):
            raise BadRequest(f"{name} must be a text")
        if kind == "array" and not isinstance(value, list):
            raise BadRequest(f"{name} must be an array")


def _without(arguments: Json, *names: str) -> Json:
    return {name: value for name, value in arguments.items() if name not in names}


def _texts(arguments: Json) -> dict[str, str]:
    """Write arguments as parameters of a query string."""
    return {
        name: value if isinstance(value, str) else _encode(value).decode()
        for name, value in arguments.items()
    }
