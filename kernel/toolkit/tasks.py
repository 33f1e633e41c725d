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

MAX_FAULTS = 20
"""Unexpected errors in a row, about a quarter of an hour, after which a task counts as failed."""
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
        self._add(_Task(self, name, fn, leader=leader))

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

        async def repeat() -> None:
            while True:
                pause = await fn()
                task.succeeded()
                pause = seconds if pause is None else pause
                await anyio.sleep(pause * (1 + jitter * _random.random()))

        task = _Task(self, name, repeat, leader=leader)
        self._add(task)

    def info(self) -> Sequence[TaskInfo]:
        """Describe each task that has not ended."""
        return [task.info for task in self._tasks]

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
        self, owner: Tasks, name: str, work: Callable[[], Awaitable[None]], *, leader: bool
    ) -> None:
        self.info = TaskInfo(name, "starting")
        self._owner = owner
        self._work = work
        self._leader = leader
        self._faults = 0

    async def run(self) -> None:
        """Run until the work is done."""
        while True:
            began = anyio.current_time()
            try:
                return await (self._lead() if self._leader else self._begin())
            except Exception as error:
                if anyio.current_time() - began > 60.0:
                    self.succeeded()
                await anyio.sleep(self._failed(error))

    def succeeded(self, state: str = "running") -> None:
        """Forget earlier failures."""
        self.info, self._faults = TaskInfo(self.info.name, state), 0

    async def _begin(self) -> None:
        if not self.info.failures:
            self.succeeded()
        await self._work()

    def _failed(self, error: Exception) -> float:
        """Report an error, and return the seconds until the next try."""
        failures = self.info.failures + 1
        self._faults += not isinstance(error, KernelError | OSError)
        failed = self._faults >= MAX_FAULTS
        pause = 300.0 if failed else min(60.0, 0.25 * 2.0 ** min(failures, 10))
        where = f"{type(error).__name__} {raised_at(error)}".strip()
        name, state = self.info.name, "failed" if failed else "failing"
        self.info = TaskInfo(name, state, failures, where)
        report = log.bind(plugin=self._owner.plugin, task=name, restart_in=pause, **failure(error))
        (report.error if failed else report.warning)("a task failed")
        return pause

    async def _lead(self) -> None:
        """Do the work while this process holds the lease."""
        while not await self._acquire():
            self.succeeded("standby")
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
        owner, name = self._owner, f"{self._owner.plugin}.{self.info.name}"
        assert owner.statements is not None, "tasks run in a server"
        return await owner.statements.execute(statement, name, owner.holder, *more)
