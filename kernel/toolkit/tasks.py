"""Background tasks of a plugin: restarted when they fail, and reported by health and log."""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import LiteralString

import anyio
import structlog
from anyio.abc import TaskGroup

from kernel.contracts.server import TaskInfo
from kernel.contracts.statements import Statements
from kernel.errors import KernelError, Unavailable, failure, raised_at, unwrapped

LONGEST_PAUSE = 60.0
"""Seconds between a failure and the next try, which follow 0.5, 1, 2 ... seconds."""
MAX_FAULTS = 20
"""Unexpected errors in a row, about a quarter of an hour, after which a task counts as failed."""
FAILED_PAUSE = 300.0
"""Seconds between the tries of a failed task: the fault may have been in the data."""
LEASE_SECONDS = 30.0
"""After a process that leads was killed, another one leads within this time."""

_ACQUIRE = """
insert into caudex_kernel.leases as l (name, holder, expires)
values ($1::text, $2::text, clock_timestamp() + make_interval(secs => $3::float8))
on conflict (name) do update set holder = excluded.holder, expires = excluded.expires
where l.holder = excluded.holder or l.expires < clock_timestamp() returning 'true'"""
_RELEASE = "delete from caudex_kernel.leases where name = $1::text and holder = $2::text"

_random = random.Random()  # its own: libraries that seed the shared one notice other uses

log = structlog.get_logger("caudex.tasks")


class Tasks:
    """Starts background tasks for one plugin, as its attribute `tasks`.

    They run while the server does: they begin when every plugin has started, and end before any
    plugin's `lifespan` does. A command does not run them. A task that raises is restarted after a
    pause that doubles. After 20 unexpected errors in a row it is failed: health and log report it,
    and it is tried again every five minutes. KernelError and OSError do not count.
    With `leader` a task runs in one server process of all that share the database.
    """

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.holder = uuid.uuid4().hex
        self.statements: Statements | None = None
        self._tasks: list[_Task] = []
        self._group: TaskGroup | None = None

    def start(self, fn: Callable[[], Awaitable[None]], name: str, *, leader: bool = False) -> None:
        """Run `fn` until it returns; `name` is for the log and for `GET /api/v1/plugins`."""
        self._add(_Task(self, name, lambda _: fn(), leader=leader))

    def every(
        self,
        seconds: float,
        fn: Callable[[], Awaitable[float | None]],
        name: str,
        *,
        jitter: float = 0.1,
        leader: bool = False,
    ) -> None:
        """Run `fn` again and again, at once for the first time.

        `fn` may return the seconds until its next run. Each pause is longer by a random share of
        `jitter`, so that processes that started together do not stay together.
        """

        async def repeat(task: _Task) -> None:
            while True:
                pause = await fn()
                task.succeeded()
                await anyio.sleep(
                    (seconds if pause is None else pause) * (1 + jitter * _random.random())
                )

        self._add(_Task(self, name, repeat, leader=leader))

    def info(self) -> Sequence[TaskInfo]:
        """Describe each task that has not ended."""
        return [task.info() for task in self._tasks]

    async def run(self, statements: Statements) -> None:
        """Run the tasks until cancelled; the kernel's to call."""
        self.statements = statements
        async with anyio.create_task_group() as self._group:
            for task in self._tasks:
                self._group.start_soon(self._run, task)
            await anyio.sleep_forever()

    def _add(self, task: _Task) -> None:
        self._tasks.append(task)
        if self._group is not None:
            self._group.start_soon(self._run, task)

    async def _run(self, task: _Task) -> None:
        await task.run()
        self._tasks.remove(task)


class _Task:
    def __init__(
        self, owner: Tasks, name: str, work: Callable[[_Task], Awaitable[None]], *, leader: bool
    ) -> None:
        self._owner = owner
        self._name = name
        self._work = work
        self._leader = leader
        self._state = "starting"
        self._failures = 0
        self._faults = 0
        self._error = ""

    def info(self) -> TaskInfo:
        return TaskInfo(self._name, self._state, self._failures, self._error)

    async def run(self) -> None:
        """Run until the work is done."""
        while True:
            began = anyio.current_time()
            try:
                await (self._lead() if self._leader else self._begin())
                return
            except Exception as error:
                if anyio.current_time() - began > LONGEST_PAUSE:
                    self.succeeded()
                await self._failed(error)

    def succeeded(self) -> None:
        """Forget earlier failures."""
        self._state, self._failures, self._faults, self._error = "running", 0, 0, ""

    async def _begin(self) -> None:
        if not self._failures:
            self._state = "running"
        await self._work(self)

    async def _failed(self, error: Exception) -> None:
        pause = min(LONGEST_PAUSE, 0.5 * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self._faults += not isinstance(error, KernelError | OSError)
        self._error = f"{type(error).__name__} {raised_at(error)}".strip()
        failed = self._faults >= MAX_FAULTS
        self._state = "failed" if failed else "failing"
        pause = FAILED_PAUSE if failed else pause
        report = log.error if failed else log.warning
        said = {"plugin": self._owner.plugin, "task": self._name, **failure(error)}
        report("a task failed", restart_in=pause, **said)
        await anyio.sleep(pause)

    async def _lead(self) -> None:
        """Do the work while this process holds the lease."""
        while not await self._acquire():
            self.succeeded()
            self._state = "standby"
            await anyio.sleep(LEASE_SECONDS / 3)
        try:
            with unwrapped():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._renew)
                    await self._begin()
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.move_on_after(1, shield=True), suppress(Exception):
                await self._execute(_RELEASE)

    async def _renew(self) -> None:
        while True:
            await anyio.sleep(LEASE_SECONDS / 3)
            if not await self._acquire():
                raise Unavailable("another process runs this task")

    async def _acquire(self) -> bool:
        return await self._execute(_ACQUIRE, LEASE_SECONDS) is not None

    async def _execute(self, statement: LiteralString, *more: float) -> bytes | None:
        assert self._owner.statements is not None, "tasks run in a server"
        name = f"{self._owner.plugin}.{self._name}"
        return await self._owner.statements.execute(statement, name, self._owner.holder, *more)
