"""Stops workers whose files take more of the disk than `max_disk_mb`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from anyio import to_thread

from kernel.public import KernelError, failure
from plugins.workers.host import Host

from .reconciler import Reconciler
from .supervisor import Supervisor

log = structlog.get_logger("caudex.workers")


class DiskQuota:
    """Measures what the app of each worker of this process has on disk.

    An install of dependencies is measured while it runs (see `releases/builds.py`).
    """

    def __init__(
        self, host: Host, reconciler: Reconciler, stop: Callable[[str], Awaitable[None]]
    ) -> None:
        self._host = host
        self._reconciler = reconciler
        self._stop = stop

    async def step(self) -> None:
        """Measure once, and stop the workers of apps that have too much."""
        for supervisor in list(self._reconciler.supervisors.values()):
            if supervisor.replica is not None and not supervisor.is_leaving:
                await self._check(supervisor)

    async def _check(self, supervisor: Supervisor) -> None:
        assert supervisor.replica is not None
        machine = self._host.machine
        replicas = [replica for replica in supervisor.list_replicas() if replica.is_running]
        in_use = {machine.folders.locate_release(replica.release) for replica in replicas}
        app = machine.folders.locate_app(supervisor.app)
        uid = supervisor.replica.spec.bounds.uid
        excess = await to_thread.run_sync(machine.disk.find_excess, app, uid, in_use)
        if excess is not None:
            await self._end(supervisor.app_id, excess)

    async def _end(self, app_id: str, excess: str) -> None:
        self._host.logs.write(app_id, "system", f"{excess}: it is stopped")
        log.error("a worker is stopped: its files take too much", app_id=app_id, why=excess)
        try:
            await self._stop(app_id)
        except KernelError as error:  # the next step tries again
            log.warning("a worker over its quota goes on", app_id=app_id, **failure(error))
