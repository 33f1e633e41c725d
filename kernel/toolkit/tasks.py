"""Background tasks of a plugin: restarted when they fail, and reported by health and log."""

from __future__ import annotations

import random
import uuid
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import anyio
import structlog
from anyio.abc import TaskGroup

from kernel.contracts.server import TaskInfo
from kernel.contracts.statements import Statements
from kernel.errors import (
    KernelError,
    Unavailable,
    ends_process,
    failure,
    is_cancelled,
    remedy_of,
    unwrapped,
)
from kernel.errors.source_lines import raised_at
from kernel.toolkit.backoff import Backoff
from kernel.toolkit.requests import CURRENT_REQUEST

MAX_FAULTS = 20
"""Unexpected errors in a row, about a quarter of an hour, after which a task counts as failed."""
PAUSE_OF_FAILED = 300.0
"""Seconds until a failed task is tried again."""
LEASE_SECONDS = 22.0
"""Others ask for the lease every third of it. So after a kill another process leads within 30 s."""

RAISED = (Exception, SystemExit, KeyboardInterrupt, CancelledError)
"""What fails a task; a CancelledError does where the task is not cancelled."""

_RETRY = Backoff(first=0.5, longest=60.0)
_LEASE = """
insert into caudex_kernel.leases as l (name, holder, expires)
values ($1::text, $2::text, clock_timestamp() + make_interval(secs => $3::float8))
on conflict (name) do update set holder = excluded.holder, expires = excluded.expires
where l.holder = excluded.holder or l.expires < clock_timestamp() returning 'true'"""

Step = Callable[[], Awaitable[float | None]]
"""One run of a repeated task. It may return the seconds until the next one."""

_random = random.Random()  # its own: libraries that seed the shared one notice other uses

log = structlog.get_logger("caudex.tasks")


class Tasks:
    """Starts background tasks for one plugin, as its attribute `tasks`.

    They run while the server does: they begin when every plugin has started, and end before any
    plugin's `lifespan` does. A command does not run them. A task that raises is restarted after a
    pause that doubles. After 20 unexpected errors in a row it counts as failed: health and log
    report it, and it is tried again every five minutes. KernelError and OSError do not count.
    With `leader` a task runs in one server process of all that share the database.
    """

    statements: Statements
    """Set while the tasks run."""

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.holder = uuid.uuid4().hex
        self.tasks = list[_Task]()
        self._group: TaskGroup | None = None

    def start(self, fn: Callable[[], Awaitable[None]], name: str, *, leader: bool = False) -> None:
        """Run `fn` until it returns; `name` is for the log and for `GET /api/v1/plugins`."""
        self._start(fn, name, leader)

    def every(self, seconds: float, fn: Step, name: str, *, leader: bool = False) -> None:
        """Run `fn` again and again, at once for the first time.

        `fn` may return the seconds until its next run. Each pause is longer by up to a tenth, so
        that processes that started together do not stay together.
        """

        async def repeat() -> None:
            while True:
                pause = await fn()
                task.note_success()
                if pause is None:
                    pause = seconds
                await anyio.sleep(pause * _random.uniform(1.0, 1.1))

        task = self._start(repeat, name, leader)  # it runs later, when this name has its value

    def _start(self, fn: Callable[[], Awaitable[None]], name: str, leader: bool) -> _Task:
        task = _Task(self, fn, TaskInfo(name, "starting"), leader)
        self.tasks.append(task)
        if self._group is not None:
            self._group.start_soon(task.run)
        return task

    def info(self) -> Sequence[TaskInfo]:
        """Describe each task that has not ended."""
        return [task.info for task in self.tasks]

    async def run(self, statements: Statements) -> None:
        """Run the tasks until cancelled; the kernel's to call."""
        self.statements = statements
        while True:
            async with anyio.create_task_group() as self._group:
                for task in self.tasks:
                    self._group.start_soon(task.run)
                await anyio.sleep_forever()

    def end(self) -> None:
        """End every task; later ones begin as the first did. The kernel's to call."""
        self.tasks.clear()
        if self._group is not None:
            self._group.cancel_scope.cancel()
            self._group = None


@dataclass(eq=False)
class _Task:
    owner: Tasks
    work: Callable[[], Awaitable[None]]
    info: TaskInfo
    leader: bool
    faults: int = 0

    async def run(self) -> None:
        """Run until the work is done."""
        CURRENT_REQUEST.set(None)  # it outlives the request that may have started it
        while self in self.owner.tasks:
            began = anyio.current_time()
            try:
                await (self._lead() if self.leader else self._begin())
                self.owner.tasks.remove(self)
            except RAISED as error:
                if is_cancelled() or ends_process(error):
                    raise
                if anyio.current_time() - began > 60.0:
                    self.note_success()
                await anyio.sleep(self._note_failure(error))

    def note_success(self, state: str = "running") -> None:
        """Forget earlier failures."""
        self.info = TaskInfo(self.info.name, state)
        self.faults = 0

    async def _begin(self) -> None:
        if not self.info.failures:
            self.note_success()
        await self.work()

    def _note_failure(self, error: BaseException) -> float:
        """Report an error, and return the seconds until the next try."""
        name = self.info.name
        failures = self.info.failures + 1
        where = raised_at(error)
        fields = failure(error)
        if not isinstance(error, KernelError | OSError):
            self.faults += 1
            fields["remedy"] = remedy_of(error)

        state = "failing"
        pause = _RETRY.pause(failures)
        write = log.warning
        if self.faults >= MAX_FAULTS:
            state = "failed"
            pause = PAUSE_OF_FAILED
            write = log.error
        description = f"{type(error).__name__} {where}".strip()
        self.info = TaskInfo(name, state, failures, description)
        plugin = self.owner.plugin
        write("a task failed", plugin=plugin, task=name, restart_in=pause, **fields, at=where)
        return pause

    async def _lead(self) -> None:
        """Do the work while this process holds the lease."""
        while not await self._renew_lease(LEASE_SECONDS):
            self.note_success("standby")
            await anyio.sleep(LEASE_SECONDS / 3)
        try:
            with unwrapped():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._keep_lease)
                    await self._begin()
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.move_on_after(1, shield=True), suppress(Exception):
                await self._renew_lease(0.0)

    async def _keep_lease(self) -> None:
        while True:
            await anyio.sleep(LEASE_SECONDS / 3)
            with anyio.fail_after(LEASE_SECONDS / 3):  # so the work ends before the lease does
                if not await self._renew_lease(LEASE_SECONDS):
                    raise Unavailable("another process runs this task")

    async def _renew_lease(self, seconds: float) -> bool:
        """Take or keep the lease for so many seconds; 0 gives it back."""
        owner = self.owner
        name = f"{owner.plugin}.{self.info.name}"
        holder = await owner.statements.execute(_LEASE, name, owner.holder, seconds)
        return holder is not None
