"""Jobs that reach a worker together: one message where it reads those, else one each."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kernel.testing import Server, running_server
from tests.plugins.jobs.support import QUICK, ended, enqueue, job_of, row_of
from tests.plugins.workers import support
from tests.plugins.workers.support import deployed, result
from tests.waiting import eventually

NOTED = """
import os
noted, read = [], os.read
def note(fd, size):
    noted.append(read(fd, size))
    return noted[-1]
os.read = note
"""
WORKER = f"""
import asyncio
{NOTED}
from caudex_worker import Worker

worker = Worker()

@worker.rpc
def lines(params, ctx):
    return b"".join(noted).decode().splitlines()

@worker.job
async def work(payload, ctx):
    if payload.get("die"):
        os._exit(7)
    while payload.get("waits") and not ctx.cancelled:
        await asyncio.sleep(0.02)
    return [payload["n"], ctx.cancelled, ctx.username]

worker.run()
"""
BY_HAND = """
import json, sys
lines = []
def say(**message): print(json.dumps(message), flush=True)
for line in sys.stdin:
    lines.append(line)
    message = json.loads(line)
    if message["type"] == "discover": say(type="discover", methods=["lines"] {batches})
    if message["type"] == "rpc": say(type="rpc_response", id=message["id"], result=lines)
    if message["type"] == "job": say(type="job_result", id=message["id"], result=message["payload"])
"""


@pytest.fixture(scope="module")
def server(postgres):
    plugins = {"workers": {**support.QUICK, "shutdown_wait": 1}, "jobs": QUICK}
    with running_server(postgres, {"plugins": plugins}) as running:
        yield running


@pytest.fixture
def work_off(server: Server) -> Callable[..., list[str]]:
    """Enqueue jobs of an app whose worker starts afterwards, so that one claim takes them."""

    def work_off(app: str, payloads: Sequence[Any]) -> list[str]:
        path = f"/api/v1/apps/{app}/worker"
        ended(server, app, enqueue(server, app, {"n": -1}))  # later ones need not load the caller
        server.admin.post(f"{path}/stop").raise_for_status()
        ids = [enqueue(server, app, payload) for payload in payloads]
        server.admin.post(f"{path}/start").raise_for_status()
        return ids

    return work_off


def messages(server: Server, app: str) -> list[dict[str, Any]]:
    """What the worker has read about jobs since its start."""
    heard = [json.loads(line) for line in result(server.admin, app, "lines")]
    return [message for message in heard if message["type"].startswith("job")]


def test_the_jobs_of_a_claim_are_one_line(server, work_off):
    app = deployed(server, WORKER)
    ids = work_off(app, [{"n": n} for n in range(6)])
    for n, job_id in enumerate(ids):
        job = ended(server, app, job_id)
        assert (job["status"], job["result"]) == ("completed", [n, False, "admin"])
    [message] = messages(server, app)
    assert message["type"] == "jobs"
    assert sorted(job["id"] for job in message["jobs"]) == sorted(ids)
    assert {tuple(job) for job in message["jobs"]} == {("id", "payload", "caller")}
    assert {job["caller"]["username"] for job in message["jobs"]} == {"admin"}


def test_a_job_alone_is_a_line_of_its_own(server):
    app = deployed(server, WORKER)
    job_id = enqueue(server, app, {"n": 1})
    assert ended(server, app, job_id)["result"] == [1, False, "admin"]
    assert [(one["type"], one["id"]) for one in messages(server, app)] == [("job", job_id)]


@pytest.mark.parametrize("batches", ["", ", batches=False", ", batches='true'", ", batches=[1]"])
def test_a_worker_that_does_not_say_that_it_reads_batches_gets_none(server, work_off, batches: str):
    app = deployed(server, BY_HAND.replace("{batches}", batches))
    ids = work_off(app, [{"n": n} for n in range(6)])
    for n, job_id in enumerate(ids):
        assert ended(server, app, job_id)["result"] == {"n": n}
    assert [message["type"] for message in messages(server, app)] == ["job"] * 6


def test_jobs_of_a_batch_settle_one_by_one_and_can_be_cancelled(server, work_off):
    app = deployed(server, WORKER)
    first, waits, last = work_off(app, [{"n": 1}, {"n": 2, "waits": True}, {"n": 3}])
    assert [ended(server, app, job_id)["status"] for job_id in (first, last)] == ["completed"] * 2
    assert job_of(server, app, waits)["status"] == "running"
    server.admin.post(f"/api/v1/apps/{app}/jobs/{waits}/cancel").raise_for_status()
    job = ended(server, app, waits)
    assert (job["status"], job["result"]) == ("cancelled", [2, True, "admin"])
    assert [message["type"] for message in messages(server, app)] == ["jobs", "job_cancel"]


def crash(server: Server, app: str, work_off: Callable[..., list[str]]) -> list[tuple[Any, ...]]:
    """Crash a worker in the middle of a claim; return what the table has of its jobs then."""
    ids = work_off(app, [{"n": n, "die": n == 2} for n in range(5)])
    [*_, killer] = jobs = [ended(server, app, ids[n], 40) for n in (0, 1, 3, 4, 2)]
    assert [job["status"] for job in jobs] == ["completed"] * 4 + ["failed"]
    assert "while this job ran alone" in killer["error"]
    return [row_of(server, i, "attempts", "failures", "worker_crashes", "quarantined") for i in ids]


@pytest.mark.slow
def test_a_crash_in_a_batch_counts_as_one_among_single_jobs(server, work_off):
    together = deployed(server, WORKER)
    single = deployed(server, WORKER.replace("worker.run", "NO_BATCHES\nworker.run").replace(
        "NO_BATCHES",
        "say = worker.say\n"
        "worker.say = lambda message: say({**message, 'batches': None})",
    ))  # fmt: skip
    rows = crash(server, together, work_off)
    assert rows == crash(server, single, work_off)
    assert [row[0] for row in rows[:2]] == [1, 1], "outcomes before the crash are stored"
    assert [row[1] for row in rows] == [0] * 5


def test_a_number_that_python_does_not_read_stops_no_neighbour(server, work_off):
    app = deployed(server, WORKER)
    digits = b'{"payload": {"n": %s}}' % (b"7" * 5000)
    server.admin.post(f"/api/v1/apps/{app}/worker/stop").raise_for_status()
    path = f"/api/v1/apps/{app}/jobs"
    odd = server.admin.post(path, content=digits, headers={"content-type": "application/json"})
    ids = [enqueue(server, app, {"n": n}) for n in range(3)]
    server.admin.post(f"/api/v1/apps/{app}/worker/start").raise_for_status()
    assert [ended(server, app, job_id)["result"][0] for job_id in ids] == [0, 1, 2]
    eventually(lambda: row_of(server, odd.json()["job_id"], "status") == ("failed",))
