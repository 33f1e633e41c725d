"""Follows the tables that say what should run, and writes what runs here."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import anyio
from anyio import to_thread

from kernel.public import App, Transaction, Unavailable, WorkerState
from plugins.workers.host import Host
from plugins.workers.models import DesiredState, ReplicaRow
from plugins.workers.releases.builds import Builder
from plugins.workers.replica.replica import Replica
from plugins.workers.store import TOPIC

from .supervisor import Supervisor


class Reconciler:
    """Owns the supervisors of one server process."""

    def __init__(self, host: Host, builder: Builder) -> None:
        self.server_id = str(uuid.uuid4())
        self.supervisors: dict[int, Supervisor] = {}
        """By the key of the app: one of a former app of the same name may still be ending."""
        self._host = host
        self._builder = builder
        self._stale: set[str] | None = None
        """Apps whose rows have to be read; None means all."""
        self._applied: set[str] = set()
        """Apps whose next notification is that of a change which this process applies itself."""
        self._followed = anyio.Event()
        """Set once the rows were read: then it is known which workers should run."""
        self._unreported = False
        self._reported: frozenset[ReplicaRow] = frozenset()
        self._wake = anyio.Event()
        self._due = 0.0
        host.listeners.append(self._on_change)

    async def on_notification(self, payload: str | None) -> None:
        """Read the row of an app again, or all rows when `payload` is None."""
        if payload is None or "\0" in payload:  # any login of the database can send notifications
            self._stale = None
        elif payload in self._applied:
            self._applied.discard(payload)
            return
        elif self._stale is not None:
            self._stale.add(payload)
        self._wake.set()

    @contextmanager
    def applying(self, app_id: str) -> Generator[None]:
        """Ignore one notification about an app: that of the change in this block.

        The caller applies the change, so its row need not be read here. Where another process
        changes the app meanwhile, one of the two notifications is followed, whichever came first.
        A caller that fails has to call `on_notification`.
        """
        self._applied.add(app_id)
        try:
            yield
        finally:
            self._applied.discard(app_id)

    def supervisor(self, app_id: str, key: int) -> Supervisor:
        """Return the supervisor of an app, a new one if it has none."""
        if self._host.tasks is None:
            raise Unavailable("workers run within a server only", retry_after=None)
        if key not in self.supervisors:
            made = self.supervisors[key] = Supervisor(app_id, key, self._host, self._builder)
            self._host.spawn(self._run_supervisor, made)
        return self.supervisors[key]

    async def come_up(self, key: int) -> Replica | None:
        """Wait while the worker of an app is starting. Returns the one that takes calls."""
        await self._followed.wait()
        supervisor = self.supervisors.get(key)
        return None if supervisor is None else await supervisor.come_up()

    async def app_removing(self, tx: Transaction, app: App) -> None:
        """End the worker of an app that is uninstalled, in every server process."""
        await tx.publish(TOPIC, app.id)

        async def end_here() -> None:
            self.app_removed(app.key)

        tx.after_commit(end_here)

    def app_removed(self, key: int) -> None:
        """End the worker of an app that this process removed, before the notification arrives."""
        if key in self.supervisors:
            self.supervisors[key].remove()

    async def step(self) -> float | None:
        """Wait for a change or the next heartbeat, then follow the tables and report."""
        with anyio.move_on_after(self._due - anyio.current_time()):
            await self._wake.wait()
        self._wake = anyio.Event()
        try:
            await self._follow()
            if self._unreported or anyio.current_time() >= self._due:
                await self._beat()
                self._due = anyio.current_time() + 5.0
        except Unavailable:
            return 1.0
        return None

    async def close(self, drain: float, shutdown_wait: float, term_wait: float) -> None:
        """Stop every worker with the server, and report to the others that none runs here."""
        async with anyio.create_task_group() as closing:
            for supervisor in self.supervisors.values():
                closing.start_soon(supervisor.close, drain, shutdown_wait, term_wait)
        await self._host.store.beat(self.server_id, ())

    async def kill_all(self) -> None:
        """End every process that is left, also when the task that was to end it was cancelled."""
        async with anyio.create_task_group() as killing:
            for supervisor in self.supervisors.values():
                for replica in supervisor.replicas():
                    killing.start_soon(replica.kill)

    def rows(self) -> Iterable[ReplicaRow]:
        """Return what runs here, or should."""
        for supervisor in self.supervisors.values():
            if supervisor.state != "stopped" and not supervisor.leaving:
                yield ReplicaRow(
                    server_id=self.server_id,
                    app_id=supervisor.app_id,
                    state=supervisor.state,
                    version=supervisor.version,
                )

    async def _run_supervisor(self, supervisor: Supervisor) -> None:
        await supervisor.run()
        if supervisor.ended:
            self.supervisors.pop(supervisor.key, None)
            await self._on_change(supervisor.app_id, "stopped")

    async def _on_change(self, app_id: str, state: WorkerState) -> None:
        self._unreported = True
        self._wake.set()

    async def _follow(self) -> None:
        stale = self._stale
        if stale is not None and not stale:
            return
        self._stale, folders = set(), self._host.folders
        before = list(self.supervisors.values())
        try:
            # Before the rows: an app that is installed between the two has a row already.
            here = await to_thread.run_sync(folders.apps)
            rows = await self._host.store.desired(None if stale is None else sorted(stale))
        except BaseException:
            self._stale = None
            raise
        for row in rows:
            self._apply(row)
        self._followed.set()
        known = {row.key for row in rows}
        for supervisor in before:
            if supervisor.key not in known and (stale is None or supervisor.app_id in stale):
                supervisor.remove()
        # Workers of these apps were stopped when this server started, or the apps were uninstalled
        # while none ran.
        for key in here.keys() - known - self.supervisors.keys():
            if stale is None or here[key] in stale:
                self._host.spawn(to_thread.run_sync, self._host.remove_app, here[key], key)

    def _apply(self, row: DesiredState) -> None:
        if row.release is not None:
            self.supervisor(row.app_id, row.key).set_desired(row)
        elif row.key in self.supervisors:
            self.supervisors[row.key].set_desired(row)

    async def _beat(self) -> None:
        self._unreported = False
        rows = list(self.rows())
        if rows or self._reported:
            try:
                await self._host.store.beat(self.server_id, rows)
            except BaseException:
                self._unreported = True
                raise
        self._reported = frozenset(rows)
