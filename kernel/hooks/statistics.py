"""Statistics of the calls of one implementation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter, time
from typing import Final

KEPT_DURATIONS: Final = 256
"""Calls whose durations are kept, for quantiles."""


class CallStatistics:
    """See `kernel.contracts.server.HookStatistics`."""

    __slots__ = ("calls", "durations", "errors", "failed_at", "last_error", "observe", "refusals",
                 "seconds")  # fmt: skip

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0
        self.durations: deque[float] = deque(maxlen=KEPT_DURATIONS)
        self.refusals = 0
        self.errors = 0
        self.last_error = ""
        self.failed_at = 0.0
        self.observe: Callable[[float], None] | None = None

    def count_call(self, began: float) -> None:
        """Count a call that began at that time of `perf_counter`."""
        seconds = perf_counter() - began
        self.calls += 1
        self.seconds += seconds
        self.durations.append(seconds)
        if self.observe is not None:
            self.observe(seconds)

    def count_error(self, error: Exception, place: str) -> None:
        """Count a call that failed."""
        self.errors += 1
        self.failed_at = time()
        self.last_error = f"{type(error).__name__} at {place}"
