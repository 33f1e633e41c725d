"""One job on its way through a worker of this process, and what its end means."""

from __future__ import annotations

import time
from enum import Enum
from typing import Final

import anyio

from .models import Claimed, Outcome, Status
from .rules import backoff, said
from .store import MAX_LOSSES, POISONOUS

ODD_RESULT: Final = "its result cannot be stored"


class Ending(Enum):
    """Why a worker was told that a job is no longer wanted."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LEASE_LOST = "lease lost"


class Run:
    """A job that was handed to a worker. Times are those of `time.monotonic`."""

    def __init__(self, job: Claimed, token: str) -> None:
        self.job = job
        self.token = token
        self.claimed_at = self.began_at = time.monotonic()
        self.deadline = self.began_at + job.timeout_s
        self.alone = True
        """No other job of the app was under way here at any moment of it."""
        self.ending: Ending | None = None
        self.told_at = 0.0
        self.ended = False
        """No worker is at it any more."""
        self.settled = False
        """Its row has its end already, or is not ours any more: nothing is to be stored."""
        self.scope: anyio.CancelScope | None = None
        """What ends our waiting for it; the next run in its place may have the same."""

    def end(self, ending: Ending) -> None:
        """Note that the worker is told to end it."""
        self.ending, self.told_at = ending, time.monotonic()

    def begin(self, scope: anyio.CancelScope) -> None:
        """It is handed to the worker now."""
        self.scope = scope
        self.began_at = time.monotonic()
        self.deadline = self.began_at + self.job.timeout_s

    def overdue(self, grace: float) -> bool:
        """Whether it holds its place although its time is over and it was told to end."""
        last = max(self.deadline, self.told_at) + grace
        return self.ending is not None and time.monotonic() >= last

    # Ends

    def completed(self, result: bytes) -> Outcome:
        """The handler returned."""
        if self.ending is Ending.TIMEOUT:
            return self.failed("")
        try:
            return self._outcome("completed", result=result.decode())
        except UnicodeDecodeError:
            return self.failed(ODD_RESULT)

    def failed(self, error: str) -> Outcome:
        """The handler raised, or its time was over."""
        failures = self.job.failures + 1
        if self.ending is Ending.TIMEOUT:
            error = f"timed out after {self.job.timeout_s:g} s"
        if failures >= self.job.max_attempts:
            return self._outcome("failed", failures=failures, error=said(error))
        return self._outcome(
            "pending", failures=failures, error=said(error), delay=backoff(failures)
        )

    def lost(self) -> Outcome:
        """The worker died. Who was there is a suspect; who was alone there for too many times is
        taken for the cause."""
        if self.ending is Ending.TIMEOUT:
            return self.failed("")
        losses = self.job.losses + self.alone
        if losses >= MAX_LOSSES:
            return self._outcome("failed", losses=losses, error=POISONOUS)
        return self._outcome("pending", losses=losses, suspect=True)

    def given_back(self, *, unstarted: bool = False, delay: float = 0) -> Outcome:
        """It could not be started, or its worker or server goes away on purpose."""
        return self._outcome(
            "pending",
            losses=self.job.losses,
            suspect=self.job.suspect,
            unstarted=unstarted,
            delay=delay,
        )

    def abandoned(self) -> Outcome:
        """Nobody waits for its end any more."""
        return self.failed("") if self.ending is Ending.TIMEOUT else self.given_back()

    def cancelled(self) -> Outcome:
        """Somebody cancelled it, and it goes on."""
        return self._outcome("cancelled")

    def _outcome(
        self,
        status: Status,
        *,
        failures: int | None = None,
        losses: int = 0,
        suspect: bool = False,
        unstarted: bool = False,
        delay: float = 0,
        result: str | None = None,
        error: str | None = None,
    ) -> Outcome:
        return Outcome(
            id=self.job.id,
            token=self.token,
            app_id=self.job.app_id,
            status=status,
            failures=self.job.failures if failures is None else failures,
            losses=losses,
            suspect=suspect,
            unstarted=unstarted,
            delay=delay,
            result=result,
            error=error,
        )
