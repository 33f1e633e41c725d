"""The breaker of an observer that keeps failing."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import Final

from kernel.toolkit.backoff import Backoff

TOLERATED: Final = 5
"""Failures in a row after which an observer is skipped for a while."""
PAUSES: Final = Backoff(first=10.0, longest=300.0)
"""How long it is skipped."""


class Breaker:
    """Counts failures in a row, and says whether an observer is called.

              five failures in a row              the pause is over
      closed ------------------------->  open  -----------------------> trying
        ^                                 ^                                |
        |                                 +---------- a failure -----------+
        +------------------------------------------- no failure -----------+

    While one call tries, no other is let through.
    """

    __slots__ = ("_retry_at", "failures")

    def __init__(self) -> None:
        self.failures = 0
        """Since the last call without one."""
        self._retry_at = 0.0
        """0 for an implementation that is no observer: its failures are counted only."""

    @property
    def is_open(self) -> bool:
        """Whether the observer is skipped, or tried once."""
        return self.failures >= TOLERATED and self._retry_at > 0.0

    def lets_through(self) -> bool:
        """Whether the next call may begin."""
        return not self.is_open or monotonic() >= self._retry_at

    def begin_call(self) -> None:
        """Note that a call began; an open breaker lets no other through until it ends."""
        self._retry_at = inf

    def end_call(self) -> None:
        """Plan the next try, in case that the breaker is open now."""
        failed_tries = max(1, self.failures - TOLERATED + 1)
        self._retry_at = monotonic() + PAUSES.pause(failed_tries)
