"""The worker of an app that is uninstalled: what it can still do, and for how long."""

from __future__ import annotations

import itertools
from collections.abc import Generator

import pytest

from kernel.public import LOGS
from kernel.testing import Postgres, Server, running_server
from plugins.workers.child.protocol import CollectionOp, OpResult
from plugins.workers.control.reconciler import Reconciler
from plugins.workers.replica.operations import RecordOperations
from tests.plugins.workers.support import (
    PYTHON,
    QUICK,
    deploy,
    deployed,
    processes_of,
    result,
    rpc,
    status,
)
from tests.waiting import eventually

PATIENT = {**QUICK, "rpc_timeout": 300, "shutdown_wait": 300, "term_wait": 300}
"""Longer than any test waits: any caller that is gone before was killed."""

_count = itertools.count(1)

SOON = 30.0
"""Seconds; a kill takes a few milliseconds, on a machine that has time."""

FORMER = "said by the former one"

STUBBORN = """
import itertools, json, signal, sys, threading, time

signal.signal(signal.SIGTERM, signal.SIG_IGN)

def say(message):
    sys.stdout.write(json.dumps(message) + "\\n")
    sys.stdout.flush()

def insert():
    for count in itertools.count():
        if count % 20 == 0:
            say({"type": "log", "level": "info", "message": "said by the former one"})
        say({"type": "collection_op", "id": f"o{count}", "op": "insert", "entity": "contacts",
             "data": {"name": "of the former one"}})
        time.sleep(0.002)

threading.Thread(target=insert, daemon=True).start()
for line in sys.stdin:
    reported = json.loads(line)
    if reported["type"] == "discover":
        say({"type": "discover", "methods": []})
time.sleep(600)
"""


@pytest.fixture(scope="module")
def patient(postgres: Postgres) -> Generator[Server]:
    """A server that would give workers minutes to end."""
    with running_server(postgres, {"plugins": {"workers": PATIENT}}) as running:
        yield running


def reinstall(server: Server, app: str) -> None:
    """Remove an app and install another one of its name at once."""
    contacts = {"entityName": "contacts", "fields": [{"name": "name", "type": "text"}]}
    manifest = {"appId": app, "name": app, "dataContract": [contacts]}
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    assert server.admin.post("/api/v1/apps", json=manifest).status_code == 200


def is_gone(server: Server, app: str) -> None:
    """Wait until no process of an app lives."""
    eventually(lambda: not processes_of(server, app), SOON)


def rows(server: Server, app: str) -> int:
    [(count,)] = server.sql(f"select count(*) from {app}.contacts")
    return count


def lines(server: Server, app: str) -> list[str]:
    """What is in an app's log once all is stored that was written until now."""
    query = "select message from caudex_logs.lines where app_id = %s"
    last = f"last{next(_count)}"

    async def write() -> None:
        server.services.get(LOGS).write("core", "info", last)  # lines are stored in order

    server.run(write)
    eventually(lambda: (last,) in server.sql(query, "core"), SOON)
    return [text for (text,) in server.sql(query, app)]


@pytest.mark.slow
def test_a_worker_that_will_not_end_is_killed_with_its_app(patient: Server):
    app = deployed(patient, STUBBORN)
    eventually(lambda: rows(patient, app), SOON)
    eventually(lambda: FORMER in lines(patient, app), SOON)
    reinstall(patient, app)
    is_gone(patient, app)
    assert rows(patient, app) == 0
    assert FORMER not in lines(patient, app)
    assert deploy(patient.admin, app, {"worker.py": PYTHON}).status_code == 200
    assert result(patient.admin, app, "echo", 1) == 1


def test_so_is_one_that_retires_already(patient: Server):
    app = deployed(patient, STUBBORN)
    [stubborn] = eventually(lambda: processes_of(patient, app), SOON)
    assert deploy(patient.admin, app, {"worker.py": PYTHON}).status_code == 200
    assert result(patient.admin, app, "pid") != stubborn
    assert stubborn in processes_of(patient, app)
    assert patient.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    is_gone(patient, app)


@pytest.mark.slow
def test_one_that_no_one_has_killed_yet_does_nothing_in_the_next_app_of_its_name(
    patient: Server, monkeypatch: pytest.MonkeyPatch
):
    """The server has not heard that the former app went, and only knows which one there is."""
    refused: list[str] = []
    usual = RecordOperations.answer

    async def answer(self: RecordOperations, op: CollectionOp) -> OpResult:
        said = await usual(self, op)
        if isinstance(said.error, str):
            refused.append(said.error)
        return said

    async def deaf(*_: object) -> None: ...

    app = deployed(patient, STUBBORN)
    eventually(lambda: rows(patient, app), SOON)
    with monkeypatch.context() as patch:
        patch.setattr(RecordOperations, "answer", answer)
        patch.setattr(Reconciler, "_follow", deaf)
        patch.setattr(Reconciler, "end_worker", lambda *_: None)
        reinstall(patient, app)
        refused.clear()
        eventually(lambda: len(refused) > 50, SOON)
        assert processes_of(patient, app)
        assert rows(patient, app) == 0
        answered = rpc(patient.admin, app, "echo")
        assert answered.status_code == 503, answered.text
    is_gone(patient, app)
    eventually(lambda: status(patient.admin, app)["status"] == "stopped", SOON)
