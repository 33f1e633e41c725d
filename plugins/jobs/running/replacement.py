"""Replace a worker in which jobs do not end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from .claimer import Slots
from .handlers import Handlers
from .outcome import Run

RESTART_SECONDS: Final = 90.0
"""A restart may take that long, the last calls of the worker included."""

log = structlog.get_logger("caudex.jobs")


class WorkerReplacement:
    """Restarts workers. `notify_pending` says that an app's worker takes jobs again."""

    def __init__(
        self,
        workers: Handlers,
        slots: Slots,
        cancel_grace: float,
        notify_pending: Callable[[Iterable[str]], None],
    ) -> None:
        self._workers = workers
        self._slots = slots
        self._cancel_grace = cancel_grace
        self._notify_pending = notify_pending
        self._app_ids = set[str]()

    def includes(self, app_id: str) -> bool:
        """Whether the worker of an app is being replaced: it gets no jobs meanwhile."""
        return app_id in self._app_ids

    def begin(self, app_id: str, group: TaskGroup) -> None:
        """Restart a worker in which a run does not end: otherwise its slot is lost."""
        if app_id in self._app_ids:
            return
        self._app_ids.add(app_id)
        runs = self._slots.runs(app_id)
        overdue_runs = [run for run in runs if run.is_overdue(self._cancel_grace)]
        log.warning(
            "a worker is replaced: jobs in it do not end", app_id=app_id, jobs=len(overdue_runs)
        )
        group.start_soon(self._restart, app_id, overdue_runs)

    async def _restart(self, app_id: str, overdue_runs: Sequence[Run]) -> None:
        try:
            with anyio.move_on_after(RESTART_SECONDS):
                await self._workers.restart(app_id)
                while any(run in overdue_runs for run in self._slots.runs(app_id)):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
        except Exception as error:
            log.error("a worker cannot be replaced", app_id=app_id, exc_info=error)
        for run in overdue_runs:
            if run.scope is not None and not run.ended:  # else another run has its slot
                run.scope.cancel()
        self._app_ids.discard(app_id)
        self._notify_pending([app_id])
