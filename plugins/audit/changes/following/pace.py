"""How long the reader rests between two batches."""

from __future__ import annotations

from typing import Final

SHARE: Final = 8.0
"""The reader and its followers together have one part of the time in so many."""
BURST: Final = 0.1
"""Seconds in advance: single changes are read at once, however soon one follows another."""
LONGEST: Final = 0.25
WAITED: Final = 3.0
"""How often the time of the processor a batch may count: it also waits for PostgreSQL, and for a
processor that others use. A machine that is busy with other things would make all rests long."""


class Pace:
    """Leaves most of the time to those who write, where they write without a break.

    What comes during a rest comes in one batch, so a rest makes the next batch larger and all of
    them cheaper.
    """

    def __init__(self) -> None:
        self._owed = 0.0
        """Seconds until the batches so far have had no more than their share."""
        self._noted_at = 0.0

    def note(self, now: float, passed_seconds: float, used_seconds: float) -> None:
        """Note at a time that a batch and its followers took so long.

        They took `passed_seconds` on the clock, and `used_seconds` of this thread's processor.
        """
        rested = now - passed_seconds - self._noted_at
        self._noted_at = now
        seconds = min(passed_seconds, WAITED * used_seconds)
        owed = max(0.0, self._owed - rested) + (SHARE - 1) * seconds
        self._owed = min(owed, BURST + LONGEST)

    @property
    def rest(self) -> float:
        """Seconds to wait for the next batch."""
        return max(0.0, self._owed - BURST)
