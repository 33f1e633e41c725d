"""How often the worker of an app crashed, and when it may start again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

MAX_CRASHES: Final = 5
"""Crashes within a minute, or failed starts in a row, after which a worker is `crashed`."""
PERIOD: Final = 60.0
"""Seconds in which crashes are counted. A worker that ran for longer begins again."""
LONGEST_WAIT: Final = 300.0
POSTPONED: Final = 2.0
"""Seconds until a start is tried again that waits for the database."""


class Crashes:
    """Counts crashes and failed starts, and says how long the next start has to wait.

    A start follows the first crash at once, the next ones after waits that double. Failed starts
    count until one succeeds: a build may take longer than a minute to fail. A crashed worker is
    tried again until one runs for a minute; the waits grow to five minutes.
    """

    def __init__(self, backoff: float, clock: Callable[[], float]) -> None:
        self._backoff = backoff
        self._clock = clock
        self._times: deque[float] = deque(maxlen=MAX_CRASHES)
        self._count = 0
        """What the next wait follows from."""
        self._came_up = 0.0
        """When a worker last came up."""
        self._not_before = 0.0

    @property
    def are_too_many(self) -> bool:
        """Whether the worker is `crashed`."""
        return self._count >= MAX_CRASHES

    @property
    def wait(self) -> float:
        """The seconds until the next start; not above 0 where it may start now."""
        return self._not_before - self._clock()

    def clear(self) -> None:
        """Forget what happened: an admin started or deployed the worker."""
        self._count = 0
        self._not_before = 0.0
        self._times.clear()

    def note_start(self) -> None:
        """Take note that a worker came up."""
        self._came_up = self._clock()

    def note_crash(self) -> float:
        """Count the end of a worker that was up. Returns the seconds until the next start."""
        if self._clock() - self._came_up > PERIOD:
            self.clear()
        return self._add(1)

    def note_failed_start(self, *, hung: bool) -> float:
        """Count a start that failed. Returns the seconds until the next one.

        A worker that hangs would hang again: it counts as crashed.
        """
        return self._add(MAX_CRASHES if hung else 1)

    def postpone(self) -> None:
        """Have the next start wait, for a reason that is no failure of the worker."""
        self._not_before = self._clock() + POSTPONED

    def _add(self, at_least: int) -> float:
        now = self._clock()
        self._times.append(now)
        if self.are_too_many:
            count = self._count + 1
        else:
            since = min(now - PERIOD, self._came_up)
            count = sum(1 for time in self._times if time >= since)
        self._count = max(at_least, count)
        wait = self._find_wait()
        self._not_before = now + wait
        return wait

    def _find_wait(self) -> float:
        if self._count == 1:
            return 0.0
        doubled = self._backoff * 2.0 ** min(self._count - 2, 20)
        return min(doubled, LONGEST_WAIT)
