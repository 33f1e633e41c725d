"""How a changed secret reaches the workers that run: one rolling restart for many changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import structlog

from kernel.public import WORKERS, Services, Unavailable

SETTLE = 0.5
"""Seconds in which further changes join the same restart."""

RETRY = 2.0
"""Seconds until an app is looked at again whose secrets could not be read."""

log = structlog.get_logger("caudex.vault")


class Delivery:
    """Collects apps whose secrets changed, and restarts those of their workers in this process
    that have others."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._changed: set[str] = set()
        self._wake = anyio.Event()

    async def heard(self, app_id: str | None) -> None:
        """Take the news of a change; '' means the platform's, None that any may be lost."""
        if (workers := self._services.find(WORKERS)) is not None:
            self._changed.update([app_id] if app_id else workers.running())
            self._wake.set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Restart in the background while the server runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._refresh_always)
            yield
            tasks.cancel_scope.cancel()

    async def _refresh_always(self) -> None:
        while True:
            await self._wake.wait()
            await anyio.sleep(SETTLE)
            self._wake = anyio.Event()
            changed, self._changed = self._changed, set()
            for app_id in sorted(changed):
                await self._refresh(app_id)
            if self._changed:  # what could not be read
                await anyio.sleep(RETRY)
                self._wake.set()

    async def _refresh(self, app_id: str) -> None:
        workers = self._services.find(WORKERS)
        if workers is None or app_id not in workers.running():
            return
        try:
            await workers.refresh(app_id)
        except Unavailable as error:
            log.warning("a worker's secrets cannot be read", app=app_id, error=error.message)
            self._changed.add(app_id)
        except Exception as error:
            log.error("a worker could not be restarted", app=app_id, exc_info=error)
