"""Calls that arrive while their worker is starting: they wait for it, within bounds."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from msgspec import structs

from kernel.public import ConcurrencyLimiter
from kernel.testing import Server
from plugins.workers.control.reconciler import Reconciler
from plugins.workers.replica.replica import Replica
from plugins.workers.service import SERVICE, WorkersService
from tests.plugins.workers.support import deployed, result, rpc, supervisor_of
from tests.waiting import eventually

FOREVER = 3600.0
"""Longer than any test: a call that waited for its time to pass would not return."""


@pytest.fixture
def service(workers: Server, monkeypatch: pytest.MonkeyPatch) -> WorkersService:
    """The service, whose calls wait until their worker is there."""
    service = workers.services.get(SERVICE)
    wait_for_good(service, monkeypatch, FOREVER)
    return service


def wait_for_good(service: WorkersService, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    config = structs.replace(service.host.config, start_wait=seconds)
    monkeypatch.setattr(service.host, "config", config)


@contextmanager
def held_back(
    server: Server, app: str, monkeypatch: pytest.MonkeyPatch
) -> Generator[threading.Event]:
    """End the worker of an app, and keep the next one from starting until the event is set."""
    opened, usual = threading.Event(), Replica.start
    pid = result(server.admin, app, "pid")

    async def later(self: Replica, seconds: float) -> None:
        while not opened.is_set():
            await asyncio.sleep(0.01)
        await usual(self, seconds)

    monkeypatch.setattr(Replica, "start", later)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: supervisor_of(server, app).usable is None)
    try:
        yield opened
    finally:
        opened.set()


def waiting(service: WorkersService) -> int:
    return service._early_calls._active


def test_a_call_waits_for_a_worker_that_is_starting(
    workers: Server, service: WorkersService, monkeypatch: pytest.MonkeyPatch
):
    app = deployed(workers)
    with ThreadPoolExecutor(3) as pool, held_back(workers, app, monkeypatch) as opened:
        calls: list[Future[httpx.Response]] = [
            pool.submit(rpc, workers.admin, app, "echo", {"n": n}) for n in range(3)
        ]
        eventually(lambda: waiting(service) == 3, why=lambda: waiting(service))
        opened.set()
        assert [call.result(30).json() for call in calls] == [{"n": n} for n in range(3)]
    assert waiting(service) == 0


def test_a_call_waits_until_a_server_that_starts_knows_its_workers(
    workers: Server, service: WorkersService, monkeypatch: pytest.MonkeyPatch
):
    app = deployed(workers)
    reconciler: Reconciler = service.reconciler
    known = reconciler.supervisors
    monkeypatch.setattr(reconciler, "supervisors", {})
    monkeypatch.setattr(reconciler, "_rows_were_read", asyncio.Event())
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(rpc, workers.admin, app, "echo", {"n": 1})
        eventually(lambda: waiting(service) == 1)

        async def follow() -> None:
            reconciler.supervisors = known
            reconciler._rows_were_read.set()

        workers.run(follow)
        assert call.result(30).json() == {"n": 1}


def test_a_call_does_not_wait_for_a_worker_that_was_stopped(
    workers: Server, service: WorkersService
):
    app = deployed(workers)
    assert workers.admin.post(f"/api/v1/apps/{app}/worker/stop").status_code == 200
    assert refusal(workers, app) == f"the worker of app '{app}' is not running"


def test_a_stop_ends_the_wait(
    workers: Server, service: WorkersService, monkeypatch: pytest.MonkeyPatch
):
    app = deployed(workers)
    with ThreadPoolExecutor(1) as pool, held_back(workers, app, monkeypatch):
        call = pool.submit(rpc, workers.login("admin"), app, "echo")
        eventually(lambda: waiting(service) == 1)
        assert workers.admin.post(f"/api/v1/apps/{app}/worker/stop").status_code == 200
        assert call.result(30).status_code == 503


def test_no_call_waits_for_longer_than_its_time_or_beside_too_many_others(
    workers: Server, service: WorkersService, monkeypatch: pytest.MonkeyPatch
):
    app = deployed(workers)
    full = "too many calls wait"
    monkeypatch.setattr(service, "_early_calls", ConcurrencyLimiter(per_key=1, message=full))
    with ThreadPoolExecutor(1) as pool, held_back(workers, app, monkeypatch) as opened:
        call = pool.submit(rpc, workers.login("admin"), app, "echo", {"n": 1})
        eventually(lambda: waiting(service) == 1)
        assert refusal(workers, app) == full
        opened.set()
        assert call.result(30).json() == {"n": 1}
    wait_for_good(service, monkeypatch, 0.05)
    with held_back(workers, app, monkeypatch):
        assert refusal(workers, app) == f"the worker of app '{app}' is not running"


def refusal(server: Server, app: str) -> Any:
    """The words of a 503, which also says when to come back."""
    answer = rpc(server.admin, app, "echo")
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    return answer.json()["error"]
