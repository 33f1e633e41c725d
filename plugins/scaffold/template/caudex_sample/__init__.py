"""The plugin: what it needs, what it offers, where it takes part."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from caudex import (
    ACCESS,
    STATEMENTS,
    Event,
    Permission,
    Plugin,
    Provider,
    Route,
    Services,
    for_subjects,
    hookimpl,
    provide,
)

from .config import NotesConfig
from .routes import NotesRoutes
from .service import NOTES, NotesService


class SamplePlugin(Plugin):
    """Notes for every user, and one for each new app."""

    name = "sample"
    version = "0.1.0"
    kernel_api = 1
    requires = (STATEMENTS, ACCESS)
    Config = NotesConfig
    config: NotesConfig

    _notes: NotesService | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide the service; it is made once the database is open and migrated."""
        return [provide(NOTES, self._make)]

    def _make(self, services: Services) -> NotesService:
        self._notes = NotesService(
            services.get(STATEMENTS),
            services.get(ACCESS),
            self.config,
        )
        return self._notes

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Start the background task; it is restarted when it fails, and ends with the server."""
        self.tasks.every(3600, self._sweep, "sweep", leader=True)
        yield

    async def _sweep(self) -> None:
        if self._notes is not None:
            await self._notes.sweep()

    @hookimpl
    def register_permissions(self) -> Sequence[Permission]:
        """Declare the key that a role on `core` can hold."""
        return [Permission("sample.write", "Write notes")]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        return NotesRoutes(services).routes()

    @hookimpl
    @for_subjects("core.apps")
    async def event_committed(self, event: Event) -> None:
        """Welcome a new app; it is in, whatever happens here."""
        if event.operation == "APP_INSTALLED" and self._notes is not None:
            await self._notes.welcome(event.record_id or "")
