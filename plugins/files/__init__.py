"""Files of apps: uploads, downloads, and fields of records that hold them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from kernel.public import (
    ACCESS,
    APPS,
    FILES,
    IDENTITY,
    RECORDS,
    STATEMENTS,
    STORAGE,
    THUMBNAILS,
    Command,
    Event,
    InstallPlan,
    Plugin,
    Provider,
    Route,
    Services,
    Transaction,
    for_subjects,
    hookimpl,
    provide,
    server_actor,
)

from . import store
from .commands import files_command
from .config import FilesConfig
from .downloads.reading import FileReading
from .downloads.service import DOWNLOADS, Downloads, build_downloads
from .keeping.sweep import SWEEP, Sweep
from .keeping.tracking import follow
from .keeping.upkeep import UPKEEP, Upkeep
from .routes import FilesRoutes
from .service import UPLOADS, Uploads

SWEEP_SECONDS: Final = 600.0
ORPHANS_SECONDS: Final = 86_400.0


class TablesOfFiles:
    """See `kernel.contracts.files.ManagedFiles`."""

    def relation(self) -> tuple[str, str]:
        """See `ManagedFiles.relation`."""
        return store.SCHEMA, "files"

    def holdings(self) -> tuple[str, str]:
        """See `ManagedFiles.holdings`."""
        return store.SCHEMA, "holdings"


class FilesPlugin(Plugin):
    """Takes files, lets read them who may, and keeps them as long as records hold them."""

    name = "files"
    Config = FilesConfig
    config: FilesConfig
    requires = (STATEMENTS, STORAGE, APPS, ACCESS, IDENTITY, RECORDS)
    finds = (THUMBNAILS,)

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide FILES, and the objects behind the routes and commands."""
        return [
            provide(FILES, lambda services: TablesOfFiles()),
            provide(UPLOADS, self._build_uploads),
            provide(DOWNLOADS, _build_downloads),
            provide(SWEEP, self._build_sweep),
            provide(UPKEEP, _build_upkeep),
        ]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        return FilesRoutes(services, self.config).routes()

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        """Add `caudex files`."""
        return [files_command()]

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Follow apps that were installed while the plugin was off, and sweep."""
        statements = services.get(STATEMENTS)
        for app in await services.get(APPS).all():
            await statements.run(server_actor(), lambda tx, app=app: follow(tx, app, strict=False))
        sweep = services.get(SWEEP)
        self.tasks.every(SWEEP_SECONDS, sweep.run, "sweep", leader=True)
        self.tasks.every(ORPHANS_SECONDS, sweep.note_orphans, "note orphans", leader=True)
        yield

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Follow the fields of an app, and their names."""
        await store.rename(tx, plan.app.id, plan.renamed)
        await follow(tx, plan.app, strict=True)

    @hookimpl
    @for_subjects("core.apps")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        """Forget the fields that a prune has dropped."""
        if event.operation == "APP_PRUNED" and event.record_id is not None:
            await store.forget_fields(tx, event.record_id, [])

    def _build_uploads(self, services: Services) -> Uploads:
        return Uploads(services.get(STATEMENTS), services.get(STORAGE), self.config)

    def _build_sweep(self, services: Services) -> Sweep:
        return Sweep(services.get(STATEMENTS), services.get(STORAGE), self.config.keep)


@asynccontextmanager
async def _build_downloads(services: Services) -> AsyncGenerator[Downloads]:
    statements = services.get(STATEMENTS)
    reading = FileReading(statements, services.get(RECORDS), services.get(ACCESS))
    yield await build_downloads(statements, reading, services.get(IDENTITY))


def _build_upkeep(services: Services) -> Upkeep:
    return Upkeep(services.get(STATEMENTS), services.get(STORAGE))
