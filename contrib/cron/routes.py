"""Crons over HTTP: list, trigger, enable, disable."""

from __future__ import annotations

from typing import Final

from kernel.public import (
    APP_ADMIN,
    APP_USER,
    BadRequest,
    Request,
    Response,
    Route,
    Services,
    read_limit,
    reply,
    whole_number,
)

from .models import Run, RunQuery, Shown, Switch, Upcoming
from .service import SERVICE, CronService

OF_APP: Final = "/api/v1/apps/{app_id}/crons"
ONE: Final = f"{OF_APP}/{{cron}}"
PARAMETERS: Final = frozenset(RunQuery.__struct_fields__)


class CronRoutes:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        return [
            Route("GET", OF_APP, self.list, APP_USER, returns=list[Shown]),
            Route("PATCH", ONE, self.switch, APP_ADMIN, Switch, returns=Shown),
            Route("POST", f"{ONE}/trigger", self.trigger, APP_ADMIN, returns=Run, status=201),
            Route("GET", f"{ONE}/upcoming", self.upcoming, APP_USER, returns=Upcoming),
            Route("GET", f"{ONE}/runs", self.runs, APP_USER, returns=list[Run], query=RunQuery),
        ]

    async def list(self, request: Request) -> Response:
        """List the crons of an app in the manifest's order."""
        return reply(await self._crons.list(request.path("app_id")))

    async def switch(self, request: Request, body: Switch) -> Response:
        """Enable or disable a cron until the manifest changes `enabled`."""
        app_id = request.path("app_id")
        name = request.path("cron")
        return reply(await self._crons.switch(request.actor, app_id, name, body.enabled))

    async def trigger(self, request: Request) -> Response:
        """Run a cron now, as if it were due; its overlap policy applies."""
        app_id = request.path("app_id")
        name = request.path("cron")
        return reply(await self._crons.trigger(request.actor, app_id, name), 201)

    async def upcoming(self, request: Request) -> Response:
        """Show the next five due times of a cron."""
        app_id = request.path("app_id")
        name = request.path("cron")
        return reply(await self._crons.upcoming(app_id, name))

    async def runs(self, request: Request) -> Response:
        """Show the run log of a cron, newest first."""
        query = request.query()
        unknown = query.keys() - PARAMETERS
        if unknown:
            raise BadRequest(f"unknown parameter {min(unknown)!r}")
        limit = read_limit(query.get("limit"), 100)
        before = whole_number("before", query["before"]) if "before" in query else None
        app_id = request.path("app_id")
        name = request.path("cron")
        return reply(await self._crons.runs(app_id, name, limit, before))

    @property
    def _crons(self) -> CronService:
        return self._services.get(SERVICE)
