"""Restarts the workers whose secrets changed: one rolling restart for many changes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import structlog

from kernel.public import WORKERS, Batcher, BatchLimits, Retry, Services, Unavailable, failure

log = structlog.get_logger("caudex.vault")


class Delivery:
    """Collects apps whose secrets changed, and restarts those of their workers in this process
    that have other secrets.

    Changes within `settle` seconds join the same restart. An app whose secrets cannot be read is
    tried again after `retry` seconds.
    """

    def __init__(self, services: Services, settle: float = 0.5, retry: float = 2) -> None:
        self._services = services
        self._changed = Batcher[str, None](
            self._refresh_all,
            BatchLimits(waiting=1_000_000),
            delay=settle,
            retry=Retry(first=retry, longest=retry),
        )

    async def on_notification(self, app_id: str | None) -> None:
        """Note a changed app; '' means all of them, None that a notification may be lost."""
        workers = self._services.find(WORKERS)
        if workers is None:
            return
        if app_id:
            self._changed.add(app_id)
        else:
            for running_id in workers.running():
                self._changed.add(running_id)

    def running(self) -> AbstractAsyncContextManager[object]:
        """Restart in the background while the server runs."""
        return self._changed.running(drain=0)

    async def _refresh_all(self, app_ids: Sequence[str]) -> Sequence[Exception | None]:
        results = {app_id: await self._refresh(app_id) for app_id in sorted(set(app_ids))}
        return [results.pop(app_id, None) for app_id in app_ids]

    async def _refresh(self, app_id: str) -> Unavailable | None:
        workers = self._services.find(WORKERS)
        try:
            if workers is not None and app_id in workers.running():
                await workers.refresh(app_id)
        except Unavailable as error:
            log.warning("a worker's secrets cannot be read", app=app_id, error=error.message)
            return error
        except Exception as error:
            log.error("a worker could not be restarted", app=app_id, **failure(error))
        return None
