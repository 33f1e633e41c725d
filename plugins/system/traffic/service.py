"""Shares what this process counted, and shows what all of them did."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Final

import anyio
from anyio import to_thread

from kernel.public import KernelError, Statements, Traffic, TrafficMinute

from . import store
from .figures import add_up
from .models import TrafficView

MAX_KEPT: Final = 60
"""Minutes that wait for a database that is away."""


class TrafficReports:
    """The requests of the last hour, of every process of the database."""

    def __init__(self, traffic: Traffic, statements: Statements) -> None:
        self._traffic = traffic
        self._statements = statements
        self._process = uuid.uuid4().hex
        self._unwritten = list[TrafficMinute]()
        self._lock = anyio.Lock()

    async def share(self) -> None:
        """Write the minutes that are over, for the other processes. Raises Unavailable."""
        async with self._lock:
            self._unwritten = [*self._unwritten, *self._traffic.take_minutes()][-MAX_KEPT:]
            if self._unwritten:
                await store.write(self._statements, self._process, self._unwritten)
                self._unwritten = []

    async def share_last(self) -> None:
        """Write what is left when the server ends."""
        with anyio.move_on_after(1, shield=True), suppress(KernelError):
            await self.share()

    async def read(self) -> TrafficView:
        """Return the requests of the last hour."""
        with suppress(KernelError):
            await self.share()
        stored = await store.read(self._statements)
        processes = {minute.process for minute in stored} | {self._process}
        minutes = [minute.content for minute in stored]
        minutes += self._unwritten
        present = self._traffic.read_present()
        if present is not None:
            minutes.append(present)
        # Many processes have many minutes: other requests go on meanwhile.
        return await to_thread.run_sync(add_up, minutes, len(processes))
