"""The loop that waits for due times."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog
from anyio.lowlevel import checkpoint

from kernel.public import KernelError

from .service import CronService

RETRY: Final = 2.0
"""Seconds until the next try where the database, or JOBS, cannot answer."""

LOOK: Final = 1.0
"""Seconds between two looks whether runs that wait may start."""

BREATH: Final = 0.1
"""Seconds at least between two looks: a cron that is due may be another server's just now."""

log = structlog.get_logger("caudex.cron")


class Scheduler:
    """Sleeps until the next due time, `poll` seconds at most, or until crons change."""

    def __init__(self, service: CronService, poll: float) -> None:
        self._service = service
        self._poll = poll
        self._next_check = 0.0
        self._news = anyio.Event()

    async def heard(self, _: str | None) -> None:
        """Look again: crons were changed, on whichever server."""
        self._news.set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Fire while the server runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run)
            yield
            tasks.cancel_scope.cancel()

    async def _run(self) -> None:
        while True:
            self._news = anyio.Event()
            try:
                wait = await self._round()
            except KernelError as error:
                log.warning("crons cannot be looked at", error=error.message)
                wait = RETRY
            except Exception as error:  # a fault of ours, or of whoever provides JOBS
                log.error("crons cannot be looked at", exc_info=error)
                wait = RETRY
            with anyio.move_on_after(wait):
                await self._news.wait()

    async def _round(self) -> float:
        """Fire what is due; returns the seconds until it is worth a look again."""
        while await self._fired():
            continue
        if time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + self._poll
            await self._service.set_back()
        looks = [self._poll]
        if await self._service.release():
            looks.append(LOOK)
        if (due := await self._service.seconds_to_next()) is not None:
            looks.append(max(BREATH, due))
        return min(looks)

    async def _fired(self) -> bool:
        """Fire once, to its end also while the server stops: what is broken off costs its
        connection, and nobody knows what became of it."""
        await checkpoint()
        fired = False
        with anyio.CancelScope(shield=True):
            fired = await self._service.fire_next()
        return fired
