"""Routes that are called from within another one, such as by a door for agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from kernel.contracts.base import Actor, ServiceKey
from kernel.contracts.server.routes import Request, Route

__all__ = ["ROUTES", "InnerCall", "InnerReply", "Routes"]


class InnerCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a route that is named as it was declared: `GET`, `/api/v1/apps/{app_id}`.

    `path` has the parameters of the path by name, `query` those of the query string. A `body` is
    JSON. Of a reply with more than `max_reply` bytes the caller gets none.
    """

    method: str
    route: str
    path: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    max_reply: int = 4_000_000


class InnerReply(msgspec.Struct, frozen=True):
    """The reply of a route, with its HTTP `status`.

    One that is too large is not `is_whole`, and its body is empty.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool = True


class Routes(Protocol):
    """Calls routes as a client would, within the request of another route."""

    def find(self, method: str, route: str) -> Route | None:
        """Return a route by its method and path as declared, or None: its plugin is off."""
        ...

    async def call(self, request: Request, caller: Actor, call: InnerCall) -> InnerReply:
        """Call a route as `caller`, which the route of the request has authenticated.

        The route's guard runs as for any request: what it refuses to the caller is refused here.
        The call has the id of the request. It gets none of the request's headers but those that
        name its host and its client. Raises KernelError as the route does, and LookupError for
        a route that does not exist.
        """
        ...


ROUTES = ServiceKey[Routes]("routes")
"""The routes of this server."""
