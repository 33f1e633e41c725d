"""HTTP: decode, call the service, encode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from caudex import Request, Response, Route, Services, core_permission, read_limit, reply

from .service import GREETINGS


class Greeting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /api/v1/hello`."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]


class HelloRoutes:
    """The routes of the plugin."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Sequence[Route]:
        """Declare them; the kernel asks for the permission before a handler is entered."""
        read, greet = core_permission("hello.read"), core_permission("hello.greet")
        return [
            Route("GET", "/api/v1/hello", self.recent, needs=read),
            Route("POST", "/api/v1/hello", self.greet, needs=greet, body=Greeting, max_body=10_000),
        ]

    async def recent(self, request: Request) -> Response:
        """List the newest greetings."""
        limit = read_limit(request.query().get("limit"), default=20, maximum=100)
        return reply(await self._services.get(GREETINGS).recent(limit))

    async def greet(self, request: Request, body: Greeting) -> Response:
        """Greet a user."""
        return reply(await self._services.get(GREETINGS).greet(request.actor, body.name), 201)
