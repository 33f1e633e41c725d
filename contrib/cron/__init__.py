"""Crons: jobs that are enqueued on a schedule, each due time once however many servers run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    APPS,
    JOBS,
    NOTIFICATIONS,
    STATEMENTS,
    App,
    InstallPlan,
    ManifestSection,
    Plugin,
    Provider,
    Route,
    Services,
    Transaction,
    hookimpl,
    provide,
)

from . import section
from .config import CronConfig
from .routes import CronRoutes
from .scheduler import Scheduler
from .service import SERVICE, TOPIC, CronService


class CronPlugin(Plugin):
    """Understands `crons` in manifests."""

    name = "cron"
    provides = (SERVICE,)
    requires = (STATEMENTS, NOTIFICATIONS, APPS, JOBS)
    Config = CronConfig
    config: CronConfig
    _services: Services

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide what stands behind the routes."""
        return [provide(SERVICE, lambda services: CronService(self.config, services))]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        self._services = services
        return CronRoutes(services).routes()

    @hookimpl
    def register_manifest_section(self) -> ManifestSection:
        """Understand the section, and find what its schema cannot say."""
        return ManifestSection(section.KEY, section.SCHEMA, section.problems)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Take up what was installed meanwhile, then fire what is due while the server runs."""
        service = services.get(SERVICE)
        await service.take_up()
        scheduler = Scheduler(service, self.config.poll_interval)
        services.get(NOTIFICATIONS).subscribe(TOPIC, scheduler.heard)
        async with scheduler.running():
            yield

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Make the crons of an app what its manifest declares; a new app begins without any."""
        service = self._services.get(SERVICE)
        if plan.first:
            await service.forget(tx, plan.app.id)
        crons = section.read(plan.section(section.KEY))
        app = plan.app
        await service.declare(tx, app.id, app.version_stamp, app.born, crons)

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """Delete the app's crons, with their log."""
        await self._services.get(SERVICE).forget(tx, app.id)
