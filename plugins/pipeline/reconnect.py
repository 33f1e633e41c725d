"""Opens the connections of a group, and replaces those that break or are old."""

from __future__ import annotations

import random
from typing import Final

import anyio
import psycopg
import structlog

from kernel.public import Pool, Retry, dialect

from .connection import PipelinedConnection
from .groups import ConnectionGroup

LIFETIME: Final = 3600.0
"""Seconds that a connection serves, as in the pool: what PostgreSQL caches for it only grows."""
CHECK_INTERVAL: Final = 15.0
"""Seconds between two checks whether a connection should be replaced."""

_RETRY: Final = Retry(first=0.1, longest=3.0)

log = structlog.get_logger("caudex.pipeline")


class Reconnector:
    """Opens the connections of one group, and replaces those that break."""

    def __init__(self, name: str, group: ConnectionGroup, pool: Pool, setting: bytes) -> None:
        """`setting` is the statement that each connection begins with."""
        self._name = name
        self._group = group
        self._pool = pool
        self._setting = setting
        self._away = False

    async def keep_open(self, attempted: anyio.Event) -> None:
        """Keep one connection open for ever; `attempted` is set after the first attempt.

        That one may fail: a group without connections leaves its work to the pool and does not
        stop the start of a server.
        """
        failures = 0
        while True:
            began = anyio.current_time()
            try:
                await self._hold(attempted)
            except (psycopg.Error, OSError) as error:
                self._log(error)
            attempted.set()
            lasted = anyio.current_time() - began > 5.0
            failures = 0 if lasted else failures + 1
            pause = _RETRY.pause(failures + 1)
            await anyio.sleep(pause * random.uniform(0.5, 1))  # not all at the same moment

    async def _hold(self, attempted: anyio.Event) -> None:
        """Connect, and return when the connection has ended. Raises psycopg.Error, OSError."""
        async with self._pool.connect() as connection:
            await connection.execute(self._setting)
            member = self._group.add(connection)
            self._away = False
            attempted.set()
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

    def _log(self, error: Exception) -> None:
        """Log an outage once, not once for each connection and attempt."""
        if not self._away:
            reason = dialect.reason(error)
            log.warning("the pipelined driver lost a connection", group=self._name, error=reason)
        self._away = True
