"""Keeps the connections of a lane standing."""

from __future__ import annotations

import random
from typing import Any, Final

import anyio
import psycopg
import structlog
from anyio.abc import TaskStatus
from psycopg import AsyncConnection

from kernel.public import Pool

from .connection import Pipe
from .lanes import Lane

LEAST_PAUSE: Final = 0.1
MOST_PAUSE: Final = 3.0
"""Seconds before the next attempt to connect; a connection that lasts sets it back."""
LASTING: Final = 5.0
LIFETIME: Final = 3600.0
"""Seconds that a connection serves, as in the pool: what PostgreSQL caches for it only grows."""
LOOK: Final = 5.0
"""Seconds between two looks whether one should go."""

log = structlog.get_logger("caudex.pipeline")


class Keeper:
    """Makes the connections of one lane, and makes them anew when they break."""

    def __init__(self, name: str, lane: Lane, pool: Pool, setting: bytes) -> None:
        """`setting` is the statement that each connection begins with."""
        self._name = name
        self._lane = lane
        self._pool = pool
        self._setting = setting
        self._away = False

    async def keep(self, *, task_status: TaskStatus[None]) -> None:
        """Keep one connection for ever.

        The task has started when the first attempt is over, whatever came of it: a lane without
        connections leaves its work to the pool, it does not keep a server from starting.
        """
        waiting: list[TaskStatus[None]] = [task_status]
        pause = LEAST_PAUSE
        while True:
            began = anyio.current_time()
            try:
                await self._hold(waiting)
            except (psycopg.Error, OSError) as error:
                self._tell(error)
            while waiting:
                waiting.pop().started()
            lasted = anyio.current_time() - began > LASTING
            pause = LEAST_PAUSE if lasted else min(MOST_PAUSE, pause * 2)
            await anyio.sleep(pause * random.uniform(0.5, 1))  # not all at the same moment

    async def _hold(self, waiting: list[TaskStatus[None]]) -> None:
        """Connect, and return when the connection has ended. Raises psycopg.Error, OSError."""
        connection = await self._connect()
        pipe = self._lane.add(connection)
        self._away = False
        while waiting:
            waiting.pop().started()
        try:
            await self._served(pipe)
            if pipe.reason is not None:
                raise pipe.reason
        finally:
            self._lane.remove(pipe)

    async def _served(self, pipe: Pipe) -> None:
        """Return when the connection has ended, or should and nobody uses it."""
        end = anyio.current_time() + LIFETIME * random.uniform(0.9, 1)
        while not pipe.closed.is_set():
            with anyio.move_on_after(LOOK):
                await pipe.closed.wait()
            if pipe.idle and (pipe.worn or anyio.current_time() > end):
                return

    async def _connect(self) -> AsyncConnection[Any]:
        connection = await self._pool.connect()
        try:
            await connection.execute(self._setting)
        except BaseException:
            await connection.close()
            raise
        return connection

    def _tell(self, error: Exception) -> None:
        """Tell of an outage once, not once for each connection and attempt."""
        if not self._away:
            said = str(error).strip().partition("\n")[0]
            log.warning("the fast lane lost a connection", lane=self._name, error=said)
        self._away = True
