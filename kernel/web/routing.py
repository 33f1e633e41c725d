"""From a path to a handler: a tree of segments, and the guard before every route."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kernel import errors
from kernel.contracts import hookspecs
from kernel.contracts.access import ACCESS, Access, AppGrants, Grant, Narrowing, Needs
from kernel.contracts.base import NOTHING, Actor, Delegation, Middleware, Services, supports
from kernel.contracts.server import Handler, HookBus, Route
from kernel.errors.source_lines import source_line
from kernel.toolkit.requests import CURRENT_REQUEST, RequestContext
from kernel.web.bodies import Bodies, check_content, decode
from kernel.web.requests import Request
from kernel.web.scope import CALL, RouteCall, door_of, headers_of, passes_door

OTHER_DOOR: Final = "the token is for another host: log in here"
MAX_PATH: Final = 2048
"""Characters of a path that a route can have."""
EVERY_RIGHT: Final = Needs("user", "*")
"""What a caller with limits needs for a route that does not know of them."""


class _Node(msgspec.Struct):
    literal: dict[str, _Node] = {}
    parameter: _Node | None = None
    rest: _Node | None = None
    routes: dict[str, _Endpoint] = {}


class _Endpoint(msgspec.Struct):
    plugin: str
    route: Route
    names: Sequence[str]
    """Of the parameters in the path."""
    handler: Handler
    decoder: msgspec.json.Decoder[Any] | None


RouteAddress = tuple[str, str]
"""The method and the path of a route, as it was declared."""


class Exchange(msgspec.Struct, frozen=True):
    """A request of ASGI: what it is, where its body comes from, and where the reply goes."""

    scope: Scope
    receive: Receive
    send: Send


class RouteTable:
    """The routes of all plugins. A literal segment has precedence over a parameter, and a
    parameter over the rest of a path. The cost depends on the length of the path, not on the number
    of routes."""

    def __init__(self, services: Services, bus: HookBus) -> None:
        self._services = services
        self._bus = bus
        self._bodies = Bodies()
        self._root = _Node()
        self._endpoints: list[_Endpoint] = []
        self._endpoints_by_address: dict[RouteAddress, _Endpoint] = {}
        self._app_hosts: ASGIApp | None = None

    def add(self, plugin: str, route: Route) -> str | None:
        """Add a route, or return the name of the plugin that already has it."""
        node = self._root
        names = list[str]()
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
        existing = node.routes.get(route.method)
        if existing is not None:
            return existing.plugin
        decoder = None if route.body is None else msgspec.json.Decoder(route.body)
        endpoint = _Endpoint(plugin, route, names, route.handler, decoder)
        node.routes[route.method] = endpoint
        self._endpoints.append(endpoint)
        self._endpoints_by_address.setdefault((route.method, route.path), endpoint)
        return None

    def close(self, plugin: str) -> None:
        """Answer 503 for a plugin that failed to start, to callers that pass the guard."""

        async def refuse(_: Request) -> Response:
            message = f"plugin {plugin} is not available: it failed to start"
            raise errors.Unavailable(message, retry_after=60)

        for endpoint in self._endpoints:
            if endpoint.plugin == plugin:
                endpoint.handler = refuse
                endpoint.decoder = None
                endpoint.route = msgspec.structs.replace(endpoint.route, admit=None)

    def wrap_handlers(self, wrap: Callable[[str, Handler], Handler]) -> None:
        """Serve each route by what `wrap(plugin, handler)` returns."""
        for endpoint in self._endpoints:
            endpoint.handler = wrap(endpoint.plugin, endpoint.handler)

    def wrap_app_hosts(self, wrap: Middleware) -> None:
        """Serve requests that came through the host of an app by what `wrap(routes)` returns."""
        self._app_hosts = wrap(self._app_hosts or self.handle)

    async def handle_inner(self, at: RouteAddress, caller: Actor, exchange: Exchange) -> None:
        """Guard a route for a caller of another route, and run it within the request of that one.

        Raises LookupError for a route that does not exist.
        """
        endpoint = self._endpoints_by_address.get(at)
        if endpoint is None:
            raise LookupError(f"there is no route {' '.join(at)}")
        path = exchange.scope["path_params"]
        context = RequestContext(endpoint.plugin, path.get("app_id"))
        call = RouteCall(endpoint.plugin, endpoint.route, context)
        call.caller = caller
        exchange.scope[CALL] = call
        outer_context = CURRENT_REQUEST.set(context)
        try:
            response = await self._serve(endpoint, call, exchange.scope, exchange.receive)
            await response(exchange.scope, exchange.receive, exchange.send)
        finally:
            CURRENT_REQUEST.reset(outer_context)
            await context.end()

    def find(self, at: RouteAddress) -> Route | None:
        """Return a route by its method and path; None for an unknown one."""
        endpoint = self._endpoints_by_address.get(at)
        return None if endpoint is None else endpoint.route

    def declared(self) -> Sequence[tuple[str, Route]]:
        """(plugin, route) pairs in the order of their declaration."""
        return [(endpoint.plugin, endpoint.route) for endpoint in self._endpoints]

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find the route, guard it, run it."""
        if self._app_hosts is not None and door_of(scope) is not None and passes_door(scope):
            await self._app_hosts(scope, receive, send)
            return
        match = None
        if len(scope["path"]) <= MAX_PATH:
            match = _walk(self._root, _segments(scope), [])
        if match is None:
            raise errors.NotFound("there is no such route")
        node, values = match
        method = scope["method"]
        endpoint = node.routes.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            await _answer_options(node, scope, receive, send)
            return
        path = dict(zip(endpoint.names, values, strict=True))
        scope["path_params"] = path
        context = RequestContext(endpoint.plugin, path.get("app_id"))
        call = RouteCall(endpoint.plugin, endpoint.route, context)
        scope[CALL] = call
        CURRENT_REQUEST.set(context)  # each request has a task of its own, so it is never reset
        try:
            response: Any = await self._serve(endpoint, call, scope, receive)
            if not isinstance(response, Response):
                route = f"{endpoint.route.method} {endpoint.route.path}"
                raise errors.NoReply(route, response, source_line(endpoint.route.handler))
            await response(scope, receive, send)
        finally:
            context.ended = True
            if context.opened:
                await context.end()

    async def _serve(
        self, endpoint: _Endpoint, call: RouteCall, scope: Scope, receive: Receive
    ) -> Response:
        route = endpoint.route
        decoder = endpoint.decoder
        handler = endpoint.handler
        request = Request(scope, receive if decoder is None else _consumed)
        await self._guard(call, request)
        if "\ufffd" in scope["path"]:
            _check_path(scope)
        headers = headers_of(scope)
        length = headers.get(b"content-length")
        if length and length.isdigit() and int(length) > route.max_body:
            raise errors.TooLarge(route.max_body)
        if decoder is None:
            if route.method != "GET":  # it may read a body by itself
                call.repeat_guard = partial(self._guard, call, request)
            return await handler(request)
        check_content(headers)
        return await self._bodies.read_and_handle(
            request.actor.user_id,
            receive,
            route.max_body,
            lambda raw: handler(request, decode(raw, decoder)),
            partial(self._guard, call, request),
        )

    @cached_property
    def _access(self) -> Access:
        return self._services.get(ACCESS)

    async def _guard(self, call: RouteCall, request: Request) -> None:
        """Let pass who may call the route, and note the actor and the grant."""
        route = call.route
        needs = route.needs
        door = door_of(request.scope)
        if needs.kind == "public":
            if door is not None:
                _check_public(route, door, request.scope["path_params"])
            call.actor = Actor(
                user_id=None,
                request_id=request.request_id,
                address=request.address,
                limits=NOTHING,
                door=door,
            )
        else:
            actor = call.caller
            if actor is None:
                actor = await self._bus.first(hookspecs.authenticate, request=request)
            if actor is None:
                raise errors.Unauthenticated
            call.actor = actor
            call.context.user_id = actor.user_id
            path: Mapping[str, str] = request.scope["path_params"]
            if door is not None or actor.door is not None:
                _check_door(route, actor, door, path)
            if actor.delegation is not None:
                self._check_worker(route, actor.delegation, path)
            if actor.limits is not None and actor.limits.narrow:
                call.grant = await self._narrow(route, actor, path)
            elif needs.kind == "user":
                call.grant = Grant()
            else:
                call.grant = await self._access.authorize(actor, needs, path)
        if route.admit is not None:
            await route.admit(request)

    async def _narrow(self, route: Route, actor: Actor, path: Mapping[str, str]) -> Grant:
        """Return what a caller with limits may do. Raises Forbidden."""
        can_narrow = supports(self._access, Narrowing)
        if not can_narrow:
            raise errors.Forbidden("the permissions of this server cannot be narrowed")
        needs = route.needs
        if needs.kind == "user":
            if not route.narrowed:
                needs = EVERY_RIGHT
            elif "app_id" not in path:
                return Grant()
        return await self._access.authorize(actor, needs, path)

    def _check_worker(self, route: Route, delegation: Delegation, path: Mapping[str, str]) -> None:
        """Refuse a worker's token, except for its own app, and for others if ACCESS has grants."""
        app_id = path.get("app_id", delegation.app_id)
        has_grants = route.needs.kind != "user" and supports(self._access, AppGrants)
        if not route.workers or (app_id != delegation.app_id and not has_grants):
            raise errors.Forbidden("a worker may not do this on behalf of a user")


def _check_public(route: Route, door: str, path: Mapping[str, str]) -> None:
    """Let a public route be there on an app's host if it says so. Raises NotFound."""
    if not route.app_hosts or path.get("app_id", door) != door:
        raise errors.NotFound("there is no such route")


def _check_door(route: Route, actor: Actor, door: str | None, path: Mapping[str, str]) -> None:
    """Refuse credentials of another door, and on an app's host what is not for its tokens.

    Raises Unauthenticated, Forbidden.
    """
    if actor.door != door:
        raise errors.Unauthenticated(OTHER_DOOR).with_caller(actor.user_id, actor.session_id)
    if not route.app_hosts or path.get("app_id", door) != door:
        raise errors.Forbidden("this cannot be done on the host of an app")


async def _answer_options(node: _Node, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the methods of a path. Raises MethodNotAllowed for another one."""
    methods = [*node.routes, "OPTIONS"]
    if "GET" in node.routes:
        methods.append("HEAD")
    headers = {"allow": ", ".join(sorted(methods))}
    method = scope["method"]
    if method != "OPTIONS":
        raise errors.MethodNotAllowed(f"{method} is not supported here", headers=headers)
    await Response(status_code=204, headers=headers)(scope, receive, send)


def _walk(
    node: _Node, segments: Sequence[str], values: list[str]
) -> tuple[_Node, list[str]] | None:
    """Follow the segments; where several match, try a literal, a parameter and the rest of the
    path, in that order."""
    for at, segment in enumerate(segments, 1):
        if node.rest is not None:
            without_rest = msgspec.structs.replace(node, rest=None)
            remaining = segments[at - 1 :]
            match = _walk(without_rest, remaining, values[:])
            return match or (node.rest, [*values, "/".join(remaining)])
        following = node.literal.get(segment)
        if following is None:
            following = node.parameter if segment else None
            if following is None:
                return None
            values.append(segment)
        elif node.parameter is not None:
            remaining = segments[at:]
            match = _walk(following, remaining, values[:])
            return match or _walk(node.parameter, remaining, [*values, segment])
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
