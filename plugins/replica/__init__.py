"""Reads from a standby: large ones, and those of requests that accept old data."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kernel.public import (
    NOTIFICATIONS,
    POOL,
    READS,
    REGISTRY,
    STATEMENTS,
    DatabaseQuery,
    Finding,
    Measure,
    Plugin,
    Provider,
    Reads,
    Services,
    hookimpl,
    provide,
)

from .config import ReplicaConfig
from .diagnosis import replica_findings, standby_findings
from .monitor import Monitor
from .positions import PositionMiddleware
from .reads import AllReads, ReadsService


class ReplicaPlugin(Plugin):
    """Provides READS. Without a `database.replica_url` all reads go to the database."""

    name = "replica"
    requires = (STATEMENTS, POOL, NOTIFICATIONS, REGISTRY)
    Config = ReplicaConfig
    config: ReplicaConfig

    _replica_url = ""
    _monitor: Monitor | None = None
    _reads: ReadsService | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide READS."""
        return [provide(READS, self._make)]

    def _make(self, services: Services) -> Reads:
        statements = services.get(STATEMENTS)
        replica = services.get(POOL).replica
        if replica is None:
            return AllReads(statements, statements)
        monitor = Monitor(statements, replica, self.config.max_lag)
        self._monitor = monitor
        services.get(NOTIFICATIONS).subscribe("apps", monitor.on_catalog)
        self._reads = ReadsService(monitor, statements, replica)
        return self._reads

    @hookimpl
    def plugins_loaded(self, services: Services) -> None:
        """Add the middleware of positions, only where a replica is configured."""
        registry = services.get(REGISTRY)
        self._replica_url = registry.config.database.replica_url
        if self._replica_url:
            wrap = PositionMiddleware.make(lambda: services.get(STATEMENTS))
            registry.middleware.append((self.name, wrap))

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Compare the replica with the database every second."""
        if self._monitor is not None:
            self.tasks.every(1, self._monitor.check, "compare the replica")
            self.tasks.every(1, self._monitor.close_hanging, "watch the replica's answers")
        yield

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Look at the replica, and at standbys that could lack acknowledged writes."""
        return [*replica_findings(self._replica_url), *standby_findings(query)]

    @hookimpl(optionalhook=True)
    async def measure(self) -> Sequence[Measure]:
        """Count the reads that the replica answered, and those that it could not answer."""
        if self._reads is None:
            return []
        return self._reads.measure()
