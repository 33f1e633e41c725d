"""Partitions of the trail for each month, and triggers on every entity table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import structlog

from kernel.public import (
    App,
    BootError,
    KernelError,
    Statements,
    Transaction,
    failure,
    server_actor,
)

from . import store
from .service import watch

MONTHS_AHEAD: Final = 2

log = structlog.get_logger("caudex.audit")


class Maintenance:
    """Creates partitions ahead of time and drops expired ones."""

    def __init__(self, statements: Statements, keep_months: int) -> None:
        self._statements = statements
        self._keep = keep_months

    async def maintain(self) -> None:
        """Update the partitions; there is nothing to do on most days."""
        months = await store.months(self._statements, self._keep, MONTHS_AHEAD)
        if months.taken:
            log.warning("rows of a month are in the default partition", months=months.taken)
        if months.missing or months.expired:
            await self._statements.run(server_actor(), self._change)
            log.info("audit partitions changed", made=months.missing, dropped=months.expired)

    async def _change(self, tx: Transaction) -> None:
        await tx.lock("audit.months")
        # Query again: another process may have changed them before this one got the lock.
        await store.change_months(tx, await store.months(tx, self._keep, MONTHS_AHEAD))

    async def start(self, apps: Iterable[App]) -> None:
        """Update the partitions before the first row, and watch the apps that were installed while
        the plugin was disabled.

        A failure of the first loses nothing: months are created ahead, and the default partition
        takes the other rows. Raises BootError for the second: a table without triggers must not be
        served.
        """
        try:
            await self.maintain()
        except Exception as error:
            log.error("audit partitions are not up to date", **failure(error))
        for app in apps:
            try:
                await self._statements.run(server_actor(), lambda tx, app=app: watch(tx, app))
            except KernelError as error:
                problem = f"the tables of app {app.id!r} cannot be watched: {error.message}"
                raise BootError("plugin audit", problem, "start again") from error
