"""What any server process does for all: leases that have ended, jobs that are too old."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog

from kernel.public import failure

from .config import JobsConfig
from .store import JobsStore

EXPIRE_EVERY: Final = 5.0
PRUNE_EVERY: Final = 600.0
BREATH: Final = 0.2
"""Seconds between two portions."""
MOST_HALVINGS: Final = 20
"""Of a portion of old jobs: a single one is left long before."""

log = structlog.get_logger("caudex.jobs")


class Upkeep:
    """Two loops; `announce` tells everybody that an app has jobs due."""

    def __init__(
        self, config: JobsConfig, store: JobsStore, announce: Callable[[str], None]
    ) -> None:
        self._config = config
        self._store = store
        self._announce = announce

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Sweep while the server runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._expire_always)
            tasks.start_soon(self._prune_always)
            yield
            tasks.cancel_scope.cancel()

    async def _expire_always(self) -> None:
        pause = min(EXPIRE_EVERY, self._config.lease / 6)
        while True:
            await anyio.sleep(pause)
            try:
                app_ids = await self._store.expire()
            except Exception as error:
                # Nobody could renew a lease while the database was away.
                log.warning("leases of jobs cannot be looked at", **failure(error))
                await anyio.sleep(self._config.lease / 2)
                continue
            for app_id in set(app_ids):
                self._announce(app_id)
            if app_ids:
                log.warning("jobs are taken back from a server that is gone", count=len(app_ids))

    async def _prune_always(self) -> None:
        failures = 0  # a portion that fails may have been too much for one statement
        while self._config.keep_days:  # 0: they are kept for ever
            gone = 0
            try:
                gone = await self._store.prune(self._config.keep_days, failures)
                failures = failures if gone else 0
            except Exception as error:
                log.warning("old jobs cannot be deleted", **failure(error))
                failures = min(failures + 1, MOST_HALVINGS)
            retry = 2.0**failures if failures else PRUNE_EVERY
            await anyio.sleep(BREATH if gone else min(PRUNE_EVERY, retry))
