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

    `returns`, `status`, `query`, `errors` and `openapi` document the API and cost a request
    nothing. A path parameter `{token}` is a secret: the log of refused requests leaves it out.
    """

    method: str
    path: str
    handler: Handler
    needs: Needs
    """What the caller must hold. It is checked before the body is read."""
    body: Any = None
    """The type of the body. With it the handler is `async def (request, body)` and gets the decoded
    JSON, without it `async def (request)`."""
    max_body: int = MAX_BODY
    """Bytes of the body."""
    returns: Any = None
    """The type of the reply's JSON."""
    status: int = 200
    """The code of the reply."""
    query: type[msgspec.Struct] | None = None
    """A Struct with a field for each query parameter."""
    errors: tuple[int, ...] = ()
    """The statuses of errors that do not follow from the rest."""
    openapi: Mapping[str, Any] = {}
    """Members that replace those of the operation in an OpenAPI document."""
    admit: Callable[..., Awaitable[None]] | None = None
    """Rules that `needs` cannot express: an `async def (request)` that raises Forbidden. It is
    called before the body is read."""
    workers: bool = False
    """Whether a worker may call the route on behalf of a user (see `Delegation`); else it gets a
    403."""
    app_hosts: bool = False
    """Whether the route is there on the hosts of apps (see the hook `app_of_host`), for tokens that
    were issued through them; else a caller gets a 403 there, and a 404 if the route is public. The
    path's `app_id` must be that app."""
    narrowed: bool = False
    """Whether the route asks for rights with `Actor.limits` itself. Where it does not and `needs`
    is ANY_USER, a caller gets a 403 whose limits take away any right of the app, or of `core`."""


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
