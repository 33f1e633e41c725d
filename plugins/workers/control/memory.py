"""Ends workers whose processes have more memory than `memory_mb`, where no cgroup does it."""

from __future__ import annotations

import structlog
from anyio import to_thread

from plugins.workers.child.process import Child
from plugins.workers.host import Host
from plugins.workers.isolation.memory import Excess, MemorySurvey, Watched

log = structlog.get_logger("caudex.workers")


class MemoryWatch:
    """Looks at the apps whose workers, or installs of dependencies, run in this process."""

    def __init__(self, host: Host) -> None:
        self._host = host
        machine = host.machine
        support = machine.sandbox.support
        self._survey = MemorySurvey(
            machine.server_name,
            machine.folders.servers,
            host.config.accounts,
            has_files=support.private and support.landlock > 0,
        )

    async def step(self) -> None:
        """Look once, and end what has most of an app that has too much.

        A worker that is ended has crashed, so it starts again with growing pauses.
        """
        machine = self._host.machine
        children = Child.list_live(machine.server_name)
        if machine.sandbox.support.group_memory or not children:
            return
        watched = [Watched(child.pid, child.mark, child.owner) for child in children]
        limit_kb = self._host.config.memory_mb * 1024
        over = await to_thread.run_sync(self._survey.find_over, watched, limit_kb)
        for child in children:
            excess = over.get(child.owner)
            # A process that left its worker ends with any child of its app.
            if excess is not None and excess.largest in (0, child.pid):
                self._end(child, excess)

    def _end(self, child: Child, excess: Excess) -> None:
        used = excess.used // 1024
        limit = self._host.config.memory_mb
        log.error("a process has too much memory", app=child.owner, used_mb=used, pid=child.pid)
        child.kill(
            f"the app's processes have {used} MB of memory, over memory_mb = {limit}: killed"
        )
