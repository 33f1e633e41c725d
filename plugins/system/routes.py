"""Health and status over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec
from anyio import to_thread

from kernel.public import (
    ACCESS,
    ANY_USER,
    CORE_ADMIN,
    PUBLIC,
    REGISTRY,
    BadRequest,
    BootError,
    LoadedPlugins,
    Request,
    Response,
    Route,
    Services,
    Unavailable,
    reply,
)

from .blocking import LoopWatch
from .examination.updates import Hint, find_hints
from .flooding import TableWatch
from .inventory import inventory
from .models import Inventory, Sign, Status, Toggle, TogglePlan
from .plan import plan
from .service import SystemService
from .traffic.models import TrafficView
from .traffic.service import TrafficReports


class SystemRoutes:
    """The handlers. `/health` checks nothing: it answers as long as the process runs."""

    def __init__(
        self,
        services: Services,
        watch: LoopWatch,
        floods: TableWatch,
        find_traffic: Callable[[], TrafficReports],
    ) -> None:
        """`find_traffic` returns the reports once the server has started."""
        self._services = services
        self._find_traffic = find_traffic
        self._watch = watch
        self._floods = floods
        self._service = SystemService(services, watch, floods)

    def routes(self) -> list[Route]:
        routes = [
            Route("GET", "/health", self.health, PUBLIC, returns=Sign, app_hosts=True),
            Route("GET", "/health/ready", self.ready, PUBLIC, returns=Sign, app_hosts=True),
            Route("GET", "/api/v1/status", self.status, ANY_USER, returns=Status),
        ]
        if self._services.provider(ACCESS.name):  # else no user is known to be an admin
            path = "/api/v1/plugins"
            routes.append(Route("GET", path, self.plugins, CORE_ADMIN, returns=Inventory))
            routes.append(
                Route("POST", f"{path}/plan", self.plan, CORE_ADMIN, Toggle, returns=TogglePlan)
            )
            traffic = "/api/v1/traffic"
            routes.append(Route("GET", traffic, self.traffic, CORE_ADMIN, returns=TrafficView))
            updates = "/api/v1/updates"
            routes.append(Route("GET", updates, self.updates, CORE_ADMIN, returns=list[Hint]))
        return routes

    async def health(self, request: Request) -> Response:
        """Report that the process runs."""
        return reply({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Report whether the server can do its work; 503 names what is not available."""
        missing, problems = await self._service.readiness()
        if missing:
            raise Unavailable(f"not ready: {', '.join(missing)}")
        degraded = self._service.degraded() or msgspec.UNSET
        return reply(Sign("ready", degraded, problems or msgspec.UNSET))

    async def status(self, request: Request) -> Response:
        """Show the states of the server, its database and its subsystems."""
        return reply(await self._service.status())

    async def plugins(self, request: Request) -> Response:
        """Show every plugin with what it gives, needs and costs."""
        return reply(inventory(self._services, self._watch.blocked(), self._floods.flooding()))

    async def traffic(self, request: Request) -> Response:
        """Show the requests of the last hour by minute and route, and the last that failed."""
        return reply(await self._find_traffic().read())

    async def updates(self, request: Request) -> Response:
        """Name what is newer than this server process: packages, migrations, the database.

        Nothing outside of this machine and its database is asked.
        """
        return reply(await find_hints(cast("LoadedPlugins", self._services.get(REGISTRY))))

    async def plan(self, request: Request, body: Toggle) -> Response:
        """Say what enabling or disabling plugins would do; nothing is changed."""
        registry = self._services.get(REGISTRY)
        try:
            status, lines = await to_thread.run_sync(plan, registry, body.disable, body.enable)
        except BootError as error:
            raise BadRequest(str(error)) from None
        return reply(TogglePlan(starts=status == 0, lines=[line.strip() for line in lines]))
