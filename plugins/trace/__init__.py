"""Trace: what a request caused, also by its jobs and by calls of workers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from kernel.public import (
    ACCESS,
    APPS,
    HOOKS,
    MAX_PAGE,
    STATEMENTS,
    TRACES,
    Plugin,
    Provider,
    RequestTrace,
    Route,
    Services,
    hookimpl,
    provide,
)

from . import hookspecs, store
from .config import TraceConfig
from .routes import SERVICE, TraceRoutes
from .service import TraceService


class TracePlugin(Plugin):
    """Provides TRACES, and serves `GET /api/v1/requests/{id}`."""

    name = "trace"
    Config = TraceConfig
    requires = (STATEMENTS, ACCESS, APPS, HOOKS)
    hookspecs = hookspecs
    config: TraceConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide TRACES, and the tree for the route."""
        return [
            provide(SERVICE, self._open),
            provide(TRACES, lambda services: services.get(SERVICE)),
        ]

    def _open(self, services: Services) -> AbstractAsyncContextManager[TraceService]:
        service = TraceService(self.config, services.get(STATEMENTS), services.get(HOOKS))
        self._statements = services.get(STATEMENTS)
        return service.open()

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the route."""
        return TraceRoutes(services).routes()

    @hookimpl
    async def trace_requests(self, request_ids: Sequence[str]) -> Sequence[RequestTrace]:
        """Name the calls of requests."""
        return await store.find_calls(self._statements, request_ids, MAX_PAGE + 1)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Delete old calls in the background."""
        self.tasks.every(600, services.get(SERVICE).sweep, "delete old calls", leader=True)
        yield
