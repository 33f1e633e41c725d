"""Backups: one file with the database, the archives within it, and the keys on demand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from kernel.public import (
    DATABASE_SERVER,
    REGISTRY,
    STATEMENTS,
    Command,
    DatabaseQuery,
    Finding,
    Health,
    Plugin,
    Services,
    Unavailable,
    hookimpl,
)

from . import store
from .commands import backup_commands
from .config import BackupConfig
from .history import Last, folder_findings, remark
from .schedule import Schedule

UNSCHEDULED = timedelta(days=7)
"""Where no schedule says how old the last backup may be."""


class BackupPlugin(Plugin):
    """Adds `caudex backup` and `caudex restore`, and makes backups by schedule."""

    name = "backup"
    requires = (REGISTRY, STATEMENTS)
    finds = (DATABASE_SERVER,)
    Config = BackupConfig
    config: BackupConfig
    _services: Services

    @hookimpl
    def register_commands(self, services: Services) -> Sequence[Command]:
        """Add the commands."""
        self._services = services
        return backup_commands(self.context, self.config, services)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Make the backups that are due, in one server of all."""
        if self.config.folder:
            schedule = Schedule(services, self.config, self.context)
            self.tasks.every(60, schedule.step, "backup", leader=True)
        yield

    @hookimpl
    async def health(self) -> Health:
        """Show when the last backup was made and verified; null before the first one."""
        try:
            last = await store.last(self._services.get(STATEMENTS))
        except Unavailable:
            return Health(name="backup", detail={"last": None, "verified": None})
        late = self.config.folder and (
            last.made_at is None or datetime.now(UTC) - last.made_at > self._due()
        )
        problems = ("The scheduled backup is late or missing.",) if late else ()
        detail = msgspec.to_builtins({"last": last.made_at, "verified": last.verified_at})
        return Health(name="backup", detail=detail, problems=problems)

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Report the age of the last backup and of the last verification to `caudex doctor`."""
        found = query(store.LAST)
        last = msgspec.json.decode(found, type=Last) if found else Last()
        return [remark(last, self._due()), *folder_findings(self.config.folder)]

    def _due(self) -> timedelta:
        """Return how old the last backup may be: two periods of the schedule."""
        return 2 * timedelta(hours=self.config.every_hours) if self.config.folder else UNSCHEDULED
