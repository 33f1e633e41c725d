"""Brings a server that died back, more patiently each time."""

import time
from collections.abc import Callable

from .errors import EmbeddedPostgresError
from .postmaster import Postmaster

# The first attempt is immediate: most deaths are one backend's crash or a kill by hand.
DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
STEADY_SECONDS = 60.0


class Keeper:
    """Watches one server; each `step` returns at once and tells what an operator should know."""

    def __init__(
        self,
        postmaster: Postmaster,
        relaunch: Callable[[], Postmaster | None],
        announce: Callable[[Postmaster], None],
    ) -> None:
        """`relaunch` gives None while remains of the old server still end; try again then."""
        self.postmaster: Postmaster | None = postmaster
        self.ready = True
        self._relaunch = relaunch
        self._announce = announce
        self._failures = 0
        self._retry_at = 0.0
        self._ready_since = time.monotonic()

    def step(self) -> str | None:
        """Look after the server once."""
        if self.postmaster is None:
            return self._try_again()
        if end := self.postmaster.end():
            return self._down(f"PostgreSQL ended ({end})")
        if not self.ready and self.postmaster.ready:
            return self._back(self.postmaster)
        self.postmaster.tidy_log()
        return None

    def _down(self, news: str) -> str:
        steady = self.ready and time.monotonic() - self._ready_since > STEADY_SECONDS
        delay = DELAYS[0 if steady else min(self._failures, len(DELAYS) - 1)]
        self._failures = 1 if steady else self._failures + 1
        self.postmaster, self.ready = None, False
        self._retry_at = time.monotonic() + delay
        return f"{news}; starting it again" + (f" in {delay:g} s" if delay else "")

    def _try_again(self) -> str | None:
        if time.monotonic() < self._retry_at:
            return None
        try:
            self.postmaster = self._relaunch()
        except (EmbeddedPostgresError, OSError) as error:
            return self._down(f"PostgreSQL cannot be started ({error})")
        return None

    def _back(self, postmaster: Postmaster) -> str:
        self._announce(postmaster)
        self.ready, self._ready_since = True, time.monotonic()
        return "PostgreSQL is back"
