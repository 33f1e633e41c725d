"""Background jobs: accepted once, run at least once by a server that runs the app's worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    ACCESS,
    APPS,
    IDEMPOTENCY,
    IDENTITY,
    JOBS,
    NOTIFICATIONS,
    REGISTRY,
    STATEMENTS,
    WORKERS,
    App,
    DatabaseQuery,
    Finding,
    Measure,
    Plugin,
    Provider,
    RequestTrace,
    Route,
    Services,
    Transaction,
    hookimpl,
    provide,
)

from .config import JobsConfig
from .enqueue import TOPIC
from .routes import NOT_RUN, JobsRoutes
from .service import JobsService
from .traces import trace_jobs


class JobsPlugin(Plugin):
    """Provides JOBS; without WORKERS jobs of apps are accepted and wait."""

    name = "jobs"
    requires = (STATEMENTS, NOTIFICATIONS, APPS, IDENTITY, REGISTRY)
    uses = (ACCESS, WORKERS)
    finds = (IDEMPOTENCY,)
    Config = JobsConfig
    config: JobsConfig
    _service: JobsService | None = None
    """None when another plugin provides JOBS."""

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide JOBS."""
        return [provide(JOBS, self._open)]

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[JobsService]:
        service = JobsService(self.config, services)
        self._service = service
        self._statements = services.get(STATEMENTS)
        services.get(NOTIFICATIONS).subscribe(TOPIC, service.on_notification)
        async with service.open():
            yield service

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        self._routes = JobsRoutes(services)
        return self._routes.routes()

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Run jobs while the server runs; when it stops, release those that do not end in time."""
        if self._service is None:
            yield
            return
        async with self._service.working(self.tasks, services.find(WORKERS)):
            yield

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Warn where nothing runs jobs."""
        if self._routes.is_run:
            return []
        return [Finding(name="jobs", text=NOT_RUN, state="warn")]

    @hookimpl(optionalhook=True)
    async def measure(self) -> Sequence[Measure]:
        """Count jobs and runs."""
        if self._service is None:
            return []
        return await self._service.measure()

    @hookimpl(optionalhook=True)
    async def trace_requests(self, request_ids: Sequence[str]) -> Sequence[RequestTrace]:
        """Name the jobs that requests enqueued."""
        if self._service is None:
            return []
        return await trace_jobs(self._statements, request_ids)

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """Delete the app's jobs."""
        if self._service is not None:
            await self._service.remove_app(tx, app.id)
