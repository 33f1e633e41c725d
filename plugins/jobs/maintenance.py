"""Maintain the table for all servers: take back expired leases, delete old jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog

from kernel.public import failure

from .config import JobsConfig
from .store import JobsStore

PRUNE_EVERY: Final = 600.0

log = structlog.get_logger("caudex.jobs")


class Maintenance:
    """Two loops; `notify_pending` announces the app of each job whose lease was taken back."""

    def __init__(
        self, config: JobsConfig, store: JobsStore, notify_pending: Callable[[str], None]
    ) -> None:
        self._config = config
        self._store = store
        self._notify_pending = notify_pending

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Maintain the table while the server runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._expire_always)
            tasks.start_soon(self._prune_always)
            yield
            tasks.cancel_scope.cancel()

    async def _expire_always(self) -> None:
        pause = min(5.0, self._config.lease / 6)
        while True:
            await anyio.sleep(pause)
            try:
                app_ids = await self._store.expire()
            except Exception as error:
                # Servers could not renew their leases either while the database was away.
                log.warning("expired leases of jobs cannot be read", **failure(error))
                await anyio.sleep(self._config.lease / 2)
                continue
            for app_id in set(app_ids):
                self._notify_pending(app_id)
            if app_ids:
                log.warning("jobs are taken back from a server that is gone", count=len(app_ids))

    async def _prune_always(self) -> None:
        failures = 0  # a portion that fails may have been too large for one statement
        while self._config.keep_days:  # 0 keeps them for ever
            deleted = 0
            try:
                deleted = await self._store.prune(self._config.keep_days, failures)
                failures = failures if deleted else 0
            except Exception as error:
                log.warning("old jobs cannot be deleted", **failure(error))
                failures = min(failures + 1, 20)
            retry = 2.0**failures if failures else PRUNE_EVERY
            await anyio.sleep(0.2 if deleted else min(PRUNE_EVERY, retry))
