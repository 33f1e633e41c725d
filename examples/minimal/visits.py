"""A whole plugin: counts its visitors."""

from caudex import PUBLIC, Plugin, Response, Route, Services, hookimpl, reply


class VisitsPlugin(Plugin):
    """`GET /visits` counts visits since the start."""

    name = "visits"
    count = 0

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        """Declare one public route."""
        return [Route("GET", "/visits", self.visit, needs=PUBLIC)]

    async def visit(self, request: object) -> Response:
        """Count one more."""
        self.count += 1
        return reply({"visits": self.count})
