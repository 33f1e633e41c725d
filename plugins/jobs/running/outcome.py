"""One run of a job: its start, and its outcome for each way to end."""

from __future__ import annotations

import random
import time
from enum import Enum
from typing import Any, Final

import anyio
from msgspec.structs import replace

from kernel.public import Backoff
from plugins.jobs.models import Claimed, Outcome

INVALID_RESULT: Final = "its result cannot be stored"

_RETRY: Final = Backoff(first=2.0, longest=900.0)


class Ending(Enum):
    """Why the worker was asked to end a run."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LEASE_LOST = "lease lost"


class Run:
    """A job that this process has leased. Times are from `time.monotonic`."""

    def __init__(self, job: Claimed, token: str) -> None:
        self.job = job
        self.token = token
        self.claimed_at = time.monotonic()
        self.began_at = self.claimed_at
        self.deadline = self.began_at + job.timeout_s
        self.alone = True
        """No other job of the app has run in this process at the same time."""
        self.ending: Ending | None = None
        self.end_requested_at = 0.0
        self.ended = False
        """The worker no longer runs it."""
        self.settled = False
        """Nothing is left to store: its row has its outcome, or belongs to another server."""
        self.scope: anyio.CancelScope | None = None
        """Cancels the wait for the worker; the next run in the same slot may share it."""

    def request_end(self, ending: Ending) -> None:
        """Note that the worker is asked to end it."""
        self.ending = ending
        self.end_requested_at = time.monotonic()

    def begin(self, scope: anyio.CancelScope) -> None:
        """Note that the worker receives it now."""
        self.scope = scope
        self.began_at = time.monotonic()
        self.deadline = self.began_at + self.job.timeout_s

    def is_overdue(self, cancel_grace: float) -> bool:
        """Whether it still occupies its slot after its time and `cancel_grace` seconds."""
        limit = max(self.deadline, self.end_requested_at) + cancel_grace
        return self.ending is not None and time.monotonic() >= limit

    # Outcomes

    def completed(self, result: bytes) -> Outcome:
        """The handler returned."""
        if self.ending is Ending.TIMEOUT:
            return self.failed("")
        try:
            return self._make_outcome(status="completed", result=result.decode())
        except UnicodeDecodeError:
            return self.failed(INVALID_RESULT)

    def failed(self, error: str) -> Outcome:
        """The handler raised, or its time was over."""
        failures = self.job.failures + 1
        if self.ending is Ending.TIMEOUT:
            error = f"timed out after {self.job.timeout_s:g} s"
        error = _clean_error(error)
        if failures >= self.job.max_attempts:
            return self._make_outcome(status="failed", failures=failures, error=error)
        return self._make_outcome(failures=failures, error=error, delay=backoff(failures))

    def postponed(self, error: str) -> Outcome:
        """The handler ended because something was unavailable: no failure, until the 20th time in
        a row."""
        if self.ending is Ending.TIMEOUT:
            return self.failed("")
        times = self.job.unavailable + 1
        if times >= 20:
            error = f"something that it needs was unavailable {times} times in a row: {error}"
            return self._make_outcome(status="failed", unavailable=times, error=_clean_error(error))
        return self._make_outcome(
            unavailable=times, error=_clean_error(error), delay=backoff(times)
        )

    def crashed(self) -> Outcome:
        """The worker died. Each of its jobs is quarantined: from then on it runs alone. A job that
        was alone in three crashes is a poison job and fails."""
        if self.ending is Ending.TIMEOUT:
            return self.failed("")
        crashes = self.job.worker_crashes + self.alone
        if crashes >= 3:
            poison = f"the worker was lost {crashes} times while this job ran alone in it"
            return self._make_outcome(status="failed", worker_crashes=crashes, error=poison)
        return self._make_outcome(worker_crashes=crashes, quarantined=True)

    def released(self, *, unstarted: bool = False, delay: float = 0) -> Outcome:
        """It could not start, or its worker or server stops."""
        return self._make_outcome(
            worker_crashes=self.job.worker_crashes,
            unavailable=self.job.unavailable,
            quarantined=self.job.quarantined,
            unstarted=unstarted,
            delay=delay,
        )

    def interrupted(self) -> Outcome:
        """The wait for its end is over before it ended."""
        if self.ending is Ending.TIMEOUT:
            return self.failed("")
        return self.released()

    def cancelled(self) -> Outcome:
        """It was cancelled, and still runs."""
        return self._make_outcome(status="cancelled")

    def _make_outcome(self, **fields: Any) -> Outcome:
        job = self.job
        outcome = Outcome(id=job.id, token=self.token, app_id=job.app_id, failures=job.failures)
        return replace(outcome, **fields)


def _clean_error(error: str) -> str:
    """Return an error as PostgreSQL stores it, cut."""
    return error[: 64 * 1024].replace("\0", "\ufffd").encode(errors="replace").decode()


def backoff(failures: int) -> float:
    """Return the seconds until the next attempt: 2^failures, at most 15 minutes.

    A random quarter is taken off, so that jobs that failed together are not retried together.
    """
    return _RETRY.pause(failures) * random.uniform(0.75, 1)
