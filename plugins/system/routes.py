"""Health and status over HTTP."""

from __future__ import annotations

from kernel.public import ANY_USER, PUBLIC, Request, Response, Route, Unavailable, reply

from .service import SystemService


class SystemRoutes:
    """The handlers. `/health` asks nobody: it answers as long as the process lives."""

    def __init__(self, service: SystemService) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Every route with what it needs."""
        return [
            Route("GET", "/health", self.health, PUBLIC),
            Route("GET", "/health/ready", self.ready, PUBLIC),
            Route("GET", "/api/v1/status", self.status, ANY_USER),
        ]

    async def health(self, request: Request) -> Response:
        """GET /health"""
        return reply({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """GET /health/ready"""
        if missing := await self._service.missing():
            raise Unavailable(f"not ready: {', '.join(missing)}")
        return reply({"status": "ready"})

    async def status(self, request: Request) -> Response:
        """GET /api/v1/status"""
        return reply(await self._service.status())
