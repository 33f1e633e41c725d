"""All jobs of a state at once: count, cancel and retry them, a portion with each request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from kernel.public import Actor

from .models import Portion, PortionDone, Status


@runtime_checkable
class ManyJobs(Protocol):
    """What a provider of JOBS can do beyond its contract; that of this plugin can.

    With `user_id` the jobs of other users do not exist.
    """

    async def counts(self, app_id: str, *, user_id: str | None = None) -> Mapping[Status, int]:
        """Count the jobs of each state, up to 10,000."""
        ...

    async def attempts(self, app_id: str, job_id: str, *, user_id: str | None = None) -> bytes:
        """The attempts of a job as a JSON array, oldest first. Raises NotFound."""
        ...

    async def cancel_many(
        self, actor: Actor, app_id: str, wanted: Portion, *, user_id: str | None = None
    ) -> PortionDone:
        """Cancel pending or running jobs, newest first."""
        ...

    async def retry_many(
        self, actor: Actor, app_id: str, wanted: Portion, *, user_id: str | None = None
    ) -> PortionDone:
        """Enqueue ended jobs once more for the caller, newest first; the old ones remain."""
        ...
