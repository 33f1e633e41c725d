"""Background jobs: accepted once, run at least once, by whichever server has the worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    APPS,
    IDENTITY,
    JOBS,
    NOTIFICATIONS,
    REVOKED,
    STATEMENTS,
    WORKERS,
    App,
    InstallPlan,
    Measure,
    Plugin,
    Provider,
    Route,
    Services,
    Transaction,
    hookimpl,
    provide,
)

from . import store
from .announcer import TOPIC
from .config import JobsConfig
from .routes import JobsRoutes
from .service import JobsService


class JobsPlugin(Plugin):
    """Provides JOBS; without WORKERS jobs are accepted and wait."""

    name = "jobs"
    provides = (JOBS,)
    requires = (STATEMENTS, NOTIFICATIONS, APPS, IDENTITY)
    uses = (WORKERS,)
    Config = JobsConfig
    config: JobsConfig
    _service: JobsService | None = None
    """None where another plugin was chosen to provide JOBS."""

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide JOBS."""
        return [provide(JOBS, self._open)]

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[JobsService]:
        service = self._service = JobsService(self.config, services)
        await store.LIVES.catch_up(services.get(STATEMENTS), services.get(APPS))
        services.get(NOTIFICATIONS).subscribe(TOPIC, service.heard)
        services.get(NOTIFICATIONS).subscribe(REVOKED, service.withdrawn)
        async with service.open():
            yield service

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        return JobsRoutes(services).routes()

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Run jobs while the server does; at its end give back what does not end in time."""
        if self._service is None:
            yield
            return
        async with self._service.working(services.find(WORKERS)):
            yield

    @hookimpl(optionalhook=True)
    async def measure(self) -> Sequence[Measure]:
        """Count jobs, for whoever watches."""
        return [] if self._service is None else await self._service.measured()

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Let a new app begin without the jobs of a former one."""
        if self._service is not None:
            await self._service.installed(tx, plan.app, first=plan.first)

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """Delete the app's jobs."""
        if self._service is not None:
            await self._service.removed(tx, app.id)
