"""What the kernel keeps in the scope of a request. Only this module knows the keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.types import Scope

from kernel.contracts.base import Actor
from kernel.contracts.server import Route
from kernel.toolkit.requests import RequestContext
from kernel.web.arrivals.admission import Place

__all__ = ["door_of", "headers_of", "request_id_of", "route_of", "with_authorization"]

ARRIVAL: Final = "caudex.arrival"
CALL: Final = "caudex.call"
PASSED: Final = "caudex.passed"


class Arrival(msgspec.Struct):
    """A request as the edge received it."""

    headers: Mapping[bytes, bytes]
    request_id: str
    address: str
    """The client's address, behind trusted proxies."""
    door: str | None = None
    """The app whose host it came through; None for the server's own host."""
    has_passed_door: bool = False
    has_ended: bool = False
    place: Place | None = None
    """Its place among the requests that the process serves."""


class RouteCall(msgspec.Struct, eq=False):
    """The call of a route. A middleware that copies the scope can begin several in one request."""

    plugin: str
    route: Route
    context: RequestContext
    actor: Any = None
    """An Actor, set by the guard."""
    grant: Any = None
    """A Grant, set by the guard of a route that is not public."""
    caller: Actor | None = None
    """Who calls a route from within another one, which has authenticated it already."""
    repeat_guard: Callable[[], Awaitable[None]] | None = None
    """Guards the route again, after a handler has read the body by itself."""


def begin_request(
    scope: Scope, request_id: str, address: str, headers: Mapping[bytes, bytes] | None = None
) -> Arrival:
    """Keep what the edge knows of a request. `headers` are those of the scope as a mapping."""
    known_headers = dict(scope["headers"]) if headers is None else headers
    arrival = Arrival(known_headers, request_id, address)
    scope[ARRIVAL] = arrival
    return arrival


def arrival_of(scope: Scope) -> Arrival:
    """Return a request as the edge received it. Raises KeyError outside of the edge."""
    return scope[ARRIVAL]


def leave_place(scope: Scope) -> None:
    """Count a request no more among those that the process serves at once: it is a stream, which
    may stay for days and has a limit of its own."""
    arrival: Arrival | None = scope.get(ARRIVAL)
    if arrival is not None and arrival.place is not None:
        arrival.place.leave()


def call_of(scope: Scope) -> RouteCall | None:
    """Return the call of a route, or None before one is found."""
    return scope.get(CALL)


def door_of(scope: Scope) -> str | None:
    """Return the app whose host a request came through (see the hook `app_of_host`).

    None for the server's own host. Only tokens of this door are good there: see `Actor.door`.
    """
    return scope[ARRIVAL].door


def with_authorization(scope: Scope, value: bytes) -> Scope:
    """Return a copy of a scope with other credentials: this value of the header Authorization.

    A plugin that keeps credentials for a browser asks the hook `authenticate` with it.
    """
    arrival: Arrival = scope[ARRIVAL]
    name = b"authorization"
    pairs = [pair for pair in scope["headers"] if pair[0] != name]
    headers = {**arrival.headers, name: value}
    return {
        **scope,
        "headers": [*pairs, (name, value)],
        ARRIVAL: msgspec.structs.replace(arrival, headers=headers),
    }


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """Return the headers of a request by their names in lower case, such as `b"if-match"`.

    Of a header that is repeated it has the last value; `scope["headers"]` has all.
    """
    return scope[ARRIVAL].headers


def passes_door(scope: Scope) -> bool:
    """Return whether a request that came through the host of an app meets its door for the first
    time. What answers there may pass it on to the routes."""
    arrival: Arrival = scope[ARRIVAL]
    if arrival.door is None or arrival.has_passed_door:
        return False
    arrival.has_passed_door = True
    return True


def request_id_of(scope: Scope) -> str:
    """Return the id of a request, or an empty text before the kernel has received it."""
    arrival: Arrival | None = scope.get(ARRIVAL)
    return "" if arrival is None else arrival.request_id


def route_of(scope: Scope) -> Route | None:
    """Return the route that serves a request, or None before one is found."""
    call: RouteCall | None = scope.get(CALL)
    return None if call is None else call.route
