"""Backups over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from kernel.public import CORE_ADMIN, Request, Response, Route, StreamedReply, reply

from .models import Backups, StartedRun
from .service import BackupsOnDemand

MAX_BODY: Final = 1000
CONTENT: Final[dict[str, Any]] = {
    "responses": {
        "200": {
            "description": "The file.",
            "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
        }
    }
}


class BackupRoutes:
    """Decodes requests, calls the service, encodes replies."""

    def __init__(self, find_service: Callable[[], BackupsOnDemand]) -> None:
        """`find_service` returns it once the server has started."""
        self._find_service = find_service

    def routes(self) -> Sequence[Route]:
        """Declare the routes."""
        backups = "/api/v1/backups"
        backup = f"{backups}/{{name}}"
        return [
            Route("GET", backups, self.show, CORE_ADMIN, returns=Backups),
            Route("POST", backups, self.make, CORE_ADMIN, None, MAX_BODY, StartedRun, 202,
                  errors=(400,)),
            Route("POST", f"{backup}/verify", self.verify, CORE_ADMIN, None, MAX_BODY, StartedRun,
                  202, errors=(400, 404)),
            Route("GET", backup, self.download, CORE_ADMIN, errors=(400, 403, 404, 503),
                  openapi=CONTENT),
        ]  # fmt: skip

    async def show(self, request: Request) -> Response:
        """List the backups in the folder of this machine, and the last runs."""
        return reply(await self._find_service().show())

    async def make(self, request: Request) -> Response:
        """Begin to make a backup. One runs at a time.

        `GET /api/v1/backups` shows how it ends.
        """
        return reply(StartedRun(await self._find_service().make(request.actor)), 202)

    async def verify(self, request: Request) -> Response:
        """Begin to verify a backup: it is restored elsewhere, and its rows are compared."""
        run_id = await self._find_service().verify(request.actor, request.path("name"))
        return reply(StartedRun(run_id), 202)

    async def download(self, request: Request) -> Response:
        """Download a backup, unless it holds keys in clear. It is recorded in the trail."""
        name = request.path("name")
        download = await self._find_service().open(request.actor, name)
        headers = {
            "content-length": str(download.size),
            "content-disposition": f'attachment; filename="{name}"',
        }
        return StreamedReply(download.read, "application/x-tar", headers)
