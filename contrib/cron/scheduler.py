"""Wait for due times, and fire them."""

from __future__ import annotations

import time

import anyio
import structlog
from anyio.lowlevel import checkpoint

from kernel.public import KernelError

from .service import CronService

log = structlog.get_logger("caudex.cron")


class Scheduler:
    """Sleeps until the next due time, `poll_interval` seconds at most, or until crons change."""

    def __init__(self, service: CronService, poll_interval: float) -> None:
        self._service = service
        self._poll_interval = poll_interval
        self._next_check = 0.0
        self._changed = anyio.Event()

    async def on_notification(self, _: str | None) -> None:
        """Check the table: a server changed crons."""
        self._changed.set()

    async def step(self) -> float:
        """Fire due crons, then wait for the next check."""
        self._changed = anyio.Event()
        try:
            seconds = await self._fire_due()
        except KernelError as error:
            log.warning("crons cannot be checked", error=error.message)
            seconds = 2.0
        with anyio.move_on_after(seconds):
            await self._changed.wait()
        return 0

    async def _fire_due(self) -> float:
        """Fire due crons; return the seconds until the next check."""
        while await self._fire_one():
            continue
        if time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + self._poll_interval
            await self._service.set_back()
        checks = [self._poll_interval]
        if await self._service.release():
            checks.append(1.0)
        seconds = await self._service.seconds_to_next()
        if seconds is not None:
            checks.append(max(0.1, seconds))  # another server may be firing the cron that is due
        return min(checks)

    async def _fire_one(self) -> bool:
        """Fire once, also while the server stops: an interrupted transaction loses its connection,
        and its outcome is unknown."""
        await checkpoint()
        has_fired = False
        with anyio.CancelScope(shield=True):
            has_fired = await self._service.fire_next()
        return has_fired
