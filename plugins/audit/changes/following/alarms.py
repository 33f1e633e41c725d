"""Times at which many sleepers want to be woken, by one timer of the event loop."""

from __future__ import annotations

import asyncio
import math
from typing import Final, Protocol

SLOT: Final = 0.1
"""Seconds that an alarm may be late: those of a slot ring together."""


class Sleeper(Protocol):
    """Who wants to be woken at a time of the event loop, which it may put off meanwhile."""

    until: float

    def ring(self) -> None:
        """Wake up; the alarm is gone."""
        ...


class Alarms:
    """Rings for each sleeper once. A timer for each would wake the process for each, too."""

    def __init__(self) -> None:
        self._slots = dict[int, set[Sleeper]]()
        self._slot_of = dict[Sleeper, int]()
        self._timer: asyncio.TimerHandle | None = None
        self._next_slot = 0
        """The slot at which the timer rings."""

    def __len__(self) -> int:
        return len(self._slot_of)

    def set(self, sleeper: Sleeper) -> None:
        """Ring when the time of a sleeper has come, unless it has an alarm that rings before."""
        if sleeper in self._slot_of:
            return
        slot = self._put(sleeper)
        if self._timer is not None and slot >= self._next_slot:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._schedule(slot)

    def remove(self, sleeper: Sleeper) -> None:
        """Ring no more for a sleeper."""
        slot = self._slot_of.pop(sleeper, None)
        if slot is None:
            return
        sleepers = self._slots[slot]
        sleepers.discard(sleeper)
        if not sleepers:
            del self._slots[slot]
        if not self._slots and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _put(self, sleeper: Sleeper) -> int:
        """Put a sleeper into the slot of its time, and return that."""
        slot = math.ceil(sleeper.until / SLOT)
        self._slot_of[sleeper] = slot
        self._slots.setdefault(slot, set()).add(sleeper)
        return slot

    def _schedule(self, slot: int) -> None:
        self._next_slot = slot
        self._timer = asyncio.get_running_loop().call_at(slot * SLOT, self._ring_due)

    def _ring_due(self) -> None:
        """Ring for those whose time has come; the others have put it off."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        due = [slot for slot in self._slots if slot <= self._next_slot or slot * SLOT <= now]
        sleepers = [sleeper for slot in due for sleeper in self._slots.pop(slot)]
        for sleeper in sleepers:
            del self._slot_of[sleeper]
            if sleeper.until <= now:
                sleeper.ring()
            else:
                self._put(sleeper)
        if self._slots:
            self._schedule(min(self._slots))
