"""From a path to a handler: a tree of segments, and the guard before every route."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from kernel import errors
from kernel.contracts import hookspecs
from kernel.contracts.access import ACCESS, Access, AppGrants, Grant
from kernel.contracts.base import Actor, Delegation, supports
from kernel.contracts.server import Handler, Route
from kernel.hooks.bus import HookBus
from kernel.hooks.mistakes import place
from kernel.hooks.services import Services
from kernel.toolkit.requests import CURRENT_REQUEST, RequestContext
from kernel.web.bodies import Bodies, check_content, decode
from kernel.web.http import AGAIN, Request

CONTEXT = "caudex.context"
"""Key in a scope of the request's `RequestContext`."""


class _Node(msgspec.Struct):
    literal: dict[str, _Node] = {}
    parameter: _Node | None = None
    rest: _Node | None = None
    routes: dict[str, _Target] = {}


class _Target(msgspec.Struct):
    plugin: str
    route: Route
    names: Sequence[str]
    handler: Handler
    decoder: msgspec.json.Decoder[Any] | None


class RouteTable:
    """The routes of all plugins. A literal segment has precedence over a parameter, and a
    parameter over the rest of a path. The cost depends on the length of the path, not on the number
    of routes."""

    def __init__(self, services: Services, bus: HookBus) -> None:
        self._services = services
        self._bus = bus
        self._bodies = Bodies()
        self._root = _Node()
        self._targets: list[_Target] = []

    def add(self, plugin: str, route: Route) -> str | None:
        """Add a route, or return the name of the plugin that already has it."""
        node, names = self._root, list[str]()
        for segment in route.path.removeprefix("/").split("/"):
            if segment.endswith("*}"):
                names.append(segment[1:-2])
                node.rest = node.rest or _Node()
                node = node.rest
            elif segment.startswith("{"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literal.setdefault(segment, _Node())
        if taken := node.routes.get(route.method):
            return taken.plugin
        decoder = None if route.body is None else msgspec.json.Decoder(route.body)
        target = _Target(plugin, route, names, route.handler, decoder)
        node.routes[route.method] = target
        self._targets.append(target)
        return None

    def close(self, plugin: str) -> None:
        """Answer 503 for a plugin that failed to start, to callers that pass the guard."""

        async def away(_: Request) -> Response:
            said = f"plugin {plugin} is not available: it failed to start"
            raise errors.Unavailable(said, retry_after=60)

        for target in self._targets:
            if target.plugin == plugin:
                target.handler, target.decoder = away, None
                target.route = msgspec.structs.replace(target.route, admit=None)

    def wrap_handlers(self, wrap: Callable[[str, Handler], Handler]) -> None:
        """Serve each route by what `wrap(plugin, handler)` returns."""
        for target in self._targets:
            target.handler = wrap(target.plugin, target.handler)

    def declared(self) -> Sequence[tuple[str, Route]]:
        """(plugin, route) pairs in the order of their declaration."""
        return [(target.plugin, target.route) for target in self._targets]

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find the route, guard it, run it."""
        found = _walk(self._root, _segments(scope), []) if len(scope["path"]) <= 2048 else None
        if found is None:
            raise errors.NotFound("there is no such route")
        (node, values), method = found, scope["method"]
        target = node.routes.get("GET" if method == "HEAD" else method)
        if target is None:
            head = ["HEAD"] if "GET" in node.routes else []
            allow = {"allow": ", ".join(sorted([*node.routes, *head, "OPTIONS"]))}
            if method != "OPTIONS":
                raise errors.MethodNotAllowed(f"{method} is not supported here", headers=allow)
            await Response(status_code=204, headers=allow)(scope, receive, send)
            return
        scope["path_params"] = path = dict(zip(target.names, values, strict=True))
        scope[CONTEXT] = context = RequestContext(target.plugin, path.get("app_id"))
        CURRENT_REQUEST.set(context)  # each request has a task of its own, so it is never reset
        try:
            response: Any = await self._serve(target, scope, receive)
            if not isinstance(response, Response):
                route = f"{target.route.method} {target.route.path}"
                raise errors.NoReply(route, response, place(target.route.handler))
            await response(scope, receive, send)
        finally:
            context.ended = True
            if context.opened:
                await context.end()

    async def _serve(self, target: _Target, scope: Scope, receive: Receive) -> Response:
        route, decoder, handler = target.route, target.decoder, target.handler
        request = Request(scope, receive if decoder is None else _consumed)
        scope["caudex.plugin"], scope["caudex.route"] = target.plugin, route
        await self._guard(route, request)
        if "\ufffd" in scope["path"]:
            _check_path(scope)
        headers: Mapping[bytes, bytes] = scope["caudex.headers"]
        declared = headers.get(b"content-length")
        if declared and declared.isdigit() and int(declared) > route.max_body:
            raise errors.TooLarge(route.max_body)
        if decoder is None:
            if route.method != "GET":  # it may read a body by itself
                scope[AGAIN] = partial(self._guard, route, request)
            return await handler(request)
        check_content(headers)
        return await self._bodies.handled(
            request.actor.user_id,
            receive,
            route.max_body,
            lambda raw: handler(request, decode(raw, decoder)),
            partial(self._guard, route, request),
        )

    @cached_property
    def _access(self) -> Access:
        return self._services.get(ACCESS)

    async def _guard(self, route: Route, request: Request) -> None:
        scope, needs = request.scope, route.needs
        if needs.kind == "public":
            actor = Actor(user_id=None, request_id=request.request_id, address=request.address)
            scope["caudex.actor"] = actor
        else:
            actor = await self._bus.first(hookspecs.authenticate, request=request)
            if actor is None:
                raise errors.Unauthenticated
            scope["caudex.actor"], path = actor, scope["path_params"]
            scope[CONTEXT].user_id = actor.user_id
            if actor.delegation is not None:
                self._check_worker(route, actor.delegation, path)
            user = needs.kind == "user"
            grant = Grant() if user else await self._access.authorize(actor, needs, path)
            scope["caudex.grant"] = grant
        if route.admit is not None:
            await route.admit(request)

    def _check_worker(self, route: Route, delegation: Delegation, path: Mapping[str, str]) -> None:
        """Refuse a worker's token, except for its own app, and for others if ACCESS has grants."""
        app_id = path.get("app_id", delegation.app_id)
        granted = route.needs.kind != "user" and supports(self._access, AppGrants)
        if not route.workers or (app_id != delegation.app_id and not granted):
            raise errors.Forbidden("a worker may not do this on behalf of a user")


def _walk(
    node: _Node, segments: Sequence[str], values: list[str]
) -> tuple[_Node, list[str]] | None:
    """Follow the segments; where several match, try a literal, a parameter and the rest of the
    path, in that order."""
    for at, segment in enumerate(segments, 1):
        if node.rest is not None:
            others, rest = msgspec.structs.replace(node, rest=None), segments[at - 1 :]
            return _walk(others, rest, values[:]) or (node.rest, [*values, "/".join(rest)])
        following = node.literal.get(segment)
        if following is None:
            following = node.parameter if segment else None
            if following is None:
                return None
            values.append(segment)
        elif node.parameter is not None:
            rest, other = segments[at:], [*values, segment]
            return _walk(following, rest, values[:]) or _walk(node.parameter, rest, other)
        node = following
    return (node, values) if node.routes else None


def _segments(scope: Scope) -> list[str]:
    """Split a path; an encoded slash is part of its segment, such as a text id."""
    raw: bytes = scope.get("raw_path") or b""
    if raw.find(b"%") >= 0 and b"%2f" in raw.lower():
        return [unquote(segment) for segment in raw.decode("latin-1")[1:].split("/")]
    return scope["path"][1:].split("/")


async def _consumed() -> Message:
    raise RuntimeError("the route reads the body: the handler gets it decoded")


def _check_path(scope: Scope) -> None:
    """Refuse a replacement character from invalid UTF-8: it could match another record's id."""
    try:
        unquote_to_bytes(scope.get("raw_path") or b"").decode()
    except UnicodeDecodeError:
        raise errors.BadRequest("the path is not valid UTF-8") from None
