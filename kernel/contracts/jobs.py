"""Background jobs: rows that workers process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from kernel.contracts.base import Actor, ServiceKey
from kernel.contracts.statements import Transaction

__all__ = ["JOBS", "Jobs", "NewJob", "plugin_jobs"]


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job to enqueue. `payload` is JSON; `run_at` RFC 3339 text; `timeout_s` in seconds.

    After `max_attempts` errors of its handler the job fails. A job of a higher `priority` runs
    before others of its app. `key` is an idempotency key: while a job with it is pending or
    running, that one is returned.
    """

    payload: msgspec.Raw
    run_at: str | None = None
    max_attempts: int = 1
    timeout_s: float = 900
    priority: int = 0
    key: str | None = None


def plugin_jobs(plugin: str) -> str:
    """Return the app id that marks a plugin's own jobs: `plugin:<name>`."""
    return f"plugin:{plugin}"


class Jobs(Protocol):
    """Runs jobs at least once: no acknowledged job is lost, and each one ends. Returns JSON.

    With `user_id` the jobs of other users do not exist. With `plugin_jobs(name)` as the app a job
    is that plugin's own: its handler runs it (`handling`), as the server.
    """

    async def enqueue(
        self, actor: Actor, app_id: str, job: NewJob, tx: Transaction | None = None
    ) -> str:
        """Accept a job and return its id.

        With `tx` the job is part of that transaction, and exists only if it commits. Raises
        NotFound for an app that is not installed, or a plugin that is off.
        """
        ...

    async def get(self, app_id: str, job_id: str, *, user_id: str | None = None) -> bytes:
        """One job. Raises NotFound, also for a job of another app."""
        ...

    async def list(
        self,
        app_id: str,
        *,
        status: str | None,
        limit: int,
        before: str | None,
        user_id: str | None = None,
    ) -> bytes:
        """Jobs, newest first."""
        ...

    async def cancel(
        self, actor: Actor, app_id: str, job_id: str, *, user_id: str | None = None
    ) -> None:
        """Cancel a pending or running job. Raises BadRequest for one that has ended."""
        ...

    def handling(
        self, plugin: str, handler: Callable[[bytes], Awaitable[object]]
    ) -> AbstractAsyncContextManager[None]:
        """Run the jobs of a plugin in this process, for as long as the context lasts.

        `handler` gets the payload, and what it returns is the result, as JSON. An error that it
        raises is a failure, but Unavailable is not: the job runs again later. The handler is
        cancelled at the time limit, and when the job is cancelled. Jobs wait while no process
        handles them. At the end of the context jobs have a few seconds to end; the others run again
        elsewhere.
        """
        ...


JOBS = ServiceKey[Jobs]("jobs")
