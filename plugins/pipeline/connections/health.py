"""Whether others should wait behind what a connection does."""

from __future__ import annotations

from .requests import Request


class Health:
    """Judges a connection by the request that has been its first one for some ticks.

        usable ──(the same request is first for `slow_ticks`, or it is held for longer)──> stuck
          ^                                                                                  │
          └──────────────────── a request is answered, or it is released ────────────────────┘

    A closed connection stays stuck.
    """

    def __init__(self) -> None:
        self.is_stuck = False
        """Whether no other request should wait for the first one."""
        self.ticks = 0
        """Checks that have met the same first request, after the one that met it first."""
        self._first: Request | None = None
        self._sent_at = 0.0
        self._held_ticks = 0

    def begin_hold(self) -> None:
        """Begin to count the ticks of a transaction."""
        self._held_ticks = 0

    def note_progress(self, is_open: bool) -> None:
        """Note that a request was answered, or that a transaction has ended."""
        self.is_stuck = not is_open

    def check_hold(self, slow_ticks: int) -> None:
        """Count a tick of the transaction that holds the connection."""
        self._held_ticks += 1
        if self._held_ticks > slow_ticks:
            self.is_stuck = True

    def check_first(self, first: Request | None, slow_ticks: int) -> None:
        """Count a tick of the request that is first now."""
        if first is None or first is not self._first or first.sent_at != self._sent_at:
            self._first = first
            self._sent_at = 0.0 if first is None else first.sent_at
            self.ticks = 0
            return
        self.ticks += 1
        if self.ticks >= slow_ticks:
            self.is_stuck = True
