"""Backups: one file with the database, the archives within it, and the keys on demand."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import DATABASE_SERVER, REGISTRY, Command, Finding, Plugin, hookimpl

from .commands import backup_commands
from .history import remark


class BackupPlugin(Plugin):
    """Adds `caudex backup` and `caudex restore`."""

    name = "backup"
    requires = (REGISTRY,)
    finds = (DATABASE_SERVER,)

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        return backup_commands(self.context)

    @hookimpl
    def diagnose(self) -> Sequence[Finding]:
        """Tell `caudex doctor` how old the last backup is."""
        return [remark(self.context.data_dir)]
