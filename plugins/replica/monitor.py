"""How much of the database the replica has replayed."""

from __future__ import annotations

import math
from typing import Final

import anyio
import structlog

from kernel.public import Pool, Statements, Unavailable

from .positions import END, WRITTEN, to_number

PATIENCE: Final = 1.0
"""Seconds that a read waits for the replica, and that the replica has for an answer to a check."""
PAUSE: Final = 0.02
_END: Final = to_number(END)
_REPLAYED: Final = b"""
select case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
    else pg_current_wal_insert_lsn() end::text"""

log = structlog.get_logger("caudex.replica")


class Monitor:
    """Knows which reads the replica can answer; one for each server process."""

    def __init__(self, primary: Statements, replica: Pool, max_lag: float) -> None:
        """The replica is not used while it is more than `max_lag` seconds behind."""
        self._primary = primary
        self._replica = replica
        self._max_lag = max_lag
        self._replayed = 0
        self._fresh = -math.inf
        """The time whose state of the database the replica has, at least."""
        self._floor: int | None = None
        """The position that every read needs: that of the last change of the catalog."""
        self._reading = anyio.Lock()
        self._is_away = False
        self._answered_at = math.inf
        """When the replica last answered anything; at no time before its first answer."""

    async def check(self) -> None:
        """Wait until the replica has what the database has now."""
        began = anyio.current_time()
        try:
            with anyio.fail_after(self._max_lag):
                position = to_number(await self._primary.fetch(WRITTEN))
                self._replayed = await self._read_replayed()
                while self._replayed < position:
                    await anyio.sleep(PAUSE)
                    self._replayed = await self._read_replayed()
        except (Unavailable, TimeoutError) as error:
            self.give_up(error)
            return
        self._fresh = began
        if self._is_away:
            log.info("the replica answers reads again")
        self._is_away = False

    async def close_hanging(self) -> None:
        """Cut the connections of a replica that has answered nothing for `max_lag` seconds.

        A frozen one keeps them open. Then the primary answers what waits for a first row.
        """
        if anyio.current_time() > self._answered_at + self._max_lag:
            log.warning("the replica answers nothing: its connections are cut")
            self._replica.go_offline()
            self._replica.online = True  # the next check may find it alive
            self._answered_at = math.inf

    def note_answer(self) -> None:
        """Remember that the replica answered just now."""
        self._answered_at = anyio.current_time()

    async def on_catalog(self, _payload: str | None) -> None:
        """Require the replica to have the tables as they are now."""
        self._floor = None

    async def has(self, position: int) -> bool:
        """Return whether the replica has all up to a position, after a second of waiting."""
        if position == _END or anyio.current_time() > self._fresh + self._max_lag:
            return False
        try:
            if self._floor is None:
                self._floor = to_number(await self._primary.fetch(WRITTEN))
            return await self._wait_for(max(position, self._floor))
        except Unavailable as error:
            self.give_up(error)
            return False

    def give_up(self, error: Exception) -> None:
        """Use the replica no more, until the next check succeeds."""
        self._fresh = -math.inf
        if not self._is_away:
            reason = getattr(error, "message", "") or "it is too far behind"
            log.warning("the replica answers no reads", error=reason)
        self._is_away = True

    async def _wait_for(self, position: int) -> bool:
        with anyio.move_on_after(PATIENCE):
            while self._replayed < position:
                async with self._reading:  # one of those that wait asks for all
                    if self._replayed < position:
                        self._replayed = await self._read_replayed()
                        if self._replayed < position:
                            await anyio.sleep(PAUSE)
        return self._replayed >= position

    async def _read_replayed(self) -> int:
        with anyio.fail_after(PATIENCE):
            position = to_number(await self._replica.fetch(_REPLAYED))
        self.note_answer()
        return position
