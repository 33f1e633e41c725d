"""Workers over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from kernel.public import (
    APP_ADMIN,
    APP_USER,
    CORE_ADMIN,
    MAX_BODY,
    RPC_USER,
    WORKERS,
    BadRequest,
    FormLimits,
    FormReader,
    Message,
    Request,
    Response,
    Route,
    Services,
    Workers,
    WorkerStatus,
    read_pieces,
    reply,
    reply_if_changed,
)

from .models import PutBack, RpcBody, ShownReplica, ShownVersion
from .ports import AllowedPorts, Ports
from .replica.callers import CALLERS, Callers
from .replica.handlers import Handlers
from .service import SERVICE, WorkersService

APP: Final = "/api/v1/apps/{app_id}"
UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A gzipped tar with `worker.py`, `main.py`, `index.ts` or their like.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["archive"],
                    "properties": {"archive": {"type": "string", "format": "binary"}},
                },
                "encoding": {"archive": {"contentType": "application/gzip"}},
            }
        },
    }
}
"""The body of a deploy; it is streamed, so no type describes it."""


class WorkersRoutes:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @cached_property
    def _service(self) -> WorkersService:
        return self._services.get(SERVICE)

    @cached_property
    def _workers(self) -> Workers:
        return self._services.get(WORKERS)

    @cached_property
    def _callers(self) -> Callers:
        return self._services.get(CALLERS)

    def routes(self) -> Sequence[Route]:
        """Every route with what it needs."""
        return [
            Route("POST", f"{APP}/deploy", self.deploy, APP_ADMIN, returns=Message, openapi=UPLOAD),
            Route("POST", f"{APP}/worker/start", self.start, APP_ADMIN, returns=Message),
            Route("POST", f"{APP}/worker/stop", self.stop, APP_ADMIN, returns=Message),
            Route(
                "GET", f"{APP}/worker/versions", self.versions, APP_ADMIN,
                returns=list[ShownVersion],
            ),
            Route(
                "POST", f"{APP}/worker/rollback", self.rollback, APP_ADMIN, PutBack,
                returns=Message,
            ),
            Route(
                "GET", f"{APP}/worker/replicas", self.replicas, APP_USER,
                returns=list[ShownReplica],
            ),
            Route("GET", f"{APP}/worker/handlers", self.handlers, APP_USER, returns=Handlers),
            Route("GET", f"{APP}/worker/ports", self.show_ports, APP_ADMIN, returns=Ports),
            Route(
                "POST",
                f"{APP}/worker/ports",
                self.allow_ports,
                CORE_ADMIN,
                AllowedPorts,
                returns=Ports,
            ),
            Route("GET", f"{APP}/worker/status", self.status, APP_USER, returns=WorkerStatus),
            Route(
                "POST",
                f"{APP}/rpc",
                self.rpc,
                RPC_USER,
                RpcBody,
                10_000_000,
                Any,
                errors=(500,),
                workers=True,
                app_hosts=True,
            ),
        ]  # fmt: skip

    async def deploy(self, request: Request) -> Response:
        """Deploy worker code: unpack it, start it, and send calls to it when it answers.

        The previous version runs until then, and remains if the new one does not come up.
        """
        app_id = request.path("app_id")
        async with self._service.receive_upload(request.actor) as archive:
            await _receive(
                request.headers.get("content-type"), read_pieces(request, MAX_BODY), archive
            )
            await self._workers.deploy(request.actor, app_id, archive)
        return reply({"message": f"app '{app_id}' deployed and started"})

    async def start(self, request: Request) -> Response:
        """Start the worker process of an app."""
        app_id = request.path("app_id")
        await self._workers.start(request.actor, app_id)
        return reply({"message": f"worker '{app_id}' started"})

    async def stop(self, request: Request) -> Response:
        """Stop the worker process of an app."""
        app_id = request.path("app_id")
        await self._workers.stop(request.actor, app_id)
        return reply({"message": f"worker '{app_id}' stopped"})

    async def status(self, request: Request) -> Response:
        """Return the state of an app's worker over all server processes."""
        status = await self._workers.status(request.path("app_id"))
        return reply_if_changed(request, status)

    async def versions(self, request: Request) -> Response:
        """List the versions of the worker that are kept, the newest first."""
        return reply(await self._service.reports.read_versions(request.path("app_id")))

    async def replicas(self, request: Request) -> Response:
        """List the replicas of the worker in server processes that are alive."""
        return reply(await self._service.reports.read_replicas(request.path("app_id")))

    async def handlers(self, request: Request) -> Response:
        """List what the worker's code declares: calls and jobs, with schemas of their parameters.

        Of this server process; `running` is false where no worker takes calls here.
        """
        return reply(await self._service.read_handlers(request.path("app_id")))

    async def rollback(self, request: Request, body: PutBack) -> Response:
        """Put an earlier version of the worker into service."""
        app_id = request.path("app_id")
        await self._service.put_back(request.actor, app_id, body.version)
        return reply({"message": f"version {body.version} of worker '{app_id}' started"})

    async def show_ports(self, request: Request) -> Response:
        """Show the TCP ports that the manifest names, those allowed, and those that are both."""
        return reply(await self._service.host.ports.read(request.path("app_id")))

    async def allow_ports(self, request: Request, body: AllowedPorts) -> Response:
        """Replace the TCP ports that the worker may serve at; a running one starts again.

        Each must be in `worker.ports` of the manifest; the server's own port never is.
        """
        app_id = request.path("app_id")
        rules = self._service.host.ports
        await rules.allow(request.actor, app_id, body.ports)
        return reply(await rules.read(app_id))

    async def rpc(self, request: Request, body: RpcBody) -> Response:
        """Call a method of the worker; the reply is the return value of its handler.

        A handler that raises is a 500 with its message.
        """
        app_id = request.path("app_id")
        caller = await self._callers.get_caller(request.actor, app_id)
        return reply(await self._workers.rpc(app_id, body.method, bytes(body.params), caller))


async def _receive(content_type: str | None, body: AsyncIterator[bytes], target: Path) -> None:
    """Write the archive of a form into a new file. Raises BadRequest, Unavailable.

    The archive is the file in the field `archive`, else the first file.
    """
    saved = ""
    async for part in FormReader(content_type, body, FormLimits(parts=8)):
        is_file = part.file_name is not None
        is_better = not saved or (part.name == "archive" and saved != "archive")
        if is_file and is_better:
            await part.save(target, replace=True)
            saved = part.name
    if not saved:
        raise BadRequest("the field 'archive' is missing")
