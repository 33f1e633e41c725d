"""What the trail needs while the server lives: a partition for each month, triggers everywhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import anyio
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

AHEAD: Final = 2
"""Months that have a partition before they begin."""
DAY: Final = 86_400.0
RETRY: Final = 300.0

log = structlog.get_logger("caudex.audit")


class Upkeep:
    """Makes partitions ahead of time and drops those that are kept no longer."""

    def __init__(self, statements: Statements, keep_months: int) -> None:
        self._statements = statements
        self._keep = keep_months

    async def maintain(self) -> None:
        """Bring the partitions up to date; does nothing on nearly every day."""
        months = await store.months(self._statements, self._keep, AHEAD)
        if months.taken:
            log.warning("rows of a month lie in the default partition", months=months.taken)
        if months.missing or months.expired:
            await self._statements.run(server_actor(), self._change)
            log.info("audit partitions changed", made=months.missing, dropped=months.expired)

    async def _change(self, tx: Transaction) -> None:
        await tx.lock("audit.months")
        # Another process may have been faster: look again.
        await store.change_months(tx, await store.months(tx, self._keep, AHEAD))

    async def catch_up(self, apps: Iterable[App]) -> None:
        """Watch the apps that were installed while the plugin was off.

        Raises BootError: what is not watched must not be served.
        """
        for app in apps:
            try:
                await self._statements.run(server_actor(), lambda tx, app=app: watch(tx, app))
            except KernelError as error:
                problem = f"the tables of app {app.id!r} cannot be watched: {error.message}"
                raise BootError("plugin audit", problem, "start again") from error

    @asynccontextmanager
    async def daily(self) -> AsyncGenerator[None]:
        """Maintain the partitions now, and each day for as long as the server lives."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._maintain_daily, await self._try_to_maintain())
            yield
            tasks.cancel_scope.cancel()

    async def _maintain_daily(self, pause: float) -> None:
        while True:
            await anyio.sleep(pause)
            pause = await self._try_to_maintain()

    async def _try_to_maintain(self) -> float:
        """Return the seconds until the next time. A failure loses nothing: months are made
        ahead, and the default partition takes the rows of one that has none."""
        try:
            await self.maintain()
        except Exception as error:
            log.error("audit partitions are not up to date", **failure(error))
            return RETRY
        return DAY
