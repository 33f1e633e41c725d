"""Follows the tables that say what should run, and writes what runs here."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

import anyio
from anyio import to_thread

from kernel.public import App, Transaction, Unavailable, WorkerState
from plugins.workers.host import Host
from plugins.workers.models import DesiredState, Installation, ReplicaRow
from plugins.workers.releases.builds import Builder
from plugins.workers.replica.replica import Replica, Waits
from plugins.workers.store import TOPIC

from .supervisor import Supervisor

BEAT_SECONDS: Final = 5.0


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
        self._rows_were_read = anyio.Event()
        """Set once it is known which workers should run."""
        self._has_news = False
        """Whether a state changed since the last report."""
        self._reported: frozenset[ReplicaRow] = frozenset()
        self._wake = anyio.Event()
        self._next_beat = 0.0
        host.states.add(self._on_change)

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
    def apply_change(self, app_id: str) -> Generator[None]:
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

    def get_supervisor(self, app_id: str, key: int) -> Supervisor:
        """Return the supervisor of an app, a new one if it has none."""
        if self._host.background.tasks is None:
            raise Unavailable("workers run within a server only", retry_after=None)
        supervisor = self.supervisors.get(key)
        if supervisor is None:
            supervisor = Supervisor(Installation(app_id, key), self._host, self._builder)
            self.supervisors[key] = supervisor
            self._host.background.spawn(self._run_supervisor, supervisor)
        return supervisor

    async def wait_up(self, key: int) -> Replica | None:
        """Wait while the worker of an app is starting. Returns the one that takes calls."""
        await self._rows_were_read.wait()
        supervisor = self.supervisors.get(key)
        if supervisor is None:
            return None
        return await supervisor.wait_up()

    async def app_removing(self, tx: Transaction, app: App) -> None:
        """End the worker of an app that is uninstalled, in every server process."""
        await tx.publish(TOPIC, app.id)

        async def end_here() -> None:
            self.end_worker(app.key)

        tx.after_commit(end_here)

    def end_worker(self, key: int) -> None:
        """End the worker of an app that this process removed, before the notification arrives."""
        if key in self.supervisors:
            self.supervisors[key].remove()

    async def step(self) -> float | None:
        """Wait for a change or the next heartbeat, then follow the tables and report."""
        with anyio.move_on_after(self._next_beat - anyio.current_time()):
            await self._wake.wait()
        self._wake = anyio.Event()
        try:
            await self._follow()
            if self._has_news or anyio.current_time() >= self._next_beat:
                await self._beat()
                self._next_beat = anyio.current_time() + BEAT_SECONDS
        except Unavailable:
            return 1.0
        return None

    async def close(self, waits: Waits) -> None:
        """Stop every worker with the server, and report to the others that none runs here."""
        async with anyio.create_task_group() as closing:
            for supervisor in self.supervisors.values():
                closing.start_soon(supervisor.close, waits)
        await self._host.store.beat(self.server_id, ())

    async def kill_all(self) -> None:
        """End every process that is left, also when the task that was to end it was cancelled."""
        async with anyio.create_task_group() as killing:
            for supervisor in self.supervisors.values():
                for replica in supervisor.list_replicas():
                    killing.start_soon(replica.kill)

    def list_rows(self) -> Iterable[ReplicaRow]:
        """Return what runs here, or should."""
        for supervisor in self.supervisors.values():
            if supervisor.state != "stopped" and not supervisor.is_leaving:
                yield ReplicaRow(
                    server_id=self.server_id,
                    app_id=supervisor.app_id,
                    state=supervisor.state,
                    version=supervisor.version,
                )

    async def _run_supervisor(self, supervisor: Supervisor) -> None:
        await supervisor.run()
        if supervisor.is_over:
            self.supervisors.pop(supervisor.app.key, None)
            await self._on_change(supervisor.app_id, "stopped")

    async def _on_change(self, app_id: str, state: WorkerState) -> None:
        self._has_news = True
        self._wake.set()

    async def _follow(self) -> None:
        """Read the rows that may have changed, and have the supervisors follow them."""
        stale = self._stale
        if stale is not None and not stale:
            return
        self._stale = set()
        before = list(self.supervisors.values())
        try:
            # Before the rows: an app that is installed between the two has a row already.
            folders = await to_thread.run_sync(self._host.machine.folders.list_apps)
            rows = await self._host.store.read_desired(None if stale is None else sorted(stale))
        except BaseException:
            self._stale = None
            raise

        for row in rows:
            self._apply(row)
        self._rows_were_read.set()

        installed = {row.key for row in rows}
        for supervisor in before:
            was_read = stale is None or supervisor.app_id in stale
            if was_read and supervisor.app.key not in installed:
                supervisor.remove()
        # Workers of these apps were stopped when this server started, or the apps were uninstalled
        # while none ran.
        for app in folders:
            was_read = stale is None or app.app_id in stale
            if was_read and app.key not in installed and app.key not in self.supervisors:
                machine = self._host.machine
                self._host.background.spawn(to_thread.run_sync, machine.remove_app, app)

    def _apply(self, row: DesiredState) -> None:
        if row.release is not None:
            self.get_supervisor(row.app_id, row.key).set_desired(row)
        elif row.key in self.supervisors:
            self.supervisors[row.key].set_desired(row)

    async def _beat(self) -> None:
        """Report what runs here. Nothing is written as long as nothing does."""
        self._has_news = False
        rows = list(self.list_rows())
        if rows or self._reported:
            try:
                await self._host.store.beat(self.server_id, rows)
            except BaseException:
                self._has_news = True
                raise
        self._reported = frozenset(rows)
