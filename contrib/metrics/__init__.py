"""Metrics of the server for Prometheus: requests, pool, hooks, jobs, workers, processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from kernel.public import (
    ACCESS,
    HOOKS,
    POOL,
    Finding,
    Middleware,
    Plugin,
    Provider,
    Route,
    Services,
    hookimpl,
    provide,
)

from . import hookspecs
from .config import MetricsConfig
from .library import CollectorRegistry
from .requests import Meter, Requests
from .routes import MetricsRoutes
from .service import SERVICE, MetricsService


class MetricsPlugin(Plugin):
    """Counts every request, and asks for the other numbers when they are read."""

    name = "metrics"
    requires = (HOOKS, POOL)
    uses = (ACCESS,)
    hookspecs = hookspecs
    Config = MetricsConfig
    config: MetricsConfig
    _registry: CollectorRegistry

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide the service behind the route."""
        return [provide(SERVICE, self._open)]

    def _open(self, services: Services) -> MetricsService:
        folder = self.context.data_dir / "metrics"
        return MetricsService(self.config, self._registry, services, folder)

    @hookimpl
    def register_middleware(self, services: Services) -> Sequence[Middleware]:
        self._registry = CollectorRegistry()
        requests = Requests(self._registry)

        def meter(app: ASGIApp) -> ASGIApp:
            return Meter(app, requests)

        return [meter]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        return MetricsRoutes(services).routes()

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Share the numbers of this process with the others on this machine."""
        service = services.get(SERVICE)
        self.tasks.every(self.config.every, service.share, "share")
        yield
        service.leave()

    @hookimpl
    def diagnose(self) -> Sequence[Finding]:
        """Report which callers may read."""
        readers = "core admins only"
        if self.config.token:
            readers = "the scraper's token and core admins"
        return [Finding(name="metrics", text=f"/metrics is for {readers}")]
