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

    async def versions(self, app_id: str) -> bytes:
        """Return a JSON array of the versions that are kept, the newest first. Raises NotFound."""
        return await self._host.store.versions((await self._apps.app(app_id)).id)

    async def replicas(self, app_id: str) -> list[ShownReplica]:
        """Return the replicas in server processes that are alive, by the id of these."""
        await self._apps.app(app_id)
        found = [
            ShownReplica(server_id=row.server_id, state=row.state, version=row.version)
            for row in await self._all_replicas(app_id)
        ]
        return sorted(found, key=lambda each: each.server_id)

    async def _all_replicas(self, app_id: str) -> list[ReplicaRow]:
        """Return the rows of other processes, and what is true in this one."""
        here = self._reconciler.server_id
        rows = await self._host.store.replicas(app_id)
        others = [row for row in rows if row.server_id != here]
        return [*others, *(row for row in self._reconciler.rows() if row.app_id == app_id)]

    async def status(self, app_id: str, replica: Replica | None) -> WorkerStatus:
        """Return the state over all server processes; `replica` takes calls in this one."""
        app = next(iter(await self._host.store.desired([app_id])), None)
        replicas = await self._all_replicas(app_id)
        states = {row.state for row in replicas}
        status: WorkerState = "starting" if app and app.release else "stopped"
        for state in BEST_FIRST:
            status = state if state in states else status
        return WorkerStatus(
            app_id=app_id,
            status=status,
            replicas=len(replicas),
            version=app.version if app else None,
            sandbox=await self._active_limits(app_id, app.number if app else None, replica),
        )

    async def _active_limits(
        self, app_id: str, number: int | None, replica: Replica | None
    ) -> dict[str, Any]:
        if replica is None:
            found = self._limits(None if number is None else self._host.sandbox.uid(number))
        else:
            found = self._limits(replica.spec.bounds.uid, replica.spec.ports)
            found["program"] = replica.spec.program
        logins = self._host.logins
        if number is not None and logins is not None and (notes := await logins.notes(app_id)):
            found["notes"] = [*found.get("notes", ()), *notes]
        return found

    def confinement(self) -> dict[str, Any]:
        """Return how workers of this process are confined."""
        return self._limits(self._host.sandbox.uid(0))

    def _limits(self, uid: int | None, ports: Sequence[int] = ()) -> dict[str, Any]:
        found = self._host.sandbox.active_limits(uid, ports)
        groups = self._host.cgroups
        return found | {"cgroup": None if groups is None else groups.level}

    def crashed(self) -> Sequence[str]:
        """Return the apps whose worker crashed too often here, sorted."""
        found = self._reconciler.supervisors.values()
        return sorted(each.app_id for each in found if each.state == "crashed")

    def measured(self) -> list[Measure]:
        """Count the replicas of this process by state."""
        counts = Counter(each.state for each in self._reconciler.supervisors.values())
        return [
            Measure(
                name="caudex_workers",
                help="Workers of apps in this process.",
                value=counts[state],
                labels={"state": state},
            )
            for state in get_args(WorkerState)
        ]
