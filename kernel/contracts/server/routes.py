"""Routes: what plugins answer over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from kernel.contracts.access import Needs

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["MAX_BODY", "Handler", "Message", "Route"]

MAX_BODY = 50_000_000
"""Bytes of the body that a route accepts by default."""

Handler = Callable[..., Awaitable["Response"]]
"""Answers the requests of a route: `async def (request)`, or `async def (request, body)`."""


class Route(msgspec.Struct, frozen=True):
    """One method on one path: `Route("POST", "/api/v1/things/{id}", handler, needs=ANY_USER)`.

    With `body` the handler is `async def (request, body)` and gets the decoded JSON, without it
    `async def (request)`. A body has at most `max_body` bytes. `needs` is checked before the body
    is read. So is `admit`, an `async def (request)` that raises Forbidden, for rules that `needs`
    cannot express. Without `workers`, a worker that calls the route on behalf of a user gets a 403
    (see `Delegation`). A route with `narrowed` asks for rights with `Actor.limits` itself: without
    it, a caller whose limits take away any right of the app, or of `core`, gets a 403 where `needs`
    is ANY_USER.

    The rest documents the API and costs a request nothing: `returns` is the type of the reply's
    JSON and `status` its code, `query` a Struct with a field for each query parameter, `errors`
    the statuses of errors that do not follow from the rest, `openapi` members that replace those
    of the operation in an OpenAPI document.
    """

    method: str
    path: str
    handler: Handler
    needs: Needs
    body: Any = None
    max_body: int = MAX_BODY
    returns: Any = None
    status: int = 200
    query: type[msgspec.Struct] | None = None
    errors: tuple[int, ...] = ()
    openapi: Mapping[str, Any] = {}
    admit: Callable[..., Awaitable[None]] | None = None
    workers: bool = False
    narrowed: bool = False


class Request(Protocol):
    """A request as `authenticate` gets it; `caudex.Request` has the rest."""

    @property
    def scope(self) -> MutableMapping[str, Any]:
        """The scope of ASGI, see also `headers_of`."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by their names, without regard to case."""
        ...

    @property
    def method(self) -> str:
        """Such as GET."""
        ...

    @property
    def request_id(self) -> str:
        """The id in the reply, every log line and every audit row."""
        ...

    @property
    def address(self) -> str:
        """The client's address, behind trusted proxies."""
        ...

    def path(self, name: str) -> str:
        """Return a path parameter."""
        ...


class Message(msgspec.Struct, frozen=True):
    """The reply of a route that acts: a sentence that says what was done."""

    message: str
