"""Jobs over HTTP: enqueue, show, list, cancel, and all of a state at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final, Protocol, runtime_checkable

import msgspec

from kernel.public import (
    ACCESS,
    APPS,
    CORE_ADMIN,
    IDEMPOTENCY,
    JOBS,
    JOBS_MANAGE,
    JOBS_READ,
    JOBS_USER,
    WORKERS,
    Actor,
    Answer,
    BadRequest,
    Forbidden,
    Jobs,
    KeyedRequest,
    Message,
    Needs,
    NewJob,
    NotFound,
    Request,
    Response,
    Route,
    Services,
    Transaction,
    headers_of,
    one_of,
    plugin_jobs,
    read_limit,
    reply,
    reply_if_changed,
    supports,
)

from .models import (
    STATUSES,
    Accepted,
    Attempt,
    CancelJobs,
    Job,
    JobsQuery,
    Portion,
    PortionDone,
    RetryJobs,
    Status,
)

OF_APP: Final = "/api/v1/apps/{app_id}/jobs"
ONE: Final = f"{OF_APP}/{{job_id}}"
OF_PLUGIN: Final = "/api/v1/plugins/{plugin}/jobs"
NOT_RUN: Final = (
    "no plugin that is on runs workers: jobs wait until one does ([plugins.workers] enabled = true)"
)
PARAMETERS: Final = frozenset(JobsQuery.__struct_fields__)

_encode = msgspec.json.Encoder().encode


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
        self, actor: Actor, app_id: str, portion: Portion, *, user_id: str | None = None
    ) -> PortionDone:
        """Cancel pending or running jobs, newest first."""
        ...

    async def retry_many(
        self, actor: Actor, app_id: str, portion: Portion, *, user_id: str | None = None
    ) -> PortionDone:
        """Enqueue ended jobs once more for the caller, newest first; the old ones remain."""
        ...


class JobsRoutes:
    """The handlers; they call the provider of JOBS."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """Return the routes with their permissions."""
        return [
            Route(
                "POST",
                OF_APP,
                self.enqueue,
                JOBS_USER,
                NewJob,
                returns=Accepted,
                status=201,
                workers=True,
                app_hosts=True,
            ),
            Route(
                "GET",
                OF_APP,
                self.list,
                JOBS_USER,
                returns=list[Job],
                query=JobsQuery,
                workers=True,
                app_hosts=True,
            ),
            Route(
                "GET",
                ONE,
                self.get,
                JOBS_USER,
                returns=Job,
                errors=(400,),
                workers=True,
                app_hosts=True,
            ),
            Route(
                "POST",
                f"{ONE}/cancel",
                self.cancel,
                JOBS_USER,
                returns=Message,
                errors=(400,),
                workers=True,
                app_hosts=True,
            ),
            Route("GET", f"{OF_APP}/counts", self.counts, JOBS_USER, returns=dict[Status, int]),
            Route(
                "GET",
                f"{ONE}/attempts",
                self.attempts,
                JOBS_USER,
                returns=list[Attempt],
                errors=(400,),
            ),
            Route(
                "POST",
                f"{OF_APP}/cancel",
                self.cancel_many,
                JOBS_USER,
                CancelJobs,
                returns=PortionDone,
            ),
            Route(
                "POST",
                f"{OF_APP}/retry",
                self.retry_many,
                JOBS_USER,
                RetryJobs,
                returns=PortionDone,
            ),
            Route(
                "GET",
                OF_PLUGIN,
                self.list_of_plugin,
                CORE_ADMIN,
                returns=list[Job],
                query=JobsQuery,
            ),
        ]

    async def enqueue(self, request: Request, body: NewJob) -> Response:
        """Enqueue a job; the app's worker runs it at least once."""
        if b"idempotency-key" in headers_of(request.scope):
            answer = await self._enqueue_once(request, request.headers["idempotency-key"], body)
            return reply(answer.body, answer.status)
        job_id = await self._jobs.enqueue(request.actor, request.path("app_id"), body)
        return reply(self._accepted(job_id), 201)

    @cached_property
    def is_run(self) -> bool:
        """Whether a plugin runs the workers that jobs are for."""
        return self._services.provider(WORKERS.name) is not None

    def _accepted(self, job_id: str) -> Accepted:
        return Accepted(job_id=job_id, warning=msgspec.UNSET if self.is_run else NOT_RUN)

    async def _enqueue_once(self, request: Request, key: str, body: NewJob) -> Answer:
        """Enqueue a job in the transaction of an idempotency key, or return its first answer."""
        service = self._services.find(IDEMPOTENCY)
        if service is None:
            raise BadRequest("Idempotency-Key is not supported: the plugin idempotency is off")
        app = await self._services.get(APPS).app(request.path("app_id"))

        async def work(tx: Transaction) -> Answer:
            job_id = await self._jobs.enqueue(request.actor, app.id, body, tx)
            return Answer(201, _encode(self._accepted(job_id)))

        route = f"{app.key} POST {request.url.path}"
        keyed_request = KeyedRequest(route, key, _encode(body))
        return await service.run_once(request.actor, keyed_request, "", work)

    async def list(self, request: Request) -> Response:
        """List the jobs of an app, newest first; without `core:jobs.read` one's own."""
        user_id = await self._find_restriction(request, JOBS_READ)
        return await self._reply_page(request, request.path("app_id"), user_id)

    async def list_of_plugin(self, request: Request) -> Response:
        """List the jobs of a plugin's own, newest first."""
        return await self._reply_page(request, plugin_jobs(request.path("plugin")), None)

    async def _reply_page(self, request: Request, app_id: str, user_id: str | None) -> Response:
        query = request.query()
        unknown = query.keys() - PARAMETERS
        if unknown:
            raise BadRequest(f"unknown parameter {min(unknown)!r}")
        status = query.get("status")
        jobs = await self._jobs.list(
            app_id,
            status=None if status is None else one_of("status", status, STATUSES),
            limit=read_limit(query.get("limit"), 100),
            before=query.get("before"),
            user_id=user_id,
        )
        return reply_if_changed(request, jobs)

    async def get(self, request: Request) -> Response:
        """Show a job."""
        user_id = await self._find_restriction(request, JOBS_READ)
        return reply(
            await self._jobs.get(request.path("app_id"), request.path("job_id"), user_id=user_id)
        )

    async def cancel(self, request: Request) -> Response:
        """Cancel an unfinished job; a running one has `cancel_grace` seconds to end."""
        job_id = request.path("job_id")
        user_id = await self._find_restriction(request, JOBS_MANAGE)
        await self._jobs.cancel(request.actor, request.path("app_id"), job_id, user_id=user_id)
        return reply({"message": f"job '{job_id}' cancelled"})

    async def counts(self, request: Request) -> Response:
        """Count the jobs of an app by state, up to 10,000; without `core:jobs.read` one's own."""
        user_id = await self._find_restriction(request, JOBS_READ)
        counts = await self._many.counts(request.path("app_id"), user_id=user_id)
        return reply_if_changed(request, counts)

    async def attempts(self, request: Request) -> Response:
        """List the attempts of a job, oldest first, with their errors."""
        user_id = await self._find_restriction(request, JOBS_READ)
        app_id = request.path("app_id")
        job_id = request.path("job_id")
        return reply(await self._many.attempts(app_id, job_id, user_id=user_id))

    async def cancel_many(self, request: Request, body: CancelJobs) -> Response:
        """Cancel all jobs of a state, a portion with each request; without `core:jobs.manage` one's
        own."""
        user_id = await self._find_restriction(request, JOBS_MANAGE)
        app_id = request.path("app_id")
        return reply(await self._many.cancel_many(request.actor, app_id, body, user_id=user_id))

    async def retry_many(self, request: Request, body: RetryJobs) -> Response:
        """Enqueue all ended jobs of a state once more, a portion with each request; without
        `core:jobs.manage` one's own. The new jobs are the caller's; the old ones remain."""
        user_id = await self._find_restriction(request, JOBS_MANAGE)
        app_id = request.path("app_id")
        return reply(await self._many.retry_many(request.actor, app_id, body, user_id=user_id))

    async def _find_restriction(self, request: Request, needs: Needs) -> str | None:
        """Return the caller's id where only their own jobs are theirs: also for a worker's."""
        actor = request.actor
        if actor.delegation is not None:
            return actor.user_id
        try:
            await self._services.get(ACCESS).authorize(actor, needs, request.path_params)
        except Forbidden:
            return actor.user_id
        return None

    @property
    def _many(self) -> ManyJobs:
        jobs = self._jobs
        if not supports(jobs, ManyJobs):
            raise NotFound("the provider of jobs has no such route")
        return jobs

    @cached_property
    def _jobs(self) -> Jobs:
        return self._services.get(JOBS)
