"""Workers over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kernel.public import (
    APP_ADMIN,
    APP_USER,
    MAX_BODY,
    WORKERS,
    Request,
    Response,
    Route,
    Services,
    limited,
    reply,
)

from .callers import CALLERS
from .models import RpcBody
from .service import SERVICE
from .upload import receive

APP: Final = "/api/v1/apps/{app_id}"
MAX_RPC: Final = 10_000_000


class WorkersRoutes:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Sequence[Route]:
        """Every route with what it needs."""
        return [
            Route("POST", f"{APP}/deploy", self.deploy, APP_ADMIN),
            Route("POST", f"{APP}/worker/start", self.start, APP_ADMIN),
            Route("POST", f"{APP}/worker/stop", self.stop, APP_ADMIN),
            Route("GET", f"{APP}/worker/status", self.status, APP_USER),
            Route("POST", f"{APP}/rpc", self.rpc, APP_USER, RpcBody, MAX_RPC),
        ]

    async def deploy(self, request: Request) -> Response:
        """POST …/deploy"""
        app_id = request.path("app_id")
        async with self._services.get(SERVICE).upload() as archive:
            content_type = request.headers.get("content-type", "")
            await receive(limited(request, MAX_BODY), content_type, archive)
            await self._services.get(WORKERS).deploy(request.actor, app_id, archive)
        return reply({"message": f"app '{app_id}' deployed and started"})

    async def start(self, request: Request) -> Response:
        """POST …/worker/start"""
        app_id = request.path("app_id")
        await self._services.get(WORKERS).start(request.actor, app_id)
        return reply({"message": f"worker '{app_id}' started"})

    async def stop(self, request: Request) -> Response:
        """POST …/worker/stop"""
        app_id = request.path("app_id")
        await self._services.get(WORKERS).stop(request.actor, app_id)
        return reply({"message": f"worker '{app_id}' stopped"})

    async def status(self, request: Request) -> Response:
        """GET …/worker/status"""
        return reply(await self._services.get(WORKERS).status(request.path("app_id")))

    async def rpc(self, request: Request, body: RpcBody) -> Response:
        """POST …/rpc"""
        caller = await self._services.get(CALLERS).of(request.actor)
        workers = self._services.get(WORKERS)
        return reply(
            await workers.rpc(request.path("app_id"), body.method, bytes(body.params), caller)
        )
