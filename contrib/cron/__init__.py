"""Crons: enqueue jobs on a schedule, once for each due time however many servers run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    APPS,
    JOBS,
    NOTIFICATIONS,
    STATEMENTS,
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
    """Reads `crons` in manifests and enqueues their jobs."""

    name = "cron"
    requires = (STATEMENTS, NOTIFICATIONS, APPS, JOBS)
    Config = CronConfig
    config: CronConfig
    _services: Services

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        return [provide(SERVICE, lambda services: CronService(self.config, services))]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        self._services = services
        return CronRoutes(services).routes()

    @hookimpl
    def register_manifest_section(self) -> ManifestSection:
        """Declare the section, and find the problems that its schema cannot express."""
        return ManifestSection(section.KEY, section.SCHEMA, section.problems)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Read the sections of installed apps, then fire due crons while the server runs."""
        service = services.get(SERVICE)
        await service.catch_up()
        scheduler = Scheduler(service, self.config.poll_interval)
        services.get(NOTIFICATIONS).subscribe(TOPIC, scheduler.on_notification)
        self.tasks.every(0, scheduler.step, "fire crons")
        yield

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Store the crons that a manifest declares."""
        crons = section.read(plan.section(section.KEY))
        app = plan.app
        await self._services.get(SERVICE).declare(tx, app.id, app.version_stamp, crons)
