"""The rules: what deploying, starting, stopping and calling a worker mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

import anyio
import structlog
from anyio.abc import TaskGroup

from kernel.public import (
    ACCESS,
    APPS,
    POOL,
    STATEMENTS,
    Actor,
    App,
    BadRequest,
    Caller,
    Measure,
    NotFound,
    ServiceKey,
    Services,
    Transaction,
    Unavailable,
    WorkerLost,
    WorkerState,
    WorkerStatus,
    failure,
    server_actor,
)

from . import logins, store
from .config import WorkersConfig
from .control.reconciler import Reconciler
from .control.supervisor import Host, Supervisor
from .isolation.sandbox import Sandbox
from .logins import Logins
from .releases.builds import Builder
from .releases.deploys import Deploys
from .releases.folders import Folders
from .replica.calls import Progress
from .replica.launch_specs import LaunchSpecs
from .replica.replica import Replica, StartFailed
from .session_watchdog import SessionWatchdog
from .store import TOPIC, WorkersStore

WORST: Final[Sequence[WorkerState]] = ("crashed", "stopping", "starting", "running")
CLOSING: Final = (15.0, 5.0, 2.0)
"""Seconds that workers have with the server's end: for calls, after the message, after TERM."""

NOTICE: Final = 5.0
"""Seconds that a listener of state changes may take."""

OnChange = Callable[[str, WorkerState], Awaitable[None]]
MAX_METHOD: Final = 200
MAX_PARAMS: Final = 1024 * 1024

log = structlog.get_logger("caudex.workers")


class WorkersService:
    """See `kernel.contracts.workers.Workers`."""

    def __init__(
        self,
        services: Services,
        config: WorkersConfig,
        folders: Folders,
        sandbox: Sandbox,
        builder: Builder,
        runtime_url: str,
    ) -> None:
        self._config = config
        self._folders = folders
        self._sandbox = sandbox
        self._builder = builder
        self._statements = services.get(STATEMENTS)
        self._apps = services.get(APPS)
        self._access = services.get(ACCESS)
        self._store = WorkersStore(self._statements)
        self.logins = Logins(self._statements, config.database_address, config.database_connections)
        self._launch_specs = LaunchSpecs(
            services, self._store, self.logins, folders, sandbox, builder, runtime_url
        )
        self.reconciler = Reconciler(self._store, folders, self._supervise)
        self._deploys = Deploys(
            services, self._store, folders, builder, self._launch_specs, self.reconciler,
            self._supervisor, self._forget_former, config,
        )  # fmt: skip
        self._watchdog = SessionWatchdog(
            services.get(POOL),
            self.logins,
            config.database_transaction,
            lambda app_id, said: self._launch_specs.write_log(app_id, "system", said),
            self._launch_specs.kill_all,
        )
        self._tasks: TaskGroup | None = None
        self._callbacks: list[OnChange] = []
        self._host = Host(
            config=config,
            spawn=self._spawn,
            launch_specs=self._launch_specs,
            changed=self._changed,
            remove=folders.remove,
        )

    # Life

    @asynccontextmanager
    async def alive(self) -> AsyncGenerator[None]:
        """Run what is wanted, until the server ends."""
        await self._find_database()
        await self._catch_up()
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                await tasks.start(self._watchdog.run)  # before there is anybody to watch
                tasks.start_soon(self.reconciler.run)
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._close()
                    self._tasks = None
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._launch_specs.kill_all()

    async def _find_database(self) -> None:
        try:
            self._folders.database = await self._store.database()
        except Exception as error:  # PostgreSQL may keep that to itself
            problem = "what apps leave that go while no server runs is not removed"
            log.warning(problem, **failure(error))

    async def _catch_up(self) -> None:
        """Forget the workers of apps that went while the plugin was off, also where others of their
        names came since."""
        rows = await self._store.wanted(None)  # first: who comes in between is not taken for gone
        await self._apps.refresh()
        births = {app.id: app.born for app in await self._apps.all()}
        for row in rows:
            if births.get(row.app_id, row.born + 1) > row.born:
                former = partial(self._forget_number, app_id=row.app_id, number=row.number)
                await self._statements.run(server_actor(), former)

    async def _forget_number(self, tx: Transaction, app_id: str, number: int) -> None:
        await self._let_go(tx, app_id, await store.forget_number(tx, app_id, number))

    async def _close(self) -> None:
        """Let workers answer what they were asked, while the server answers its last requests."""
        self.reconciler.close()
        async with anyio.create_task_group() as closing:
            for supervisor in self.reconciler.supervisors.values():
                closing.start_soon(supervisor.close, *CLOSING)
        try:
            await self.reconciler.leave()
        except Exception as error:
            log.warning("others are not told that no worker runs here any more", **failure(error))

    def _spawn(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        """Run something beside the rest; what it does wrong is logged."""
        if self._tasks is not None:
            self._tasks.start_soon(_guarded, work, arguments)

    def _supervise(self, app_id: str) -> Supervisor:
        supervisor = Supervisor(app_id, self._host)
        self._spawn(self._run_to_the_end, supervisor)
        return supervisor

    async def _run_to_the_end(self, supervisor: Supervisor) -> None:
        await supervisor.run()
        if supervisor.ended:
            self.reconciler.ended(supervisor.app_id)

    async def _supervisor(self, app_id: str) -> Supervisor:
        """The supervisor of an app, when that of a former app of the same name is done."""
        if self._tasks is None:
            raise Unavailable("workers run within a server only", retry_after=None)
        old = self.reconciler.supervisors.get(app_id)
        if old is not None and old.leaving:
            await old.over()
        return self.reconciler.supervisor(app_id)

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
        supervisor = await self._supervisor(app_id)
        await self.reconciler.on_notification(app_id)
        limit = self._config.start_timeout + self._config.install_timeout
        failed: StartFailed | None = None
        with anyio.move_on_after(limit) as waiting:
            failed = await supervisor.outcome(attempt)
        if waiting.cancelled_caught or failed is not None:
            late = f"the worker of app '{app_id}' has not come up in {limit:g} s"
            # It stays wanted, and whoever asks at once gets the same answer.
            raise Unavailable(late if failed is None else str(failed), retry_after=None)

    async def stop(self, actor: Actor, app_id: str) -> None:
        """See `Workers.stop`; waits until it has ended here."""
        await self._apps.app(app_id)
        if await self._set_desired(actor, app_id, wanted=False) is None:
            return
        supervisor = self.reconciler.supervisors.get(app_id)
        await self.reconciler.on_notification(app_id)
        if supervisor is not None:
            with anyio.move_on_after(self._config.shutdown_wait + self._config.term_wait + 10):
                await supervisor.stopped()

    async def _set_desired(self, actor: Actor, app_id: str, *, wanted: bool) -> int | None:
        async def write(tx: Transaction) -> int | None:
            if wanted:  # with it: the news alone brings a worker up, which would find a shut login
                await logins.reopen(tx, app_id)
            attempt = await store.set_desired(tx, app_id, wanted)
            if attempt is not None:
                operation = "WORKER_STARTED" if wanted else "WORKER_STOPPED"
                await store.record(tx, operation, app_id, {})
            return attempt

        return await self._statements.run(actor, write)

    async def restart(self, app_id: str) -> None:
        """See `Workers.restart`."""
        supervisor = self.reconciler.supervisors.get(app_id)
        if supervisor is not None:
            supervisor.restart()

    async def refresh(self, app_id: str) -> None:
        """See `Workers.refresh`."""
        replica = self._replica(app_id)
        if replica is not None and await self._launch_specs.is_outdated(replica.spec):
            await self.restart(app_id)

    # Status

    async def status(self, app_id: str) -> WorkerStatus:
        """See `Workers.status`."""
        await self._apps.app(app_id)
        overview = await self._store.overview(app_id)
        here = self.reconciler.server_id
        others = [row for row in overview.replicas if row.server_id != here]
        replicas = [*others, *(row for row in self.reconciler.rows() if row.app_id == app_id)]
        app = overview.app
        wanted = app is not None and app.release is not None
        states = {row.state for row in replicas}
        worst: WorkerState = "starting" if wanted else "stopped"
        for state in WORST:
            if state in states:
                worst = state
                break
        return WorkerStatus(
            app_id=app_id,
            status=worst,
            replicas=len(replicas),
            version=app.version if app else None,
            sandbox=self._active_limits(app_id, app.number if app else None),
        )

    def _active_limits(self, app_id: str, number: int | None) -> dict[str, Any]:
        replica = self._replica(app_id)
        uid = None if number is None else self._sandbox.uid(number)
        found = self._sandbox.active_limits(replica.spec.uid if replica else uid)
        if replica is not None:
            found["program"] = replica.spec.program
        if number is not None and (said := self.logins.notes(number)):
            found["notes"] = [*self._sandbox.notes, *said]
        return found

    def described(self) -> dict[str, Any]:
        """What runs in this process and how it is confined, for the server's status."""
        return {
            "running": len(self.running()),
            "sandbox": self._sandbox.active_limits(self._sandbox.uid(0)),
        }

    def measured(self) -> list[Measure]:
        """The replicas of this process by state."""
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
        """Apps whose worker runs in this very server process."""
        supervisors = self.reconciler.supervisors
        return [app_id for app_id in supervisors if self._replica(app_id) is not None]

    def on_change(self, callback: OnChange) -> None:
        """See `Workers.on_change`."""
        self._callbacks.append(callback)

    async def _changed(self, supervisor: Supervisor) -> None:
        self.reconciler.tell()
        for callback in self._callbacks:
            try:
                with anyio.fail_after(NOTICE):
                    await callback(supervisor.app_id, supervisor.state)
            except Exception as error:
                log.error("a listener failed", app_id=supervisor.app_id, exc_info=error)

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
            params.decode()  # handed on as they stand, so nobody else looks
        except UnicodeDecodeError:
            raise BadRequest("params must be in UTF-8") from None
        replica = await self._at_hand(app_id)
        try:
            return await replica.rpc(method, params, caller, self._config.rpc_timeout)
        except WorkerLost as error:  # it may have done what it was asked
            raise Unavailable(str(error), retry_after=None) from None

    async def run_job(
        self,
        app_id: str,
        job_id: str,
        payload: bytes,
        caller: Caller | None,
        progress: Progress,
    ) -> bytes:
        """See `Workers.run_job`."""
        replica = await self._at_hand(app_id)
        return await replica.run_job(job_id, payload, caller, progress)

    async def cancel_job(self, app_id: str, job_id: str) -> None:
        """See `Workers.cancel_job`."""
        if (replica := self._replica(app_id)) is not None:
            replica.cancel_job(job_id)

    async def _at_hand(self, app_id: str) -> Replica:
        """The replica that answers; never that of a former app of the name, which would be told who
        calls, and with which token."""
        app = await self._apps.app(app_id)
        replica = self._replica(app_id)
        if replica is None or replica.release.born != app.born:
            raise Unavailable(f"the worker of app '{app_id}' is not running")
        return replica

    def _replica(self, app_id: str) -> Replica | None:
        supervisor = self.reconciler.supervisors.get(app_id)
        replica = supervisor.replica if supervisor is not None else None
        usable = replica is not None and not replica.gone and not replica.stopping
        return replica if usable else None

    # Installs

    async def installed(self, tx: Transaction, app: App, *, first: bool) -> None:
        """The tables of an app changed, or it is new: then it has no worker yet."""
        if first:
            await self.removed(tx, app.id)
        else:
            await self._forget_former(tx, app.id, app.born)
        await logins.renew(tx, app)

    async def removed(self, tx: Transaction, app_id: str) -> None:
        """An app goes, and its worker with it, on every server process."""
        await self._let_go(tx, app_id, await store.forget(tx, app_id))

    async def _forget_former(self, tx: Transaction, app_id: str, born: int) -> None:
        await self._let_go(tx, app_id, await store.forget_former(tx, app_id, born))

    async def _let_go(self, tx: Transaction, app_id: str, number: int | None) -> None:
        """Take the login of an app whose row is gone, and end its worker wherever it runs."""
        if number is None:
            return
        await logins.drop(tx, app_id, number)
        await tx.publish(TOPIC, app_id)

        async def end_here() -> None:
            self.reconciler.gone(app_id, number)

        tx.after_commit(end_here)


async def _guarded(work: Callable[..., Awaitable[Any]], arguments: Sequence[Any]) -> None:
    try:
        await work(*arguments)
    except Exception as error:
        log.error("a task of the workers failed", exc_info=error)


SERVICE = ServiceKey[WorkersService]("workers_service")
