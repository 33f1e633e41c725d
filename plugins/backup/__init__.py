"""Backups: one file with the database, the archives within it, and the keys on demand."""

from __future__ import annotations

from collections.abc import Sequence

from anyio import to_thread

from kernel.public import DATABASE_SERVER, REGISTRY, Command, Finding, Health, Plugin, hookimpl

from .commands import backup_commands
from .history import last_made, remark


class BackupPlugin(Plugin):
    """Adds `caudex backup` and `caudex restore`."""

    name = "backup"
    requires = (REGISTRY,)
    finds = (DATABASE_SERVER,)

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        return backup_commands(self.context)

    @hookimpl
    async def health(self) -> Health:
        """Show when the last backup was made by this installation; null before the first one."""
        made_at = await to_thread.run_sync(last_made, self.context.data_dir)
        return Health(name="backup", detail={"last": made_at})

    @hookimpl
    def diagnose(self) -> Sequence[Finding]:
        """Tell `caudex doctor` how old the last backup is."""
        return [remark(self.context.data_dir)]
