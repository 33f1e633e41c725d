"""How long to wait before another try."""

from __future__ import annotations

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Pauses that double after each failure, from `first` to `longest` seconds."""

    first: float = 0.5
    longest: float = 30.0

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row, at least one."""
        return min(self.first * 2.0 ** min(failures - 1, 30), self.longest)
