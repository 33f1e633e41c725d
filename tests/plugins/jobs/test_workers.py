"""Jobs in real workers: processes of Python that end in every way a process can."""

import os
import signal
import time

import pytest

from kernel.testing import running_server
from tests.plugins.jobs.support import QUICK, all_ended, ended, enqueue, job_of, row_of
from tests.plugins.workers import support
from tests.plugins.workers.support import deploy, deployed
from tests.waiting import eventually

SHORT = {**support.QUICK, "shutdown_wait": 1}
WORKER = """
import asyncio, os, time
from caudex_worker import Worker

worker = Worker()

@worker.job("greet")
def greet(payload, ctx):
    return {"hello": payload["name"], "by": ctx.username}

@worker.job("nothing")
async def nothing(payload, ctx):
    pass

@worker.job("fail")
async def fail(payload, ctx):
    raise ValueError("no such customer")

@worker.job("sleep")
async def sleep(payload, ctx):
    if payload.get("only_in", os.getpid()) == os.getpid():
        await asyncio.sleep(payload["seconds"])
    return os.getpid()

@worker.job("hang")
def hang(payload, ctx):
    time.sleep(1000)

@worker.job("die")
def die(payload, ctx):
    time.sleep(0.1)
    os._exit(7)

@worker.job("steps")
async def steps(payload, ctx):
    ctx.progress({"step": 1})
    while not ctx.cancelled:
        await asyncio.sleep(0.02)
    return "stopped in time"

@worker.job("count")
def count(payload, ctx):
    for n in range(payload["to"] + 1):
        ctx.progress(n)

worker.run()
"""


@pytest.fixture(scope="module")
def server(postgres):
    plugins = {"workers": SHORT, "jobs": {**QUICK, "cancel_grace": 3}}
    with running_server(postgres, {"plugins": plugins}) as running:
        yield running


@pytest.fixture
def app(server):
    return deployed(server, WORKER)


def pids(server, app, count):
    """Run jobs and return the processes that they ran in."""
    ids = [enqueue(server, app, {"type": "sleep", "seconds": 0}) for _ in range(count)]
    return {ended(server, app, job_id)["result"] for job_id in ids}


def running(server, app, job_id):
    eventually(lambda: job_of(server, app, job_id)["status"] == "running")
    time.sleep(0.1)


def test_handlers_take_jobs_by_their_type(server, app):
    job = ended(server, app, enqueue(server, app, {"type": "greet", "name": "Ada"}))
    assert (job["status"], job["result"]) == ("completed", {"hello": "Ada", "by": "admin"})
    job = ended(server, app, enqueue(server, app, {"type": "nothing"}))
    assert (job["status"], job["result"]) == ("completed", None)


@pytest.mark.parametrize("payload", [{"type": "unheard"}, {"no": "type"}, [1], "text", None, 5])
def test_a_job_that_no_handler_takes_fails_and_says_so(server, app, payload):
    job = ended(server, app, enqueue(server, app, payload))
    assert job["status"] == "failed"
    assert "no handler takes this job" in job["error"]


def test_an_error_is_the_jobs_and_progress_and_cancelling_reach_the_handler(server, app):
    job = ended(server, app, enqueue(server, app, {"type": "fail"}))
    assert (job["status"], job["error"]) == ("failed", "no such customer")
    job_id = enqueue(server, app, {"type": "steps"})
    eventually(lambda: job_of(server, app, job_id)["progress"] == {"step": 1})
    server.admin.post(f"/api/v1/apps/{app}/jobs/{job_id}/cancel").raise_for_status()
    job = ended(server, app, job_id)
    assert (job["status"], job["result"]) == ("cancelled", "stopped in time")


def test_what_a_handler_reported_last_is_what_its_job_shows_in_the_end(server, app):
    jobs = {enqueue(server, app, {"type": "count", "to": n}): n for n in range(20)}
    for job_id, last in jobs.items():
        assert ended(server, app, job_id)["progress"] == last


def test_a_worker_that_is_killed_loses_no_job(server, app):
    [pid] = pids(server, app, 1)
    slow = {"type": "sleep", "seconds": 600, "only_in": pid}
    ids = [enqueue(server, app, slow) for _ in range(6)]
    eventually(lambda: all(job_of(server, app, i)["status"] == "running" for i in ids))
    os.kill(pid, signal.SIGKILL)
    jobs = [ended(server, app, job_id, 15) for job_id in ids]
    assert [(job["status"], job["attempts"]) for job in jobs] == [("completed", 2)] * 6
    assert pid not in {job["result"] for job in jobs}


@pytest.mark.slow
def test_a_handler_that_kills_its_process_fails_and_leaves_the_others_be(server, app):
    innocent = [enqueue(server, app, {"type": "sleep", "seconds": 0.3}) for _ in range(3)]
    poison = enqueue(server, app, {"type": "die"})
    innocent += [enqueue(server, app, {"type": "sleep", "seconds": 0.3}) for _ in range(3)]
    job = ended(server, app, poison, 40)  # four starts of a process
    assert job["status"] == "failed"
    assert "while this job ran alone" in job["error"]
    assert job["attempts"] in (3, 4)
    for job_id in innocent:
        assert ended(server, app, job_id)["status"] == "completed"


@pytest.mark.slow
def test_a_hanging_handler_costs_the_worker_its_process_and_its_places_come_back(server, app):
    [pid] = pids(server, app, 1)
    ids = [enqueue(server, app, {"type": "hang"}, timeout_s=0.3) for _ in range(10)]
    after = enqueue(server, app, {"type": "sleep", "seconds": 0})
    for job_id in ids:
        job = ended(server, app, job_id, 20)
        assert (job["status"], job["error"]) == ("failed", "timed out after 0.3 s")
    job = ended(server, app, after, 20)
    assert job["status"] == "completed"
    assert job["result"] != pid


@pytest.mark.slow
def test_a_deploy_gives_jobs_to_the_new_worker_without_suspicion(server, app):
    slow = enqueue(server, app, {"type": "sleep", "seconds": 600})
    running(server, app, slow)
    changed = WORKER.replace('payload["seconds"]', "0")
    assert deploy(server.admin, app, {"worker.py": changed}).status_code == 200
    job = ended(server, app, slow, 15)
    assert (job["status"], job["attempts"]) == ("completed", 2)
    assert row_of(server, slow, "worker_crashes", "failures") == (0, 0)


@pytest.mark.slow
def test_jobs_wait_while_the_worker_is_stopped(server, app):
    slow = enqueue(server, app, {"type": "steps"})
    running(server, app, slow)
    server.admin.post(f"/api/v1/apps/{app}/worker/stop").raise_for_status()
    eventually(lambda: row_of(server, slow, "status", "quarantined") == ("pending", False))
    other = enqueue(server, app, {"type": "sleep", "seconds": 0})
    time.sleep(0.5)
    assert job_of(server, app, other)["status"] == "pending"
    server.admin.post(f"/api/v1/apps/{app}/worker/start").raise_for_status()
    assert ended(server, app, other)["status"] == "completed"
    server.admin.post(f"/api/v1/apps/{app}/jobs/{slow}/cancel").raise_for_status()
    ended(server, app, slow)


@pytest.mark.slow
def test_a_server_that_stops_lets_jobs_end_before_it_stops_their_worker(make_server):
    server = make_server({"plugins": {"workers": SHORT, "jobs": {**QUICK, "drain": 5}}})
    app = deployed(server, WORKER)
    ids = [enqueue(server, app, {"type": "sleep", "seconds": 1}) for _ in range(3)]
    eventually(lambda: all(job_of(server, app, i)["status"] != "pending" for i in ids))
    server.stop()
    for job_id in ids:
        assert row_of(server, job_id, "status", "attempts") == ("completed", 1)


@pytest.mark.slow
def test_two_servers_run_every_job_once_each_in_a_worker_of_its_own(make_server, tmp_path):
    plugins = {"plugins": {"workers": SHORT, "jobs": QUICK}}
    one = make_server(plugins, data_dir=tmp_path / "one")
    (tmp_path / "two").mkdir()
    os.system(f"cp -r {tmp_path}/one/config {tmp_path}/two/")
    two = make_server(plugins, dsn=one.dsn, data_dir=tmp_path / "two")
    app = deployed(one, WORKER)
    status = f"/api/v1/apps/{app}/worker/status"
    two_admin = two.login("admin")
    eventually(lambda: two_admin.get(status).json()["replicas"] == 2, 15)
    ids = list[str]()
    workers = set[object]()
    for _ in range(10):  # a busy machine can leave the first ones to one of them
        # The first ones are more than one worker has places for.
        naps = [1.0] * 20 + [0.02] * 130
        ids += [enqueue(one, app, {"type": "sleep", "seconds": nap}) for nap in naps]
        all_ended(one, app)
        workers = {job_of(one, app, job_id)["result"] for job_id in ids}
        if len(workers) == 2:
            break
    query = "select status, attempts from caudex_jobs.jobs where app_id = %s group by 1, 2"
    assert one.sql(query, app) == [("completed", 1)]
    assert len(workers) == 2
