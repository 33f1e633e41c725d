"""The rules: what deploying, starting, stopping and calling a worker mean."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import anyio
import structlog
from anyio import to_thread

from kernel.public import (
    ACCESS,
    APP_ADMIN,
    APPS,
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
from .control.memory import MemoryWatch
from .control.quota import DiskQuota
from .control.reconciler import Reconciler
from .control.supervisor import Supervisor
from .host import Host, OnChange
from .models import Release
from .releases.builds import Builder, digest_of, store_archive
from .releases.folders import discard
from .replica.calls import Progress
from .replica.protocol import MAX_PARAMS
from .replica.replica import Replica, StartFailed
from .status import StatusReports

log = structlog.get_logger("caudex.workers")


class WorkersService:
    """See `kernel.contracts.workers.Workers`."""

    def __init__(self, host: Host) -> None:
        self.host = host
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
        starting = "too many calls wait for workers that are starting"
        self._early = ConcurrencyLimiter(256, per_key=64, message=starting)
        """Calls that wait for a worker, by the key of its app."""
        waiting = "too many deploys of this app are waiting"
        self._turns = ConcurrencyLimiter(per_key=1, queue=4, message=waiting, retry_after=10)
        """Deploys of each app, one at a time."""
        if host.logins is not None:
            host.logins.on_exhausted(self.reconciler.kill_all)

    @asynccontextmanager
    async def alive(self) -> AsyncGenerator[None]:
        """Run the workers that should run, until the server ends."""
        try:
            self.host.folders.database = await self.host.store.database()
        except Exception as error:  # the login may lack the right to ask
            problem = "files of apps that are uninstalled while no server runs are not deleted"
            log.warning(problem, **failure(error))
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
                await self.reconciler.kill_all()

    async def _close(self) -> None:
        """Stop the workers: 15 s for calls, 5 s after the message, 2 s after TERM."""
        try:
            await self.reconciler.close(15.0, 5.0, 2.0)
        except Exception as error:
            log.warning("other servers do not learn that no worker runs here", **failure(error))

    # Deploy

    @asynccontextmanager
    async def upload(self, actor: Actor) -> AsyncGenerator[Path]:
        """Name a new file for an archive that is being received, and delete it in the end.

        Raises Unavailable while too many are received, in all or from this user: each may take
        50 MB of the disk.
        """
        async with self._uploads.hold(actor.user_id):
            archive = self.host.folders.upload()
            try:
                yield archive
            finally:
                archive.unlink(missing_ok=True)

    async def deploy(self, actor: Actor, app_id: str, archive: Path) -> int:
        """See `Workers.deploy`. Nothing remains of a version that does not come up."""
        key = (await self._apps.app(app_id)).key
        async with self._turns.hold((app_id, key)):
            await self._check_may_deploy(actor, app_id)
            digest, size = await to_thread.run_sync(digest_of, archive)
            release = await self.host.store.begin(app_id, key, digest, self.host.config.uid_count)
            supervisor = self.reconciler.supervisor(app_id, key)
            if (logins := self.host.logins) is not None:
                await self.host.statements.run(server_actor(), lambda tx: logins.reopen(tx, app_id))
            self.host.write_log(app_id, "system", f"deploying version {release.version}")
            candidate: Replica | None = None
            try:
                await self._builder.build(release, archive)
                await self._check_may_deploy(actor, app_id, release)
                candidate = await supervisor.start_replica(release)
                with self.reconciler.applying(app_id):
                    attempt = await self._put_in_service(actor, release, archive, size)
            except BaseException as error:
                await self._roll_back(release, candidate)
                if isinstance(error, FileNotFoundError | BadRequest | StartFailed):
                    await self._apps.app(app_id)  # the files of the version go with the app
                if isinstance(error, StartFailed):
                    raise BadRequest(str(error)) from None
                raise
            supervisor.promote(candidate, attempt)
            with anyio.move_on_after(10):
                await supervisor.outcome(attempt)
            self.host.spawn(supervisor.tidy)
        return release.version

    async def _check_may_deploy(
        self, actor: Actor, app_id: str, release: Release | None = None
    ) -> None:
        """Check again after each wait of minutes.

        Another app may have the name by now, with other admins and secrets.
        """
        await self._apps.app(app_id)
        if release is not None:
            rows = await self.host.store.desired([app_id])
            if [row.key for row in rows] != [release.key]:
                raise NotFound(f"app '{app_id}' not found")
        if actor.user_id is not None:
            await self._access.authorize(actor, APP_ADMIN, {"app_id": app_id})

    async def _put_in_service(
        self, actor: Actor, release: Release, archive: Path, size: int
    ) -> int:
        async def write(tx: Transaction) -> int:
            if not await store.save(tx, release, size):
                raise NotFound(f"app '{release.app_id}' not found")
            await store_archive(tx, release, archive)
            attempt = await store.promote(tx, release)
            if attempt is None:
                raise BadRequest("a later version was deployed meanwhile")
            details = {"version": release.version, "sha256": release.digest, "size": size}
            await store.record(tx, "DEPLOYED", release.app_id, details)
            return attempt

        return await self.host.statements.run(actor, write)

    async def _roll_back(self, release: Release, candidate: Replica | None) -> None:
        with anyio.CancelScope(shield=True):
            if candidate is not None:
                await candidate.kill()
            await to_thread.run_sync(discard, self.host.folders.release(release))
            # The app may have been uninstalled, so that only its folder is left.
            await self.reconciler.on_notification(release.app_id)

    # Start, stop

    async def start(self, actor: Actor, app_id: str) -> None:
        """See `Workers.start`; waits until it runs here.

        Raises Unavailable when it does not come up, or not in the time that it may take.
        """
        app = await self._apps.app(app_id)
        attempt = await self._set_desired(actor, app_id, wanted=True)
        if attempt is None:
            raise NotFound(f"app '{app_id}' has no worker: deploy one first")
        await self._come_up(app, attempt)

    async def put_back(self, actor: Actor, app_id: str, version: int) -> None:
        """Put an earlier version into service and wait until it runs here.

        Raises NotFound, and Unavailable as `start` does.
        """
        app = await self._apps.app(app_id)

        async def write(tx: Transaction) -> int:
            if self.host.logins is not None:
                await self.host.logins.reopen(tx, app_id)
            attempt = await store.put_back(tx, app_id, version)
            if attempt is None:
                raise NotFound(f"app '{app_id}' has no version {version} any more")
            await store.record(tx, "DEPLOYED", app_id, {"version": version, "again": True})
            return attempt

        async with self._turns.hold((app_id, app.key)):
            await self._come_up(app, await self.host.statements.run(actor, write))

    async def _come_up(self, app: App, attempt: int) -> None:
        app_id = app.id
        supervisor = self.reconciler.supervisor(app_id, app.key)
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
        supervisor = await self._supervisor(app_id)
        if await self._set_desired(actor, app_id, wanted=False) is None:
            return
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
        if (supervisor := await self._supervisor(app_id)) is not None:
            supervisor.restart()

    async def refresh(self, app_id: str) -> None:
        """See `Workers.refresh`."""
        replica = await self._replica(app_id)
        if replica is not None and await self._builder.is_outdated(replica.spec):
            await self.restart(app_id)

    async def on_ports(self, payload: str | None) -> None:
        """Start workers again whose ports changed; of all apps when `payload` is None."""
        for app_id in self.running() if payload is None else [payload]:
            try:
                await self.refresh(app_id)
            except KernelError as error:
                log.warning("a change of ports waits for the next start", **failure(error))

    # Status

    async def status(self, app_id: str) -> WorkerStatus:
        """See `Workers.status`."""
        return await self.reports.status(app_id, await self._replica(app_id))

    def running(self) -> Sequence[str]:
        """See `Workers.running`."""
        supervisors = self.reconciler.supervisors.values()
        return [each.app_id for each in supervisors if each.replica and each.replica.usable]

    def on_change(self, callback: OnChange) -> None:
        """See `Workers.on_change`."""
        self.host.listeners.append(callback)

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
        replica = usable(self.reconciler.supervisors.get(app.key)) or await self._come_soon(app)
        try:
            return await replica.rpc(method, params, caller, self.host.config.rpc_timeout)
        except WorkerLost as error:  # the call may have been carried out
            raise Unavailable(str(error), retry_after=None) from None

    async def _come_soon(self, app: App) -> Replica:
        """Wait for a worker that is starting. Raises Unavailable."""
        replica: Replica | None = None
        async with self._early.hold(app.key):
            with anyio.move_on_after(self.host.config.start_wait):
                replica = await self.reconciler.come_up(app.key)
        return replica or _not_running(app.id)

    async def run_job(
        self, app_id: str, job_id: str, payload: bytes, caller: Caller | None, progress: Progress
    ) -> bytes:
        """See `Workers.run_job`."""
        app = await self._apps.app(app_id)
        replica = usable(self.reconciler.supervisors.get(app.key)) or _not_running(app_id)
        return await replica.run_job(job_id, payload, caller, progress)

    async def cancel_job(self, app_id: str, job_id: str) -> None:
        """See `Workers.cancel_job`."""
        if (replica := await self._replica(app_id)) is not None:
            replica.cancel_job(job_id)

    async def _replica(self, app_id: str) -> Replica | None:
        return usable(await self._supervisor(app_id))

    async def _supervisor(self, app_id: str) -> Supervisor | None:
        """Return the supervisor of the app that has this name now. Raises NotFound."""
        return self.reconciler.supervisors.get((await self._apps.app(app_id)).key)


def usable(supervisor: Supervisor | None) -> Replica | None:
    """Return the replica that takes calls."""
    return None if supervisor is None else supervisor.usable


def _not_running(app_id: str) -> NoReturn:
    raise Unavailable(f"the worker of app '{app_id}' is not running")


SERVICE = ServiceKey[WorkersService]("workers_service")
