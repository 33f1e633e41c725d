"""How a changed secret reaches the workers that run: one rolling restart for many changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import structlog

from kernel.public import WORKERS, KernelError, Services

SETTLE = 0.5
"""Seconds in which further changes join the same restart."""

log = structlog.get_logger("caudex.vault")


class Delivery:
    """Collects apps whose secrets changed, and restarts their workers of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._changed: set[str] = set()
        self._wake = anyio.Event()

    async def heard(self, app_id: str | None) -> None:
        """Take the news of a change; None and '' mean everybody's."""
        workers = self._services.find(WORKERS)
        if workers is None or app_id is None:  # lost news: workers read secrets at their start
            return
        self._changed.update([app_id] if app_id else workers.running())
        self._wake.set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Restart in the background while the server runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._restart_always)
            yield
            tasks.cancel_scope.cancel()

    async def _restart_always(self) -> None:
        while True:
            await self._wake.wait()
            await anyio.sleep(SETTLE)
            self._wake = anyio.Event()
            changed, self._changed = self._changed, set()
            for app_id in sorted(changed):
                await self._restart(app_id)

    async def _restart(self, app_id: str) -> None:
        workers = self._services.find(WORKERS)
        if workers is None or app_id not in workers.running():
            return
        try:
            await workers.restart(app_id)
        except KernelError as error:
            log.error("a worker could not be restarted", app=app_id, error=error.message)
