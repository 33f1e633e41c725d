"""Health and status over HTTP."""

from __future__ import annotations

from kernel.public import ANY_USER, PUBLIC, Request, Response, Route, Unavailable, reply

from .models import Sign, Status
from .service import SystemService


class SystemRoutes:
    """The handlers. `/health` asks nobody: it answers as long as the process lives."""

    def __init__(self, service: SystemService) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Every route with what it needs."""
        return [
            Route("GET", "/health", self.health, PUBLIC, returns=Sign),
            Route("GET", "/health/ready", self.ready, PUBLIC, returns=Sign),
            Route("GET", "/api/v1/status", self.status, ANY_USER, returns=Status),
        ]

    async def health(self, request: Request) -> Response:
        """Tell that the process lives."""
        return reply({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Tell whether the server can do its work; 503 names what is away."""
        if missing := await self._service.missing():
            raise Unavailable(f"not ready: {', '.join(missing)}")
        return reply({"status": "ready"})

    async def status(self, request: Request) -> Response:
        """Show the states of the server, its database and its subsystems."""
        return reply(await self._service.status())
