"""What runs, in this server process and in the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, get_args

from kernel.public import APPS, Measure, WorkerState, WorkerStatus

from .control.reconciler import Reconciler
from .host import Host
from .models import ReplicaRow, ShownReplica
from .replica.replica import Replica

BEST_FIRST: Final[Sequence[WorkerState]] = ("running", "starting", "stopping", "crashed")


class StatusReports:
    """Reports the workers of apps: their states, versions and limits."""

    def __init__(self, host: Host, reconciler: Reconciler) -> None:
        self._host = host
        self._apps = host.services.get(APPS)
        self._reconciler = reconciler

    async def read_versions(self, app_id: str) -> bytes:
        """Return a JSON array of the versions that are kept, the newest first. Raises NotFound."""
        app = await self._apps.app(app_id)
        return await self._host.store.read_versions(app.id)

    async def read_replicas(self, app_id: str) -> list[ShownReplica]:
        """Return the replicas in server processes that are alive, by the id of these."""
        await self._apps.app(app_id)
        rows = await self._list_rows(app_id)
        rows.sort(key=lambda row: row.server_id)
        return [
            ShownReplica(server_id=row.server_id, state=row.state, version=row.version)
            for row in rows
        ]

    async def _list_rows(self, app_id: str) -> list[ReplicaRow]:
        """Return the rows of other processes, and what is true in this one."""
        server_id = self._reconciler.server_id
        stored_rows = await self._host.store.read_replicas(app_id)
        rows = [row for row in stored_rows if row.server_id != server_id]
        rows += [row for row in self._reconciler.list_rows() if row.app_id == app_id]
        return rows

    async def read_status(self, app_id: str, replica: Replica | None) -> WorkerStatus:
        """Return the state over all server processes; `replica` takes calls in this one."""
        desired = next(iter(await self._host.store.read_desired([app_id])), None)
        rows = await self._list_rows(app_id)
        number = None
        version = None
        should_run = False
        if desired is not None:
            number = desired.number
            version = desired.version
            should_run = desired.release is not None
        return WorkerStatus(
            app_id=app_id,
            status=_find_worst(rows, should_run=should_run),
            replicas=len(rows),
            version=version,
            sandbox=await self._describe_limits(app_id, number, replica),
        )

    async def _describe_limits(
        self, app_id: str, number: int | None, replica: Replica | None
    ) -> dict[str, Any]:
        """Describe the limits of a worker that runs, else those that it would have."""
        if replica is not None:
            limits = self._describe_sandbox(replica.spec.bounds.uid, replica.spec.ports)
            limits["program"] = replica.spec.interpreter
        elif number is not None:
            limits = self._describe_sandbox(self._host.machine.sandbox.find_uid(number))
        else:
            limits = self._describe_sandbox(None)
        logins = self._host.logins
        if number is not None and logins is not None:
            notes = await logins.notes(app_id)
            if notes:
                limits["notes"] = [*limits.get("notes", ()), *notes]
        return limits

    def describe_confinement(self) -> dict[str, Any]:
        """Describe how workers of this process are confined."""
        return self._describe_sandbox(self._host.machine.sandbox.find_uid(0))

    def _describe_sandbox(self, uid: int | None, ports: Sequence[int] = ()) -> dict[str, Any]:
        limits = self._host.machine.sandbox.describe_limits(uid, ports)
        groups = self._host.machine.cgroups
        limits["cgroup"] = None if groups is None else groups.level
        return limits

    def list_crashed(self) -> Sequence[str]:
        """Return the apps whose worker crashed too often here, sorted."""
        supervisors = self._reconciler.supervisors.values()
        return sorted(
            supervisor.app_id for supervisor in supervisors if supervisor.state == "crashed"
        )

    def measure(self) -> list[Measure]:
        """Count the replicas of this process by state."""
        supervisors = self._reconciler.supervisors.values()
        counts = Counter(supervisor.state for supervisor in supervisors)
        return [
            Measure(
                name="caudex_workers",
                help="Workers of apps in this process.",
                value=counts[state],
                labels={"state": state},
            )
            for state in get_args(WorkerState)
        ]


def _find_worst(rows: Sequence[ReplicaRow], *, should_run: bool) -> WorkerState:
    """Return the worst state of the replicas; without any, the state that is due."""
    states = {row.state for row in rows}
    for state in reversed(BEST_FIRST):
        if state in states:
            return state
    return "starting" if should_run else "stopped"
