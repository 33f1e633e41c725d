"""Maintain the table for all servers: take back expired leases, delete old jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from kernel.public import Tasks, Unavailable, failure

from .config import JobsConfig
from .running.store import RunsStore

PRUNE_EVERY: Final = 600.0
PORTION_PAUSE: Final = 0.2
"""Seconds between two checks for old jobs, and between two portions of them."""

log = structlog.get_logger("caudex.jobs")


class Maintenance:
    """Two tasks; `notify_pending` announces the app of each job whose lease was taken back."""

    def __init__(
        self, config: JobsConfig, store: RunsStore, notify_pending: Callable[[str], None]
    ) -> None:
        self._config = config
        self._store = store
        self._notify_pending = notify_pending
        self._failures = 0
        """Failures to delete old jobs in a row."""

    def start(self, tasks: Tasks) -> None:
        """Start the tasks."""
        tasks.every(min(5.0, self._config.lease / 6), self._expire, "expire leases")
        if self._config.keep_days:  # 0 keeps them for ever
            tasks.every(PRUNE_EVERY, self._prune, "delete old jobs", leader=True)

    async def _expire(self) -> float | None:
        try:
            app_ids = await self._store.expire()
        except Unavailable as error:
            # Servers could not renew their leases either: give them time to do so.
            log.warning("expired leases of jobs cannot be read", error=error.message)
            return self._config.lease / 2
        for app_id in set(app_ids):
            self._notify_pending(app_id)
        if app_ids:
            log.warning("jobs are taken back from a server that is gone", count=len(app_ids))
        return None

    async def _prune(self) -> float | None:
        """Delete a portion; halve it after a failure, as it may be too large for one statement."""
        try:
            deleted = await self._store.prune(self._config.keep_days, self._failures)
        except Exception as error:
            log.warning("old jobs cannot be deleted", **failure(error))
            self._failures = min(self._failures + 1, 20)
            return min(PRUNE_EVERY, 2.0**self._failures)
        if deleted:
            return PORTION_PAUSE
        self._failures = 0
        return PRUNE_EVERY
