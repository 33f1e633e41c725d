"""Log lines of apps: kept in the database, followed live."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    ACCESS,
    APPS,
    HOOKS,
    LOGS,
    NOTIFICATIONS,
    STATEMENTS,
    App,
    Plugin,
    Provider,
    RequestTrace,
    Route,
    Services,
    Transaction,
    hookimpl,
    provide,
)

from .config import LogsConfig
from .routes import LogsRoutes
from .service import TOPIC, LogsService
from .traces import trace_lines


class LogsPlugin(Plugin):
    """Provides LOGS and the stream of an app's log."""

    name = "logs"
    requires = (STATEMENTS, NOTIFICATIONS, APPS, HOOKS)
    finds = (ACCESS,)
    Config = LogsConfig
    config: LogsConfig
    _service: LogsService | None = None
    """None where another plugin was chosen to provide LOGS."""

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide LOGS."""
        return [provide(LOGS, self._open)]

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[LogsService]:
        service = LogsService(self.config, services.get(STATEMENTS))
        self._service = service
        self._statements = services.get(STATEMENTS)
        services.get(NOTIFICATIONS).subscribe(TOPIC, service.on_notification)
        async with service.running():
            yield service

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the route."""
        return LogsRoutes(services, self.config.readers_per_app).routes()

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Delete old lines; end the streams when the server stops, since nothing else would."""
        service = self._service
        if service is None:
            yield
            return
        self.tasks.every(600.0, service.sweep, "sweep")
        yield
        service.end_readers()

    @hookimpl(optionalhook=True)
    async def trace_requests(self, request_ids: Sequence[str]) -> Sequence[RequestTrace]:
        """Count the lines of requests."""
        if self._service is None:
            return []
        return await trace_lines(self._statements, request_ids)

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """Delete the app's lines."""
        if self._service is not None:
            await self._service.forget_app(tx, app.id)
