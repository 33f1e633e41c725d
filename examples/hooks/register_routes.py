"""Adds a route: what its caller needs, what its body must be."""

from typing import Annotated

from msgspec import Meta, Struct

from caudex import ANY_USER, Plugin, Request, Response, Route, Services, hookimpl, reply


class Sum(Struct, frozen=True, forbid_unknown_fields=True):
    """The body; what does not fit is answered by 400 before the handler is entered."""

    numbers: Annotated[list[float], Meta(min_length=1, max_length=100)]


class RegisterRoutesPlugin(Plugin):
    """Adds up."""

    name = "register_routes"

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        """Any signed-in user may use it."""
        return [Route("POST", "/api/v1/sum", self.add, needs=ANY_USER, body=Sum)]

    async def add(self, request: Request, body: Sum) -> Response:
        """Add up."""
        return reply({"sum": sum(body.numbers), "for": request.actor.username})
