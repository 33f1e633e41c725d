"""Several servers on one database, and what is left when one of them goes."""

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import psycopg
import pytest

from kernel.public import JOBS, Unavailable
from kernel.testing import running_server
from plugins.jobs.running import runner
from tests.kernel.processes import Served, write_config
from tests.plugins.jobs import dying
from tests.plugins.jobs.support import (
    all_ended,
    become,
    ended,
    enqueue,
    fake,
    forever,
    install,
    job_of,
    overrides,
    row_of,
)
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def both(postgres, tmp_path_factory):
    """Two servers on one database that find jobs by notifications only."""
    folder, config = tmp_path_factory.mktemp("both"), overrides(poll_interval=60, lease=3600)
    with (
        running_server(postgres, config, data_dir=folder) as one,
        running_server(postgres, config, dsn=one.dsn, data_dir=folder) as two,
    ):
        assert one.admin
        yield one, two, two.login("admin")


@pytest.fixture
def pair(make_server, tmp_path):
    """Make two servers on one database."""

    def make(**jobs):
        one = make_server(overrides(**jobs), data_dir=tmp_path)
        two = make_server(overrides(**jobs), dsn=one.dsn, data_dir=tmp_path)
        return one, two

    return make


@pytest.mark.slow
def test_every_job_runs_exactly_once_on_one_of_them(both):
    one, two, second = both
    app = install(one, running=(one, two))
    ran, most = Counter(), Counter()

    def handler(server):
        async def handle(job):
            ran[job.payload] += 1
            most[server.url] = max(most[server.url], len(fake(server).under_way))
            await anyio.sleep(0.005)
            return job.payload

        return handle

    for server in (one, two):
        fake(server).handler = handler(server)
    clients = [one.admin, second]
    eventually(lambda: second.get(f"/api/v1/apps/{app}/jobs").status_code == 200)

    def put(n):
        answer = clients[n % 2].post(f"/api/v1/apps/{app}/jobs", json={"payload": n})
        assert answer.status_code == 201, answer.text

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(600)))
    all_ended(one, app)
    assert ran == Counter(range(600))
    rows = one.sql(
        "select status, attempts, count(*) from caudex_jobs.jobs where app_id = %s group by 1, 2",
        app,
    )
    assert rows == [("completed", 1, 600)]
    assert len(most) == 2
    assert max(most.values()) <= 10


@pytest.mark.slow
def test_a_server_without_the_worker_takes_jobs_for_one_that_has_it(both):
    one, two, _ = both
    fake(two).handler = fake(two).nothing
    app = install(one, running=(two,))
    ended(one, app, enqueue(one, app))
    started = time.perf_counter()
    waits = []
    for _ in range(10):
        started = time.perf_counter()
        ended(one, app, enqueue(one, app))
        waits.append(time.perf_counter() - started)
        time.sleep(0.1)
    assert sorted(waits)[1] < 0.2  # a busy machine holds most of them up


def test_a_job_is_cancelled_from_a_server_that_does_not_run_it(both):
    one, two, _ = both
    app = install(one, running=(two,))

    async def handle(job):
        await job.cancelled.wait()

    fake(two).handler = handle
    job_id = enqueue(one, app)
    eventually(lambda: job_id in fake(two).under_way)
    one.admin.post(f"/api/v1/apps/{app}/jobs/{job_id}/cancel").raise_for_status()
    assert ended(one, app, job_id)["status"] == "cancelled"  # the heartbeat is far off


def test_one_key_is_one_job_at_whichever_server(both):
    one, _, second = both
    app = install(one, running=())
    clients = [one.admin, second]
    eventually(lambda: second.get(f"/api/v1/apps/{app}/jobs").status_code == 200)

    def put(n):
        body = {"payload": n, "key": f"k{n % 3}"}
        return clients[n % 2].post(f"/api/v1/apps/{app}/jobs", json=body).json()["job_id"]

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(put, range(60)))
    assert len(set(made)) == 3
    assert one.sql("select count(*) from caudex_jobs.jobs where app_id = %s", app) == [(3,)]


@pytest.mark.slow
def test_a_server_that_stops_lets_its_jobs_end(make_server, tmp_path):
    one = make_server(overrides(drain=10), data_dir=tmp_path)
    app, together = install(one), anyio.Event()

    async def handle(job):
        if len(fake(one).under_way) == 5:
            together.set()
        await together.wait()
        await anyio.sleep(0.5)
        return "done"

    fake(one).handler = handle
    ids = [enqueue(one, app, n) for n in range(5)]
    eventually(together.is_set)
    one.stop()
    for job_id in ids:
        assert row_of(one, job_id, "status", "attempts") == ("completed", 1)


@pytest.mark.slow
def test_a_server_that_stops_gives_back_at_once_what_does_not_end(pair):
    one, two = pair(lease=3600, drain=0.3)
    app = install(one, running=(one,))
    fake(one).handler = forever
    fake(two).handler = fake(two).nothing
    ids = [enqueue(one, app, n) for n in range(3)]
    eventually(lambda: len(fake(one).under_way) == 3)
    jobs = list(fake(one).under_way.values())
    become(two, app, "running")
    one.stop()
    assert all(job.cancelled.is_set() for job in jobs)
    all_ended(two, app)
    for job_id in ids:
        row = row_of(two, job_id, "status", "attempts", "quarantined", "worker_crashes")
        assert row == ("completed", 2, False, 0)


@pytest.mark.slow
def test_what_a_server_held_that_was_killed_runs_again_when_the_lease_ends(make_server, tmp_path):
    server = make_server(overrides(lease=4.0), data_dir=tmp_path)
    app = install(server, running=())
    switched = overrides()["plugins"]
    tables = {f"plugins.{name}": table for name, table in switched.items()}
    config = {
        "server": {"data_dir": str(tmp_path), "plugin_files": [str(Path(dying.__file__))]},
        "database": {"url": server.dsn},
        **tables,
        "plugins.jobs": {"lease": 4.0},
    }
    folder = tmp_path / "killed"
    folder.mkdir()
    path = write_config(folder, config)
    ids = [enqueue(server, app, n) for n in range(3)]
    env = {dying.APP: app, "PYTHONPATH": str(ROOT)}
    with Served("--config", str(path), cwd=folder, env=env) as other:
        running = "select count(*) from caudex_jobs.jobs where status = 'running' and app_id = %s"
        eventually(lambda: server.sql(running, app) == [(3,)], 20)
        leases = (
            "select min(lease_until) from caudex_jobs.jobs where status = 'running' and app_id = %s"
        )
        [(first,)] = server.sql(leases, app)
        eventually(lambda: (found := server.sql(leases, app)[0][0]) and found > first, 20)
        assert server.sql(running, app) == [(3,)], "its heartbeat keeps the leases"
        os.kill(other.process.pid, signal.SIGKILL)
        other.process.wait()
    lone = []

    async def handle(job):
        lone.append(len(fake(server).under_way))
        await anyio.sleep(0.05)
        return "done"

    fake(server).handler = handle
    become(server, app, "running")
    all_ended(server, app)
    for job_id in ids:
        job = job_of(server, app, job_id)
        assert (job["status"], job["attempts"]) == ("completed", 2)
    assert lone == [1, 1, 1]


@pytest.mark.slow
def test_a_server_that_was_cut_off_finds_its_leases_gone_and_changes_nothing(pair, monkeypatch):
    one, two = pair(lease=3.0)
    app = install(one, running=(one,))
    gate = anyio.Event()

    async def slow(job):
        await gate.wait()
        return "too late"

    async def quick(job):
        return "in time"

    fake(one).handler, fake(two).handler = slow, quick
    job_id = enqueue(one, app)
    eventually(lambda: job_id in fake(one).under_way)

    async def away(*_: object):
        raise Unavailable("the database is away")

    store = one.services.get(JOBS)._runs
    for name in ("renew", "claim", "expire"):
        monkeypatch.setattr(store, name, away)
    become(two, app, "running")
    job = ended(one, app, job_id, 20)
    assert (job["result"], job["attempts"]) == ("in time", 2)
    cancelled = fake(one).under_way[job_id].cancelled
    monkeypatch.undo()
    eventually(cancelled.is_set)

    async def open_gate():
        gate.set()

    one.run(open_gate)
    eventually(lambda: job_id not in fake(one).under_way)
    time.sleep(0.3)
    job = job_of(one, app, job_id)
    assert (job["status"], job["result"]) == ("completed", "in time")


@pytest.mark.slow
def test_outcomes_wait_for_a_database_that_is_away(both, monkeypatch):
    one = both[0]
    fake(one).handler = fake(one).nothing
    app = install(one, running=(one,))
    store = one.services.get(JOBS)._runs
    calls = []

    async def away(outcomes):
        calls.append(len(outcomes))
        raise Unavailable("the database is away")

    monkeypatch.setattr(store, "settle", away)
    job_id = enqueue(one, app)
    eventually(lambda: len(calls) > 1)
    assert job_of(one, app, job_id)["status"] == "running"
    monkeypatch.undo()
    assert ended(one, app, job_id)["attempts"] == 1


@pytest.mark.slow
def test_a_job_may_come_back_before_the_answer_that_it_went(both, monkeypatch):
    """The claim overtakes the answer of the statement that released it."""
    one = both[0]
    fake(one).started.clear()
    app = install(one, running=(one,))
    store = one.services.get(JOBS)._runs
    settle = store.settle

    async def slow(outcomes):
        await settle(outcomes)
        await anyio.sleep(0.5)

    monkeypatch.setattr(store, "settle", slow)
    monkeypatch.setitem(runner.Runner._start.__kwdefaults__, "busy_delay", 60.0)

    async def handle(job):
        if len(fake(one).started) < 3:
            fake(one).die(app)
            await anyio.sleep_forever()

    fake(one).handler = handle
    job = ended(one, app, enqueue(one, app))
    assert (job["status"], job["attempts"]) == ("completed", 3)


def test_a_claim_whose_answer_is_lost_is_given_back_at_once(both, monkeypatch):
    one = both[0]
    fake(one).handler = fake(one).nothing
    store = one.services.get(JOBS)._runs
    claim, lost = store.claim, []

    async def answerless(*arguments):
        jobs = await claim(*arguments)
        if jobs and not lost:
            lost.extend(jobs)
            raise Unavailable("the connection broke")
        return jobs

    monkeypatch.setattr(store, "claim", answerless)
    app = install(one, running=(one,))  # now: a claim that is under way already is answered
    job_id = enqueue(one, app)
    job = ended(one, app, job_id)
    assert [one.id for one in lost] == [job_id]
    assert (job["status"], job["attempts"]) == ("completed", 1)


@pytest.mark.slow
def test_connections_that_break_lose_no_job(pair):
    one, two = pair(lease=2)
    app = install(one, running=(one, two))
    ran = Counter()

    async def handle(job):
        ran[job.payload] += 1
        await anyio.sleep(0.01)

    for server in (one, two):
        fake(server).handler = handle
    acknowledged = []
    for n in range(200):
        answer = one.admin.post(f"/api/v1/apps/{app}/jobs", json={"payload": n})
        if answer.status_code == 201:
            acknowledged.append((n, answer.json()["job_id"]))
        else:
            assert answer.status_code == 503, answer.text
        if n % 40 == 20:
            one.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
    all_ended(one, app, 30)
    assert len(acknowledged) > 100
    for n, job_id in acknowledged:
        assert row_of(one, job_id, "status") == ("completed",)
        assert ran[n] >= 1


@pytest.mark.slow
def test_a_row_of_one_app_that_someone_holds_costs_the_jobs_of_others_nothing(
    make_server, tmp_path
):
    """As the removal of an app does, with its jobs."""
    config = overrides(lease=5.0) | {"database": {"lock_timeout": 0.2}}
    one = make_server(config, data_dir=tmp_path)
    two = make_server(config, dsn=one.dsn, data_dir=tmp_path)
    held, other = install(one, running=(one,)), install(one, running=(one,))
    become(two, other, "running")
    starts = Counter()

    async def handle(job):
        starts[job.payload] += 1
        await anyio.sleep({"slow": 8, "held": 1}.get(job.payload, 0.5))

    fake(one).handler = fake(two).handler = handle
    first = enqueue(one, held, "held")
    eventually(lambda: starts["held"] == 1)
    with psycopg.connect(one.dsn) as connection:
        connection.execute("select 1 from caudex_jobs.jobs where id = %s for update", [first])
        slow, quick = enqueue(one, other, "slow"), enqueue(one, other, "quick")
        eventually(lambda: row_of(one, quick, "status") == ("completed",))
        eventually(lambda: row_of(one, slow, "status") == ("completed",), 30)
        assert row_of(one, first, "status") == ("running",)
        connection.rollback()
    eventually(lambda: row_of(one, first, "status") == ("completed",), 30)
    assert (starts["slow"], starts["quick"]) == (1, 1)
