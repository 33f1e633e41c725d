"""Backups by schedule: one server runs the command, as an operator would."""

from __future__ import annotations

from pathlib import Path

import structlog

from kernel.public import STATEMENTS, Context, Services, Unavailable

from . import store
from .config import BackupConfig
from .demand.child import run_caudex

log = structlog.get_logger("caudex.backup")


class Schedule:
    """Makes and verifies backups when they are due.

    A process of its own does the work: it may take hours, and a server that stops ends it.
    """

    def __init__(self, services: Services, config: BackupConfig, context: Context) -> None:
        self._services = services
        self._config = config
        self._context = context
        self._folder = str(Path(config.folder).absolute())

    async def step(self) -> float:
        """Do what is due. Returns the seconds until the next look."""
        config = self._config
        ages = await store.read_ages(self._services.get(STATEMENTS), self._folder)
        try:
            if _is_due(ages.made, config.every_hours / 24):
                options = ["--no-verify", "--keep", str(config.keep)]
                if config.with_keys:
                    options.append("--with-keys")
                await self._run_caudex("backup", *options, self._folder)
                return 0.0
            if config.verify_days and _is_due(ages.verified, config.verify_days):
                await self._run_caudex("backup", "verify", ages.file)
        except Unavailable as error:
            log.error("a scheduled backup failed", error=error.message)
            return 600.0
        return 60.0

    async def _run_caudex(self, *words: str) -> None:
        output = await run_caudex(self._services, self._context, *words)
        log.info("a scheduled backup", said=output)


def _is_due(age: float | None, days: float) -> bool:
    return age is None or age >= days * 86_400
