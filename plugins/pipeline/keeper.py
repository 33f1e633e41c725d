"""Keeps the connections of a group open."""

from __future__ import annotations

import random
from typing import Any, Final

import anyio
import psycopg
import structlog
from anyio.abc import TaskStatus
from psycopg import AsyncConnection

from kernel.public import Pool

from .connection import PipelinedConnection
from .groups import ConnectionGroup

MIN_PAUSE: Final = 0.1
MAX_PAUSE: Final = 3.0
"""Seconds before the next attempt to connect; a connection that lasts resets it."""
LASTING: Final = 5.0
LIFETIME: Final = 3600.0
"""Seconds that a connection serves, as in the pool: what PostgreSQL caches for it only grows."""
CHECK_INTERVAL: Final = 5.0
"""Seconds between two checks whether a connection should be replaced."""

log = structlog.get_logger("caudex.pipeline")


class Keeper:
    """Opens the connections of one group, and replaces those that break."""

    def __init__(self, name: str, group: ConnectionGroup, pool: Pool, setting: bytes) -> None:
        """`setting` is the statement that each connection begins with."""
        self._name = name
        self._group = group
        self._pool = pool
        self._setting = setting
        self._away = False

    async def keep(self, *, task_status: TaskStatus[None]) -> None:
        """Keep one connection open for ever.

        The task counts as started after the first attempt, also a failed one: a group without
        connections leaves its work to the pool and does not stop the start of a server.
        """
        waiting: list[TaskStatus[None]] = [task_status]
        pause = MIN_PAUSE
        while True:
            began = anyio.current_time()
            try:
                await self._hold(waiting)
            except (psycopg.Error, OSError) as error:
                self._log(error)
            while waiting:
                waiting.pop().started()
            lasted = anyio.current_time() - began > LASTING
            pause = MIN_PAUSE if lasted else min(MAX_PAUSE, pause * 2)
            await anyio.sleep(pause * random.uniform(0.5, 1))  # not all at the same moment

    async def _hold(self, waiting: list[TaskStatus[None]]) -> None:
        """Connect, and return when the connection has ended. Raises psycopg.Error, OSError."""
        connection = await self._connect()
        member = self._group.add(connection)
        self._away = False
        while waiting:
            waiting.pop().started()
        try:
            await self._served(member)
            if member.reason is not None:
                raise member.reason
        finally:
            self._group.remove(member)

    async def _served(self, member: PipelinedConnection) -> None:
        """Return when the connection has ended, or is idle and due for replacement."""
        end = anyio.current_time() + LIFETIME * random.uniform(0.9, 1)
        while not member.closed.is_set():
            with anyio.move_on_after(CHECK_INTERVAL):
                await member.closed.wait()
            if member.idle and (member.oversized or anyio.current_time() > end):
                return

    async def _connect(self) -> AsyncConnection[Any]:
        connection = await self._pool.connect()
        try:
            await connection.execute(self._setting)
        except BaseException:
            await connection.close()
            raise
        return connection

    def _log(self, error: Exception) -> None:
        """Log an outage once, not once for each connection and attempt."""
        if not self._away:
            said = str(error).strip().partition("\n")[0]
            log.warning("the pipelined driver lost a connection", group=self._name, error=said)
        self._away = True
