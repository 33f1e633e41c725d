"""The rules: what deploying, starting, stopping and calling a worker mean."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import structlog
from anyio import to_thread

from kernel.public import (
    ACCESS,
    APP_ADMIN,
    APPS,
    STATEMENTS,
    Actor,
    App,
    BadRequest,
    Caller,
    ConcurrencyLimiter,
    KernelError,
    NotFound,
    ServiceKey,
    Transaction,
    Unavailable,
    WorkerLost,
    WorkerStatus,
    failure,
    server_actor,
)

from . import store
from .child.protocol import MAX_PARAMS
from .control.memory import MemoryWatch
from .control.quota import DiskQuota
from .control.reconciler import Reconciler
from .control.supervisor import Supervisor
from .host import Host, OnChange
from .models import Release
from .releases.builds import Builder, digest_of, store_archive
from .releases.folders import discard
from .replica.calls import Progress
from .replica.handlers import NOT_RUNNING, Handlers
from .replica.replica import Replica, StartFailed, Waits
from .replica.traces import CallTrace
from .status import StatusReports

log = structlog.get_logger("caudex.workers")


class WorkersService:
    """See `kernel.contracts.workers.Workers`."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._statements = host.services.get(STATEMENTS)
        self._apps = host.services.get(APPS)
        self._access = host.services.get(ACCESS)
        self._builder = Builder(host)
        self.reconciler = Reconciler(host, self._builder)
        self.reports = StatusReports(host, self.reconciler)
        self.quota = DiskQuota(host, self.reconciler, partial(self.stop, server_actor()))
        self.memory = MemoryWatch(host)
        self._uploads = ConcurrencyLimiter(
            16, per_key=8, message="too many archives are being received", retry_after=10
        )
        self._early_calls = ConcurrencyLimiter(
            256, per_key=64, message="too many calls wait for workers that are starting"
        )
        """Calls that wait for a worker, by the key of its app."""
        self._deploys = ConcurrencyLimiter(
            per_key=1, queue=4, message="too many deploys of this app are waiting", retry_after=10
        )
        """Deploys of each app, one at a time."""
        if host.logins is not None:
            host.logins.on_exhausted(self.reconciler.kill_all)

    @asynccontextmanager
    async def run_workers(self) -> AsyncGenerator[None]:
        """Run the workers that should run, until the server ends."""
        try:
            self.host.machine.folders.database = await self.host.store.read_database()
        except Exception as error:  # the login may lack the right to ask
            problem = "files of apps that are uninstalled while no server runs are not deleted"
            log.warning(problem, **failure(error))
        try:
            async with anyio.create_task_group() as tasks:
                self.host.background.tasks = tasks
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._close()
                    self.host.background.tasks = None
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.reconciler.kill_all()

    async def _close(self) -> None:
        """Stop the workers."""
        try:
            await self.reconciler.close(Waits(drain=15.0, shutdown=5.0, term=2.0))
        except Exception as error:
            log.warning("other servers do not learn that no worker runs here", **failure(error))

    # Deploy

    @asynccontextmanager
    async def receive_upload(self, actor: Actor) -> AsyncGenerator[Path]:
        """Name a new file for an archive that is being received, and delete it in the end.

        Raises Unavailable while too many are received, in all or from this user: each may take
        50 MB of the disk.
        """
        async with self._uploads.hold(actor.user_id):
            archive = self.host.machine.folders.locate_upload()
            try:
                yield archive
            finally:
                archive.unlink(missing_ok=True)

    async def deploy(self, actor: Actor, app_id: str, archive: Path) -> int:
        """See `Workers.deploy`. Nothing remains of a version that does not come up."""
        key = (await self._apps.app(app_id)).key
        async with self._deploys.hold((app_id, key)):
            await self._check_may_deploy(actor, app_id)
            digest, size = await to_thread.run_sync(digest_of, archive)
            release = await self.host.store.begin(app_id, key, digest, self.host.config.uid_count)
            supervisor = self.reconciler.get_supervisor(app_id, key)
            logins = self.host.logins
            if logins is not None:
                await self._statements.run(server_actor(), lambda tx: logins.reopen(tx, app_id))
            self.host.logs.write(app_id, "system", f"deploying version {release.version}")
            candidate: Replica | None = None
            try:
                await self._builder.build(release, archive)
                await self._check_may_deploy(actor, app_id, release)
                candidate = await supervisor.start_replica(release)
                with self.reconciler.apply_change(app_id):
                    revision = await self._put_in_service(actor, release, archive, size)
            except BaseException as error:
                await self._roll_back(release, candidate)
                if isinstance(error, FileNotFoundError | BadRequest | StartFailed):
                    await self._apps.app(app_id)  # the files of the version go with the app
                if isinstance(error, StartFailed):
                    raise BadRequest(str(error)) from None
                raise
            supervisor.promote(candidate, revision)
            with anyio.move_on_after(10):
                await supervisor.wait_settled(revision)
            self.host.background.spawn(supervisor.tidy)
        return release.version

    async def _check_may_deploy(
        self, actor: Actor, app_id: str, release: Release | None = None
    ) -> None:
        """Check again after each wait of minutes.

        Another app may have the name by now, with other admins and secrets.
        """
        await self._apps.app(app_id)
        if release is not None:
            rows = await self.host.store.read_desired([app_id])
            if [row.key for row in rows] != [release.key]:
                raise NotFound(f"app '{app_id}' not found")
        if not actor.is_server:
            await self._access.authorize(actor, APP_ADMIN, {"app_id": app_id})

    async def _put_in_service(
        self, actor: Actor, release: Release, archive: Path, size: int
    ) -> int:
        async def write(tx: Transaction) -> int:
            if not await store.save(tx, release, size):
                raise NotFound(f"app '{release.app_id}' not found")
            await store_archive(tx, release, archive)
            revision = await store.promote(tx, release)
            if revision is None:
                raise BadRequest("a later version was deployed meanwhile")
            details = {"version": release.version, "sha256": release.digest, "size": size}
            await store.record(tx, "DEPLOYED", release.app_id, details)
            return revision

        return await self._statements.run(actor, write)

    async def _roll_back(self, release: Release, candidate: Replica | None) -> None:
        with anyio.CancelScope(shield=True):
            if candidate is not None:
                await candidate.kill()
            await to_thread.run_sync(discard, self.host.machine.folders.locate_release(release))
            # The app may have been uninstalled, so that only its folder is left.
            await self.reconciler.on_notification(release.app_id)

    # Start, stop

    async def start(self, actor: Actor, app_id: str) -> None:
        """See `Workers.start`; waits until it runs here.

        Raises Unavailable when it does not come up, or not in the time that it may take.
        """
        app = await self._apps.app(app_id)
        revision = await self._set_desired(actor, app_id, should_run=True)
        if revision is None:
            raise NotFound(f"app '{app_id}' has no worker: deploy one first")
        await self._wait_up(app, revision)

    async def put_back(self, actor: Actor, app_id: str, version: int) -> None:
        """Put an earlier version into service and wait until it runs here.

        Raises NotFound, and Unavailable as `start` does.
        """
        app = await self._apps.app(app_id)

        async def write(tx: Transaction) -> int:
            if self.host.logins is not None:
                await self.host.logins.reopen(tx, app_id)
            revision = await store.put_back(tx, app_id, version)
            if revision is None:
                raise NotFound(f"app '{app_id}' has no version {version} any more")
            await store.record(tx, "DEPLOYED", app_id, {"version": version, "again": True})
            return revision

        async with self._deploys.hold((app_id, app.key)):
            await self._wait_up(app, await self._statements.run(actor, write))

    async def _wait_up(self, app: App, revision: int) -> None:
        """Wait until the worker of a request runs here. Raises Unavailable."""
        supervisor = self.reconciler.get_supervisor(app.id, app.key)
        await self.reconciler.on_notification(app.id)
        limit = self.host.config.start_timeout + self.host.config.install_timeout
        problem: str | None = f"the worker of app '{app.id}' has not come up in {limit:g} s"
        with anyio.move_on_after(limit):
            failure = await supervisor.wait_settled(revision)
            problem = None if failure is None else str(failure)
        if problem is not None:
            # The worker should still run, so a repeated request gets the same answer.
            raise Unavailable(problem, retry_after=None)

    async def stop(self, actor: Actor, app_id: str) -> None:
        """See `Workers.stop`; waits until it has ended here."""
        supervisor = await self._find_supervisor(app_id)
        if await self._set_desired(actor, app_id, should_run=False) is None:
            return
        await self.reconciler.on_notification(app_id)
        if supervisor is not None:
            config = self.host.config
            with anyio.move_on_after(config.shutdown_wait + config.term_wait + 10):
                await supervisor.wait_stopped()

    async def _set_desired(self, actor: Actor, app_id: str, *, should_run: bool) -> int | None:
        async def write(tx: Transaction) -> int | None:
            if should_run and self.host.logins is not None:
                # In this transaction: its notification starts a worker, which needs the login.
                await self.host.logins.reopen(tx, app_id)
            revision = await store.set_desired(tx, app_id, should_run)
            if revision is not None:
                operation = "WORKER_STARTED" if should_run else "WORKER_STOPPED"
                await store.record(tx, operation, app_id, {})
            return revision

        return await self._statements.run(actor, write)

    async def restart(self, app_id: str) -> None:
        """See `Workers.restart`."""
        supervisor = await self._find_supervisor(app_id)
        if supervisor is not None:
            supervisor.restart()

    async def refresh(self, app_id: str) -> None:
        """See `Workers.refresh`."""
        replica = await self._find_replica(app_id)
        if replica is not None and await self._builder.is_outdated(replica.spec):
            await self.restart(app_id)

    async def on_ports(self, payload: str | None) -> None:
        """Start workers again whose ports changed; of all apps when `payload` is None."""
        app_ids = self.running() if payload is None else [payload]
        for app_id in app_ids:
            try:
                await self.refresh(app_id)
            except KernelError as error:
                log.warning("a change of ports waits for the next start", **failure(error))

    # Status

    async def status(self, app_id: str) -> WorkerStatus:
        """See `Workers.status`."""
        return await self.reports.read_status(app_id, await self._find_replica(app_id))

    async def read_handlers(self, app_id: str) -> Handlers:
        """Return what the worker that takes calls here declares of its handlers."""
        replica = await self._find_replica(app_id)
        return NOT_RUNNING if replica is None else replica.handlers

    def running(self) -> Sequence[str]:
        """See `Workers.running`."""
        supervisors = self.reconciler.supervisors.values()
        return [supervisor.app_id for supervisor in supervisors if supervisor.usable is not None]

    def on_change(self, callback: OnChange) -> None:
        """See `Workers.on_change`."""
        self.host.states.add(callback)

    # Calls

    async def rpc(self, app_id: str, method: str, params: bytes, caller: Caller) -> bytes:
        """See `Workers.rpc`."""
        if not 1 <= len(method) <= 200:
            raise BadRequest("method must have 1 to 200 characters")
        if len(params) > MAX_PARAMS:
            raise BadRequest("params are over the limit of 10 MB")
        if method.startswith("__"):
            raise NotFound(f"unknown method: {method}")
        if not params.isascii():
            try:
                params.decode()  # they are passed on as they are
            except UnicodeDecodeError:
                raise BadRequest("params must be in UTF-8") from None
        app = await self._apps.app(app_id)
        replica = self._get_usable(app) or await self._wait_starting(app)
        trace = CallTrace(self.host.traces, app_id, method)
        try:
            result = await replica.rpc(method, params, caller, self.host.config.rpc_timeout)
        except WorkerLost as error:  # the call may have been carried out
            trace.end(str(error))
            raise Unavailable(str(error), retry_after=None) from None
        except KernelError as error:
            trace.end(error.message)
            raise
        trace.end(None)
        return result

    async def _wait_starting(self, app: App) -> Replica:
        """Wait for a worker that is starting. Raises Unavailable."""
        replica: Replica | None = None
        async with self._early_calls.hold(app.key):
            with anyio.move_on_after(self.host.config.start_wait):
                replica = await self.reconciler.wait_up(app.key)
        if replica is None:
            raise Unavailable(f"the worker of app '{app.id}' is not running")
        return replica

    async def run_job(
        self, app_id: str, job_id: str, payload: bytes, caller: Caller | None, progress: Progress
    ) -> bytes:
        """See `Workers.run_job`."""
        replica = self._get_usable(await self._apps.app(app_id))
        if replica is None:
            raise Unavailable(f"the worker of app '{app_id}' is not running")
        return await replica.run_job(job_id, payload, caller, progress)

    async def cancel_job(self, app_id: str, job_id: str) -> None:
        """See `Workers.cancel_job`."""
        replica = await self._find_replica(app_id)
        if replica is not None:
            replica.cancel_job(job_id)

    async def _find_replica(self, app_id: str) -> Replica | None:
        """Return the replica that takes calls of the app of this name. Raises NotFound."""
        return self._get_usable(await self._apps.app(app_id))

    async def _find_supervisor(self, app_id: str) -> Supervisor | None:
        """Return the supervisor of the app that has this name now. Raises NotFound."""
        app = await self._apps.app(app_id)
        return self.reconciler.supervisors.get(app.key)

    def _get_usable(self, app: App) -> Replica | None:
        supervisor = self.reconciler.supervisors.get(app.key)
        return None if supervisor is None else supervisor.usable


SERVICE = ServiceKey[WorkersService]("workers_service")
