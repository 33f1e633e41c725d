"""Follows the tables that say what should run, and writes what runs here."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Final

import anyio
from anyio import to_thread

from kernel.public import Transaction, Unavailable, WorkerState
from plugins.workers import store
from plugins.workers.host import Host
from plugins.workers.models import DesiredState, ReplicaRow
from plugins.workers.replica.launch_specs import LaunchSpecs
from plugins.workers.store import TOPIC

from .supervisor import Supervisor

HEARTBEAT_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 1.0
"""Pause after the database could not be asked."""


class Reconciler:
    """Owns the supervisors of one server process."""

    def __init__(self, host: Host, launch_specs: LaunchSpecs) -> None:
        self.server_id = str(uuid.uuid4())
        self.supervisors: dict[str, Supervisor] = {}
        self._host = host
        self._launch_specs = launch_specs
        self._stale: set[str] | None = None
        """Apps whose rows have to be read; None means all."""
        self._ended: set[str] = set()
        """Apps whose supervisors ended since; files that they could not delete wait."""
        self._unreported = False
        self._reported: frozenset[ReplicaRow] = frozenset()
        self._wake = anyio.Event()
        self._closed = False
        host.listeners.append(self._on_change)

    async def on_notification(self, payload: str | None) -> None:
        """Read the row of an app again, or all rows when `payload` is None."""
        if payload is None or "\0" in payload:  # any login of the database can send notifications
            self._stale = None
        elif self._stale is not None:
            self._stale.add(payload)
        self._wake.set()

    def supervisor(self, app_id: str) -> Supervisor:
        """Return the supervisor of an app, a new one if it has none."""
        if app_id not in self.supervisors:
            made = self.supervisors[app_id] = Supervisor(app_id, self._host, self._launch_specs)
            self._host.spawn(self._run_supervisor, made)
        return self.supervisors[app_id]

    async def current_supervisor(self, app_id: str) -> Supervisor:
        """Return the supervisor of an app, once the one of a former app of that name has ended."""
        if self._host.tasks is None:
            raise Unavailable("workers run within a server only", retry_after=None)
        old = self.supervisors.get(app_id)
        if old is not None and old.leaving:
            await old.removal()
        return self.supervisor(app_id)

    async def app_removing(self, tx: Transaction, app_id: str) -> None:
        """End the worker of an app that is uninstalled, in every server process."""
        number = await store.number_of(tx, app_id)
        if number is None:
            return
        await tx.publish(TOPIC, app_id)

        async def end_here() -> None:
            self.app_removed(app_id, number)

        tx.after_commit(end_here)

    def app_removed(self, app_id: str, number: int) -> None:
        """End the worker of an app that this process removed, before the notification arrives."""
        supervisor = self.supervisors.get(app_id)
        if supervisor is not None and supervisor.number == number and not supervisor.leaving:
            supervisor.remove()

    async def run(self) -> None:
        """Follow the tables and write heartbeats, until `close`."""
        due = 0.0
        while not self._closed:
            self._wake = anyio.Event()
            try:
                await self._follow()
                if self._unreported or anyio.current_time() >= due:
                    await self._beat()
                    due = anyio.current_time() + HEARTBEAT_SECONDS
                pause = max(0.0, due - anyio.current_time())
            except Unavailable:
                pause = RETRY_SECONDS
            if not self._wake.is_set() or pause == RETRY_SECONDS:
                with anyio.move_on_after(pause):
                    await self._wake.wait()

    async def close(self, drain: float, shutdown_wait: float, term_wait: float) -> None:
        """Stop every worker with the server, and report to the others that none runs here."""
        self._closed = True
        self._wake.set()
        async with anyio.create_task_group() as closing:
            for supervisor in self.supervisors.values():
                closing.start_soon(supervisor.close, drain, shutdown_wait, term_wait)
        await self._host.store.beat(self.server_id, ())

    def rows(self) -> Iterable[ReplicaRow]:
        """Return what runs here, or should."""
        for app_id, supervisor in self.supervisors.items():
            if supervisor.state != "stopped":
                yield ReplicaRow(
                    server_id=self.server_id,
                    app_id=app_id,
                    state=supervisor.state,
                    version=supervisor.version,
                )

    async def _run_supervisor(self, supervisor: Supervisor) -> None:
        await supervisor.run()
        if supervisor.ended:
            self.supervisors.pop(supervisor.app_id, None)
            self._ended.add(supervisor.app_id)
            if self._stale is not None:
                self._stale.add(supervisor.app_id)
            await self._on_change(supervisor.app_id, "stopped")

    async def _on_change(self, app_id: str, state: WorkerState) -> None:
        self._unreported = True
        self._wake.set()

    async def _follow(self) -> None:
        stale = self._stale
        if stale is not None and not stale:
            return
        self._stale, ended, self._ended = set(), self._ended, set()
        try:
            # Before the rows: an app that is installed between the two has a row already.
            here = await self._apps_with_files(stale)
            rows = await self._host.store.desired(None if stale is None else sorted(stale))
        except BaseException:
            self._stale = None
            raise
        known = {row.app_id for row in rows}
        for row in rows:
            self._apply(row)
        for app_id in set(self.supervisors if stale is None else stale) - known:
            if (supervisor := self.supervisors.get(app_id)) is not None:
                supervisor.remove()
        for app_id in here.keys() - known - ended - self.supervisors.keys():
            self.supervisor(app_id).remove(here[app_id])

    async def _apps_with_files(self, stale: set[str] | None) -> Mapping[str, int]:
        """Return apps without a supervisor that have files here, with their numbers.

        Their workers were stopped when this server started, or they were uninstalled while none
        ran. A notification is not trusted: its name is looked for among the folders, not made into
        a path.
        """
        if stale is not None and stale <= self.supervisors.keys():
            return {}
        return await to_thread.run_sync(self._host.folders.numbers, stale)

    def _apply(self, row: DesiredState) -> None:
        supervisor = self.supervisors.get(row.app_id)
        if supervisor is not None and supervisor.leaving:
            return  # the row of a later app of that name is read again when this one has ended
        if supervisor is not None and supervisor.number not in (None, row.number):
            supervisor.remove()  # likewise, and the notification about the former app was lost
            return
        if supervisor is None:
            if row.release is None:
                return
            supervisor = self.supervisor(row.app_id)
        supervisor.set_desired(row)

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
