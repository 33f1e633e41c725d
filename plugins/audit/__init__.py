"""The audit trail: who changed what, written by the database itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING

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
    Command,
    DatabaseQuery,
    Event,
    Finding,
    Health,
    InstallPlan,
    Plugin,
    Provider,
    RequestTrace,
    Route,
    Services,
    Statements,
    Transaction,
    compare_key,
    for_subjects,
    hookimpl,
    provide,
)

from . import store
from .changes.service import MARK_SECONDS, ChangesService
from .config import AuditConfig
from .evidence.findings import report_health, report_sealing
from .evidence.proofs.commands import audit_command
from .evidence.routes import EvidenceRoutes
from .evidence.sealer import SEAL_SECONDS
from .evidence.service import EVIDENCE, KEY_NAME, Evidence, open_evidence
from .evidence.store import OLDEST_PENDING
from .recorded.service import RecordedChanges
from .recorded.traces import trace_rows
from .routes import AuditRoutes
from .service import AuditService, Maintenance

if TYPE_CHECKING:
    from .evidence.witness import Witness


class AuditPlugin(Plugin):
    """Watches every entity table by triggers, and the system by its events."""

    name = "audit"
    Config = AuditConfig
    config: AuditConfig
    requires = (STATEMENTS, ACCESS, HOOKS)
    uses = (APPS, POOL, READS)
    finds = (RECORDS,)
    _changes: ChangesService | None = None
    _evidence: Evidence | None = None
    _witness: Witness | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide the reading of the trail, what was committed in order, and the evidence."""
        return [
            provide(AUDIT, _service),
            provide(CHANGES, self._make_changes),
            provide(RECORDED, lambda _: RecordedChanges()),
            provide(EVIDENCE, self._open_evidence),
        ]

    def _make_changes(self, services: Services) -> ChangesService:
        changes = ChangesService(services.get(STATEMENTS))
        pool = services.find(POOL)
        if pool is not None:
            pool.on_write(changes.tailer.note_write)
        self._changes = changes
        return changes

    @asynccontextmanager
    async def _open_evidence(self, services: Services) -> AsyncGenerator[Evidence]:
        config = self.config
        self._evidence = await open_evidence(
            services.get(STATEMENTS), config.signing_key, self.context.data_dir, seals=config.seal
        )
        yield self._evidence

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes of the trail and of its evidence."""
        return [*AuditRoutes(services).routes(), *EvidenceRoutes(services).routes()]

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        """Add `caudex audit`."""
        return [audit_command()]

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Check the key of the evidence, and whether the sealing is behind."""
        if not self.config.seal:
            return []
        compare_key(query, KEY_NAME, self.config.signing_key, self.context.data_dir)
        return [report_sealing(query(OLDEST_PENDING))]

    @hookimpl
    async def health(self) -> Health:
        """Report what keeps the trail from being sealed, or its witness from hearing of it."""
        evidence = self._evidence
        sealer = None if evidence is None else evidence.sealer
        return report_health(
            has_key=sealer is not None or not self.config.seal,
            is_behind=sealer is not None and sealer.is_behind,
            witness_fails=self._witness is not None and self._witness.is_failing,
        )

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Keep partitions ready and every table watched, and seal what is written."""
        statements = services.get(STATEMENTS)
        self._statements = statements
        announce = self._announce if self.config.seal else None
        maintenance = Maintenance(statements, self.config.keep_months, announce)
        apps = services.find(APPS)
        await maintenance.start(await apps.all() if apps else ())
        self.tasks.every(86_400, maintenance.maintain, "maintain partitions")
        self._start_evidence(statements, services.get(EVIDENCE))
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

    def _start_evidence(self, statements: Statements, evidence: Evidence) -> None:
        if evidence.sealer is not None:
            self.tasks.every(SEAL_SECONDS, evidence.sealer.run, "seal the trail", leader=True)
        if self.config.witness:
            # It needs a client of HTTP, which other servers do not have to load.
            from .evidence.witness import PAUSE, Witness

            self._witness = Witness(statements, self.config.witness)
            self.tasks.every(PAUSE, self._witness.run, "inform the witness", leader=True)

    async def _announce(self, tx: Transaction, kept_from: date) -> bool:
        sealer = None if self._evidence is None else self._evidence.sealer
        return sealer is not None and await sealer.announce(tx, kept_from)

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
