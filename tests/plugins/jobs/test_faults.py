"""Errors of PostgreSQL, such as a damaged page, end no loop."""

from typing import Any

import anyio
import psycopg
import pytest

from kernel.public import JOBS, Tasks, Unavailable
from kernel.testing import MakeServer
from plugins.jobs import maintenance
from plugins.jobs.config import JobsConfig
from plugins.jobs.enqueue import PENDING, TOPIC, PendingNotifier
from plugins.jobs.maintenance import Maintenance
from plugins.jobs.models import Progress
from plugins.jobs.running.results import ResultBatcher
from tests.plugins.jobs.support import ended, enqueue, install, overrides
from tests.waiting import eventually

FAULTS = [
    psycopg.errors.DataCorrupted("invalid page in block 7"),
    psycopg.errors.InsufficientPrivilege("permission denied for table jobs"),
    Unavailable("the database is away"),
]


class Failing:
    """A method that raises each of the faults once, then works."""

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
    async def execute(self, *_: object) -> bytes:
        return b"true"


class Notifications:
    def __init__(self) -> None:
        self.announce = Failing()


@pytest.mark.slow
async def test_expired_leases_and_old_jobs_are_read_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maintenance, "PRUNE_EVERY", 0.01)
    store, notified = Store(), list[str]()
    config = JobsConfig(lease=0.06)
    tasks = Tasks("jobs")
    Maintenance(config, store, notified.append).start(tasks)  # type: ignore[arg-type]
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(tasks.run, Statements())
            await store.expire.done.wait()
            await store.prune.done.wait()
            await anyio.sleep(0.05)
            group.cancel_scope.cancel()
    assert set(notified) == {"crm"}


async def test_other_servers_are_notified_of_later_jobs():
    statements, notifications = Statements(), Notifications()
    notifier = PendingNotifier(notifications, statements)  # type: ignore[arg-type]
    async with notifier.running():
        with anyio.fail_after(30):
            while not notifications.announce.done.is_set():
                notifier.notify_pending("crm")
                await anyio.sleep(0.01)
    assert notifications.announce.calls[0] == (statements, TOPIC, f"{PENDING}crm")


async def test_progress_is_stored_later():
    store = Store()
    results = ResultBatcher(store, lambda _: None)  # type: ignore[arg-type]
    while not store.report.done.is_set():
        results.report(Progress("1", "token", "0.5"))
        await results.store_progress()
    assert store.report.calls == [([Progress("1", "token", "0.5")],)]


@pytest.mark.slow
def test_a_server_outlives_them(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch):
    server = make_server(overrides(lease=1.0))
    app = install(server)
    failing = Failing([])
    monkeypatch.setattr(server.services.get(JOBS)._runs, "expire", failing)  # type: ignore[attr-defined]
    eventually(lambda: failing.calls)
    assert server.http.get("/health").status_code == 200
    assert ended(server, app, enqueue(server, app))["status"] == "completed"
