"""Backups: one file with the database, the archives within it, files, and keys on demand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from kernel.public import (
    ACCESS,
    DATABASE_SERVER,
    REGISTRY,
    STATEMENTS,
    STORAGE,
    Command,
    DatabaseQuery,
    Finding,
    Health,
    Plugin,
    Route,
    Services,
    Unavailable,
    hookimpl,
)

from . import store
from .commands import backup_commands
from .config import BackupConfig
from .demand.routes import BackupRoutes
from .demand.service import BackupsOnDemand
from .history import Last, folder_findings, report_ages
from .schedule import Schedule

UNSCHEDULED = timedelta(days=7)
"""Where no schedule says how old the last backup may be."""


class BackupPlugin(Plugin):
    """Adds `caudex backup` and `caudex restore`, and makes backups by schedule and on demand."""

    name = "backup"
    requires = (REGISTRY, STATEMENTS)
    uses = (ACCESS,)
    finds = (DATABASE_SERVER, STORAGE)
    Config = BackupConfig
    config: BackupConfig
    _services: Services
    _on_demand: BackupsOnDemand

    @hookimpl
    def register_commands(self, services: Services) -> Sequence[Command]:
        """Add the commands."""
        self._services = services
        return backup_commands(self.context, self.config, services)

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes, where roles are known."""
        if services.provider(ACCESS.name) is None:
            return []
        return BackupRoutes(lambda: self._on_demand).routes()

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Make the backups that are due, in one server of all."""
        self._on_demand = BackupsOnDemand(services, self.config, self.context, self.tasks)
        if self.config.folder:
            schedule = Schedule(services, self.config, self.context)
            self.tasks.every(60, schedule.step, "backup", leader=True)
        yield

    @hookimpl
    async def health(self) -> Health:
        """Show when the last backup was made and verified; null before the first one."""
        try:
            newest = await store.read_last(self._services.get(STATEMENTS))
        except Unavailable:
            return Health(name="backup", detail={"last": None, "verified": None})
        problems: tuple[str, ...] = ()
        if self.config.folder and self._is_late(newest):
            problems = ("The scheduled backup is late or missing.",)
        detail = msgspec.to_builtins({"last": newest.made_at, "verified": newest.verified_at})
        return Health(name="backup", detail=detail, problems=problems)

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Report the age of the last backup and of the last verification to `caudex doctor`."""
        newest = Last()
        row = query(store.LAST)
        if row:
            newest = msgspec.json.decode(row, type=Last)
        return [report_ages(newest, self._max_age()), *folder_findings(self.config.folder)]

    def _is_late(self, newest: Last) -> bool:
        if newest.made_at is None:
            return True
        return datetime.now(UTC) - newest.made_at > self._max_age()

    def _max_age(self) -> timedelta:
        """Return how old the last backup may be: two periods of the schedule."""
        if not self.config.folder:
            return UNSCHEDULED
        return 2 * timedelta(hours=self.config.every_hours)
