"""What PostgreSQL refuses that is nobody's fault (a page is damaged) ends no loop."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import psycopg
import pytest

from kernel.public import JOBS, Unavailable
from kernel.testing import MakeServer
from plugins.jobs import announcer, outbox, upkeep
from plugins.jobs.announcer import DUE, Announcer
from plugins.jobs.config import JobsConfig
from plugins.jobs.models import Step
from plugins.jobs.outbox import Outbox
from plugins.jobs.upkeep import Upkeep
from tests.plugins.jobs.support import ended, enqueue, install, overrides
from tests.waiting import eventually

FAULTS = [
    psycopg.errors.DataCorrupted("invalid page in block 7"),
    psycopg.errors.InsufficientPrivilege("permission denied for table jobs"),
    Unavailable("the database is away"),
]


class Failing:
    """A method that fails as often as there are faults, then does what it is for."""

    def __init__(self, result: Any = None) -> None:
        self._faults = list(FAULTS)
        self._result = result
        self.calls: list[Any] = []
        self.done = anyio.Event()

    async def __call__(self, *arguments: Any) -> Any:
        if self._faults:
            raise self._faults.pop(0)
        self.calls.append(arguments)
        self.done.set()
        return self._result


class Store:
    def __init__(self) -> None:
        self.expire = Failing(["crm"])
        self.prune = Failing(0)
        self.report = Failing()


class Statements:
    def __init__(self) -> None:
        self.publish = Failing()

    async def run(self, _: object, work: Callable[[Any], Awaitable[None]]) -> None:
        await work(self)


async def test_leases_and_old_jobs_are_looked_at_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upkeep, "PRUNE_EVERY", 0.01)
    store, told = Store(), list[str]()
    config = JobsConfig(lease=0.06)
    with anyio.fail_after(5):
        async with Upkeep(config, store, told.append).running():  # type: ignore[arg-type]
            await store.expire.done.wait()
            await store.prune.done.wait()
            await anyio.sleep(0.05)
    assert set(told) == {"crm"}


async def test_others_are_told_of_later_jobs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(announcer, "PAUSE", 0.01)
    statements = Statements()
    told = Announcer(statements)  # type: ignore[arg-type]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(told.run)
        with anyio.fail_after(5):
            while not statements.publish.done.is_set():
                told.announce("crm")
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert statements.publish.calls[0] == (announcer.TOPIC, f"{DUE}crm")


async def test_progress_is_stored_later(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbox, "REPORT_EVERY", 0.01)
    store = Store()
    box = Outbox(store, lambda _: None)  # type: ignore[arg-type]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(box.run_reports)
        with anyio.fail_after(5):
            while not store.report.done.is_set():
                box.report(Step("1", "token", "0.5"))
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert store.report.calls == [([Step("1", "token", "0.5")],)]


def test_a_server_outlives_them(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch):
    server = make_server(overrides(lease=1.0))
    app = install(server)
    failing = Failing([])
    monkeypatch.setattr(server.services.get(JOBS)._store, "expire", failing)  # type: ignore[attr-defined]
    eventually(lambda: failing.calls)
    assert server.http.get("/health").status_code == 200
    assert ended(server, app, enqueue(server, app))["status"] == "completed"
