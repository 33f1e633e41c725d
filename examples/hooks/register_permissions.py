"""Declares a permission on `core`, and a route that needs it."""

from caudex import (
    Permission,
    Plugin,
    Request,
    Response,
    Route,
    Services,
    core_permission,
    hookimpl,
    reply,
)


class RegisterPermissionsPlugin(Plugin):
    """Shows the till to those who may."""

    name = "register_permissions"

    @hookimpl
    def register_permissions(self) -> list[Permission]:
        """A role on `core` can hold it: `POST /api/v1/apps/core/roles`."""
        return [Permission("till.read", "See what is in the till")]

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        """The kernel asks for the permission before the handler is entered."""
        return [Route("GET", "/api/v1/till", self.till, needs=core_permission("till.read"))]

    async def till(self, request: Request) -> Response:
        """See what is in it."""
        return reply({"cents": 12_000})
