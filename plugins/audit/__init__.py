"""The audit trail: who changed what, written by the database itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    ACCESS,
    APPS,
    AUDIT,
    CHANGES,
    HOOKS,
    POOL,
    READS,
    RECORDED,
    RECORDS,
    STATEMENTS,
    Event,
    InstallPlan,
    Plugin,
    Provider,
    RequestTrace,
    Route,
    Services,
    Transaction,
    for_subjects,
    hookimpl,
    provide,
)

from . import store
from .changes.service import MARK_SECONDS, ChangesService
from .config import AuditConfig
from .recorded.service import RecordedChanges
from .recorded.traces import trace_rows
from .routes import AuditRoutes
from .service import AuditService, Maintenance


class AuditPlugin(Plugin):
    """Watches every entity table by triggers, and the system by its events."""

    name = "audit"
    Config = AuditConfig
    requires = (STATEMENTS, ACCESS, HOOKS)
    uses = (APPS, POOL, READS)
    finds = (RECORDS,)
    _changes: ChangesService | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide the reading of the trail, and what was committed in the order to follow it."""
        return [
            provide(AUDIT, _service),
            provide(CHANGES, self._make_changes),
            provide(RECORDED, lambda _: RecordedChanges()),
        ]

    def _make_changes(self, services: Services) -> ChangesService:
        changes = ChangesService(services.get(STATEMENTS))
        pool = services.find(POOL)
        if pool is not None:
            pool.on_write(changes.tailer.note_write)
        self._changes = changes
        return changes

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare `GET /api/v1/audit`."""
        return AuditRoutes(services).routes()

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Keep partitions ready and every table watched."""
        self._statements = services.get(STATEMENTS)
        maintenance = Maintenance(services.get(STATEMENTS), self.config.keep_months)
        apps = services.find(APPS)
        await maintenance.start(await apps.all() if apps else ())
        self.tasks.every(86_400, maintenance.maintain, "maintain partitions")
        changes = self._changes
        if changes is None:  # another plugin provides CHANGES
            yield
            return
        self.tasks.every(MARK_SECONDS, changes.mark, "mark the trail", leader=True)
        self.tasks.start(changes.tailer.run, "read changes for followers")
        try:
            yield
        finally:
            changes.tailer.stop()

    @hookimpl(optionalhook=True)
    async def trace_requests(self, request_ids: Sequence[str]) -> Sequence[RequestTrace]:
        """Count what requests changed, and name what the system recorded for them."""
        return await trace_rows(self._statements, request_ids)

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Watch the tables of an app from their first row on, and follow their names."""
        await store.watch(tx, plan.app)
        await store.rename(tx, plan.app.id, plan.renamed)

    @hookimpl
    @for_subjects("core.*")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        """Write what the system did; rows of apps are the triggers' affair."""
        await store.record(tx, event)


def _service(services: Services) -> AuditService:
    reads = services.find(READS)
    return AuditService(services.get(STATEMENTS) if reads is None else reads.large)
