"""A background task is restarted when it fails, and no failure of one ends the server."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from kernel.contracts.server import TaskInfo
from kernel.errors import Unavailable
from kernel.toolkit import tasks as module
from kernel.toolkit.tasks import MAX_FAULTS, Tasks
from tests.waiting import until

Slept = list[float]


class Leases:
    """Replaces the table of leases."""

    def __init__(self) -> None:
        self.holders: dict[str, str] = {}

    async def execute(self, _: str, name: str, holder: str, seconds: float) -> bytes | None:
        if not seconds:
            if self.holders.get(name) == holder:
                del self.holders[name]
            return None
        return b"true" if self.holders.setdefault(name, holder) == holder else None


@asynccontextmanager
async def running(tasks: Tasks, leases: Any = None) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(tasks.run, leases)
        await anyio.wait_all_tasks_blocked()
        yield
        group.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Slept:
    """Seconds that tasks would sleep; they sleep a turn of the event loop."""
    slept, sleep = Slept(), anyio.sleep

    async def sleep_shortly(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(module.anyio, "sleep", sleep_shortly)
    return slept


def failing(*errors: Exception) -> Callable[[], Awaitable[None]]:
    """Raises each error once; then it runs until it is cancelled."""
    left = list(errors)

    async def work() -> None:
        if left:
            raise left.pop(0)
        await anyio.sleep_forever()

    return work


async def test_a_task_that_returns_has_ended():
    tasks, done = Tasks("notes"), list[int]()

    async def once() -> None:
        done.append(1)

    tasks.start(once, "once")
    assert tasks.info() == [TaskInfo("once", "starting")]
    async with running(tasks):
        assert (done, tasks.info()) == ([1], [])
        tasks.start(once, "later")
        await anyio.wait_all_tasks_blocked()
        assert done == [1, 1]


async def test_a_task_that_fails_is_restarted_after_longer_and_longer(pauses: Slept):
    tasks = Tasks("notes")
    tasks.start(failing(*[ValueError()] * 9), "import")
    async with running(tasks):
        assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
        assert tasks.info()[0].state == "failing"
        assert tasks.info()[0].failures == 9
        assert "ValueError" in tasks.info()[0].error


async def test_a_task_that_fails_too_often_is_tried_rarely(pauses: Slept, logged: list[Any]):
    tasks = Tasks("notes")
    tasks.start(failing(*[ValueError("why")] * (MAX_FAULTS + 2)), "import")
    async with running(tasks):
        assert tasks.info()[0].state == "failed"
        assert tasks.info()[0].failures == MAX_FAULTS + 2
        assert pauses[MAX_FAULTS - 2 :] == [60, 300, 300, 300]
    said = [(each["log_level"], each["event"], each["plugin"], each["task"]) for each in logged]
    assert all(str(each["at"]).startswith(f"{__file__}:") for each in logged)
    assert all(each["exc_info"].__traceback__ is not None for each in logged)
    last = ("error", "a task failed", "notes", "import")
    assert said == [
        *[("warning", "a task failed", "notes", "import")] * (MAX_FAULTS - 1),
        *[last] * 3,
    ]


@pytest.mark.parametrize("error", [Unavailable("away"), OSError("reset")])
async def test_a_database_that_is_away_is_waited_for(
    pauses: Slept, logged: list[Any], error: Exception
):
    tasks = Tasks("notes")
    tasks.start(failing(*[error] * 100), "import")
    async with running(tasks):
        assert len(pauses) == 100
        assert (tasks.info()[0].state, tasks.info()[0].failures) == ("failing", 100)
    assert len(logged) == 100
    assert not any("exc_info" in each for each in logged), "it is no fault of the code"


async def test_a_failing_task_disturbs_no_other_one(pauses: Slept):
    tasks, done = Tasks("notes"), list[int]()

    async def work() -> None:
        done.append(1)
        await anyio.sleep_forever()

    tasks.start(failing(*[ValueError()] * 100), "bad")
    tasks.start(work, "good")
    async with running(tasks):
        assert [info.state for info in tasks.info()] == ["failed", "running"]


async def test_a_repeated_task_pauses_between_its_runs(pauses: Slept):
    tasks, runs = Tasks("notes"), list[int]()
    answers: list[float | None] = [None, 0.25, 0.0]

    async def sweep() -> float | None:
        runs.append(1)
        if not answers:
            await anyio.sleep_forever()
        return answers.pop(0)

    tasks.every(10, sweep, "sweep")
    async with running(tasks):
        assert len(runs) == 4
        assert 10 <= pauses[0] <= 11
        assert 0.25 <= pauses[1] <= 0.275
        assert pauses[2] == 0


async def test_a_run_without_a_failure_forgets_the_earlier_ones(pauses: Slept):
    tasks, outcomes = Tasks("notes"), iter([ValueError(), ValueError(), None, ValueError()])

    async def sweep() -> None:
        try:
            outcome = next(outcomes)
        except StopIteration:
            await anyio.sleep_forever()
        else:
            if outcome is not None:
                raise outcome

    tasks.every(7, sweep, "sweep")
    async with running(tasks):
        least = [0.5, 1, 7, 0.5]
        assert all(a <= b <= 1.1 * a for a, b in zip(least, pauses, strict=True))


async def test_one_process_leads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.06)
    leases, ran = Leases(), list[str]()

    def lead(process: str) -> Tasks:
        tasks = Tasks("notes")

        async def sweep() -> None:
            ran.append(process)
            await anyio.sleep_forever()

        tasks.every(1, sweep, "sweep", leader=True)
        return tasks

    one, two = lead("one"), lead("two")
    async with anyio.create_task_group() as group:
        async with running(one, leases):
            group.start_soon(two.run, leases)
            states = ["running", "standby"]
            await until(lambda: [task.info()[0].state for task in (one, two)] == states)
            assert ran == ["one"]
        with anyio.fail_after(60):
            while "two" not in ran:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert leases.holders == {}


def leading() -> tuple[Tasks, anyio.Event]:
    """A task that runs in one process of all and has no end, and an event that it was ended."""
    tasks, ended = Tasks("notes"), anyio.Event()

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    tasks.start(work, "import", leader=True)
    return tasks, ended


class Hanging(Leases):
    """It does not answer when it is asked to renew a lease."""

    async def execute(self, _: str, name: str, holder: str, seconds: float) -> bytes | None:
        if seconds and name in self.holders:
            await anyio.sleep_forever()
        return await super().execute(_, name, holder, seconds)


async def test_a_process_that_cannot_renew_its_lease_ends_the_task_before_another_has_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.3)
    tasks, ended = leading()
    async with running(tasks, Hanging()):
        with anyio.fail_after(60):
            await ended.wait()
            while not (info := tasks.info()[0]).failures:
                await anyio.sleep(0.01)
    assert (info.state, (info.error or "").split()[0]) == ("failing", "TimeoutError")


async def test_a_process_that_lost_its_lease_ends_the_task(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.06)
    leases, (tasks, ended) = Leases(), leading()
    async with running(tasks, leases):
        assert tasks.info()[0].state == "running"
        leases.holders["notes.import"] = "another"
        with anyio.fail_after(60):
            await ended.wait()
            leases.holders["notes.import"] = "another"
            while tasks.info()[0].state != "standby":
                await anyio.sleep(0.01)
