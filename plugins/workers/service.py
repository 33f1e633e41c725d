"""The rules: what deploying, starting, stopping and calling a worker mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, get_args

import anyio
import structlog

from kernel.public import (
    APPS,
    Actor,
    BadRequest,
    Caller,
    Measure,
    NotFound,
    ServiceKey,
    Transaction,
    Unavailable,
    WorkerLost,
    WorkerState,
    WorkerStatus,
    failure,
)

from . import store
from .control.reconciler import Reconciler
from .host import Host, OnChange
from .releases.builds import Builder
from .releases.deploys import Deploys
from .replica.calls import Progress
from .replica.launch_specs import LaunchSpecs
from .replica.replica import Replica, StartFailed

BEST_FIRST: Final[Sequence[WorkerState]] = ("running", "starting", "stopping", "crashed")
MAX_METHOD: Final = 200
MAX_PARAMS: Final = 1024 * 1024

log = structlog.get_logger("caudex.workers")


class WorkersService:
    """See `kernel.contracts.workers.Workers`."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._apps = host.services.get(APPS)
        builder = Builder(host)
        self.launch_specs = LaunchSpecs(host, builder)
        self.reconciler = Reconciler(host, self.launch_specs)
        self._deploys = Deploys(host, builder, self.launch_specs, self.reconciler)
        if host.logins is not None:
            host.logins.on_exhausted(self.launch_specs.kill_all)

    @asynccontextmanager
    async def alive(self) -> AsyncGenerator[None]:
        """Run the workers that should run, until the server ends."""
        await self._find_database()
        try:
            async with anyio.create_task_group() as tasks:
                self.host.tasks = tasks
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._close()
                    self.host.tasks = None
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.launch_specs.kill_all()

    async def _find_database(self) -> None:
        try:
            self.host.folders.database = await self.host.store.database()
        except Exception as error:  # the login may lack the right to ask
            problem = "files of apps that are uninstalled while no server runs are not deleted"
            log.warning(problem, **failure(error))

    async def _close(self) -> None:
        """Stop the workers: 15 s for calls, 5 s after the message, 2 s after TERM."""
        try:
            await self.reconciler.close(15.0, 5.0, 2.0)
        except Exception as error:
            log.warning("other servers do not learn that no worker runs here", **failure(error))

    # Deploy, start, stop

    async def deploy(self, actor: Actor, app_id: str, archive: Path) -> int:
        """See `Workers.deploy`."""
        return await self._deploys.deploy(actor, app_id, archive)

    def upload(self, actor: Actor) -> AbstractAsyncContextManager[Path]:
        """See `Deploys.upload`."""
        return self._deploys.upload(actor)

    async def start(self, actor: Actor, app_id: str) -> None:
        """See `Workers.start`; waits until it runs here.

        Raises Unavailable when it does not come up, or not in the time that it may take.
        """
        await self._apps.app(app_id)
        attempt = await self._set_desired(actor, app_id, wanted=True)
        if attempt is None:
            raise NotFound(f"app '{app_id}' has no worker: deploy one first")
        supervisor = await self.reconciler.current_supervisor(app_id)
        await self.reconciler.on_notification(app_id)
        limit = self.host.config.start_timeout + self.host.config.install_timeout
        failed: StartFailed | None = None
        with anyio.move_on_after(limit) as waiting:
            failed = await supervisor.outcome(attempt)
        if waiting.cancelled_caught or failed is not None:
            late = f"the worker of app '{app_id}' has not come up in {limit:g} s"
            # The worker should still run, so a repeated request gets the same answer.
            raise Unavailable(late if failed is None else str(failed), retry_after=None)

    async def stop(self, actor: Actor, app_id: str) -> None:
        """See `Workers.stop`; waits until it has ended here."""
        await self._apps.app(app_id)
        if await self._set_desired(actor, app_id, wanted=False) is None:
            return
        supervisor = self.reconciler.supervisors.get(app_id)
        await self.reconciler.on_notification(app_id)
        if supervisor is not None:
            config = self.host.config
            with anyio.move_on_after(config.shutdown_wait + config.term_wait + 10):
                await supervisor.stopped()

    async def _set_desired(self, actor: Actor, app_id: str, *, wanted: bool) -> int | None:
        async def write(tx: Transaction) -> int | None:
            if wanted and self.host.logins is not None:
                # In this transaction: its notification starts a worker, which needs the login.
                await self.host.logins.reopen(tx, app_id)
            attempt = await store.set_desired(tx, app_id, wanted)
            if attempt is not None:
                operation = "WORKER_STARTED" if wanted else "WORKER_STOPPED"
                await store.record(tx, operation, app_id, {})
            return attempt

        return await self.host.statements.run(actor, write)

    async def restart(self, app_id: str) -> None:
        """See `Workers.restart`."""
        supervisor = self.reconciler.supervisors.get(app_id)
        if supervisor is not None:
            supervisor.restart()

    async def refresh(self, app_id: str) -> None:
        """See `Workers.refresh`."""
        replica = self._replica(app_id)
        if replica is not None and await self.launch_specs.is_outdated(replica.spec):
            await self.restart(app_id)

    # Status

    async def status(self, app_id: str) -> WorkerStatus:
        """See `Workers.status`."""
        await self._apps.app(app_id)
        app = next(iter(await self.host.store.desired([app_id])), None)
        here = self.reconciler.server_id
        rows = await self.host.store.replicas(app_id)
        others = [row for row in rows if row.server_id != here]
        replicas = [*others, *(row for row in self.reconciler.rows() if row.app_id == app_id)]
        wanted = app is not None and app.release is not None
        states = {row.state for row in replicas}
        status: WorkerState = "starting" if wanted else "stopped"
        for state in BEST_FIRST:
            status = state if state in states else status
        return WorkerStatus(
            app_id=app_id,
            status=status,
            replicas=len(replicas),
            version=app.version if app else None,
            sandbox=await self._active_limits(app_id, app.number if app else None),
        )

    async def _active_limits(self, app_id: str, number: int | None) -> dict[str, Any]:
        sandbox, replica = self.host.sandbox, self._replica(app_id)
        uid = None if number is None else sandbox.uid(number)
        found = sandbox.active_limits(replica.spec.uid if replica else uid)
        if replica is not None:
            found["program"] = replica.spec.program
        logins = self.host.logins
        if number is not None and logins is not None and (notes := await logins.notes(app_id)):
            found["notes"] = [*sandbox.notes, *notes]
        return found

    def described(self) -> dict[str, Any]:
        """Return what runs in this process and how it is confined, for the server's status."""
        sandbox = self.host.sandbox
        return {"running": len(self.running()), "sandbox": sandbox.active_limits(sandbox.uid(0))}

    def measured(self) -> list[Measure]:
        """Count the replicas of this process by state."""
        counts = Counter(each.state for each in self.reconciler.supervisors.values())
        return [
            Measure(
                name="caudex_workers",
                help="Workers of apps in this process.",
                value=counts[state],
                labels={"state": state},
            )
            for state in get_args(WorkerState)
        ]

    def running(self) -> Sequence[str]:
        """See `Workers.running`."""
        supervisors = self.reconciler.supervisors
        return [app_id for app_id in supervisors if self._replica(app_id) is not None]

    def on_change(self, callback: OnChange) -> None:
        """See `Workers.on_change`."""
        self.host.listeners.append(callback)

    # Calls

    async def rpc(self, app_id: str, method: str, params: bytes, caller: Caller) -> bytes:
        """See `Workers.rpc`."""
        if not method or len(method) > MAX_METHOD:
            raise BadRequest(f"method must have 1 to {MAX_METHOD} characters")
        if len(params) > MAX_PARAMS:
            raise BadRequest(f"params are over the limit of {MAX_PARAMS // 2**20} MB")
        if method.startswith("__"):
            raise NotFound(f"unknown method: {method}")
        try:
            params.decode()  # they are passed on as they are
        except UnicodeDecodeError:
            raise BadRequest("params must be in UTF-8") from None
        replica = await self._running_replica(app_id)
        try:
            return await replica.rpc(method, params, caller, self.host.config.rpc_timeout)
        except WorkerLost as error:  # the call may have been carried out
            raise Unavailable(str(error), retry_after=None) from None

    async def run_job(
        self, app_id: str, job_id: str, payload: bytes, caller: Caller | None, progress: Progress
    ) -> bytes:
        """See `Workers.run_job`."""
        replica = await self._running_replica(app_id)
        return await replica.run_job(job_id, payload, caller, progress)

    async def cancel_job(self, app_id: str, job_id: str) -> None:
        """See `Workers.cancel_job`."""
        if (replica := self._replica(app_id)) is not None:
            replica.cancel_job(job_id)

    async def _running_replica(self, app_id: str) -> Replica:
        """Return the replica that answers calls. Raises Unavailable.

        A replica of a former app of that name must not get the caller and its token.
        """
        app = await self._apps.app(app_id)
        replica = self._replica(app_id)
        if replica is None or replica.release.key != app.key:
            raise Unavailable(f"the worker of app '{app_id}' is not running")
        return replica

    def _replica(self, app_id: str) -> Replica | None:
        supervisor = self.reconciler.supervisors.get(app_id)
        replica = supervisor.replica if supervisor is not None else None
        usable = replica is not None and not replica.gone and not replica.stopping
        return replica if usable else None


SERVICE = ServiceKey[WorkersService]("workers_service")
