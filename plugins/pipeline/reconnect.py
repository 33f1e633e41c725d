"""Opens the connections of a group, and replaces those that break or are old."""

from __future__ import annotations

import random
from typing import Any, Final

import anyio
import psycopg
import structlog

from kernel.public import Backoff, Pool, dialect

from .connections.connection import PipelinedConnection
from .groups import ConnectionGroup

LIFETIME: Final = 3600.0
"""Seconds that a connection serves, as in the pool: what PostgreSQL caches for it only grows."""
CHECK_INTERVAL: Final = 15.0
"""Seconds between two checks whether a connection should be replaced."""
SETTLED_SECONDS: Final = 5.0
"""Seconds after which a connection counts as one that worked: the next attempt is made soon."""

_RETRY: Final = Backoff(first=0.1, longest=3.0)

log = structlog.get_logger("caudex.pipeline")


class Reconnector:
    """Opens the connections of one group, and replaces those that break."""

    def __init__(
        self, name: str, group: ConnectionGroup[Any, Any], pool: Pool, setting: bytes
    ) -> None:
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
                await self._serve_one(attempted)
            except (psycopg.Error, OSError) as error:
                self._log_outage(error)
            attempted.set()
            failures += 1
            if anyio.current_time() - began > SETTLED_SECONDS:
                failures = 0
            pause = _RETRY.pause(failures + 1)
            await anyio.sleep(pause * random.uniform(0.5, 1))  # not all at the same moment

    async def _serve_one(self, attempted: anyio.Event) -> None:
        """Connect, and return when the connection has ended. Raises psycopg.Error, OSError."""
        async with self._pool.connect() as connection:
            await connection.execute(self._setting)
            member = self._group.add(connection)
            self._away = False
            attempted.set()
            try:
                await self._wait_for_end(member)
                if member.wire.reason is not None:
                    raise member.wire.reason
            finally:
                self._group.remove(member)

    async def _wait_for_end(self, member: PipelinedConnection) -> None:
        """Return when the connection has ended, or is idle and due for replacement."""
        end = anyio.current_time() + LIFETIME * random.uniform(0.9, 1)
        wire = member.wire
        while wire.is_open:
            with anyio.move_on_after(CHECK_INTERVAL):
                await wire.closed.wait()
            is_due = wire.has_large_buffer or anyio.current_time() > end
            if is_due and member.is_idle:
                return

    def _log_outage(self, error: Exception) -> None:
        """Log an outage once, not once for each connection and attempt."""
        if not self._away:
            reason = dialect.reason(error)
            log.warning("the pipelined driver lost a connection", group=self._name, error=reason)
        self._away = True
