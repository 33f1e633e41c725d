"""All jobs of a state: counted, cancelled and retried in portions; and the attempts of one."""

from datetime import UTC, datetime, timedelta

import pytest

from kernel.public import HandlerFailed, WorkerStopped
from kernel.testing import running_server
from tests.plugins.jobs.support import (
    all_ended,
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

LATER = (datetime.now(UTC) + timedelta(days=300)).isoformat()


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, overrides()) as running:
        yield running


@pytest.fixture
def app(server):
    yield install(server)
    fake(server).handler = fake(server).nothing


def jobs(app: str, more: str = "") -> str:
    return f"/api/v1/apps/{app}/jobs{more}"


def counts(client, app):
    return client.get(jobs(app, "/counts")).json()


def one_by_one(client, app, verb, status):
    """Work on all jobs of a state, two with each request; return how many each request did."""
    done, before = [], None
    while True:
        body = {"status": status, "limit": 2, "before": before}
        reply = client.post(jobs(app, f"/{verb}"), json=body)
        assert reply.status_code == 200, reply.text
        done.append(reply.json()["done"])
        if (before := reply.json()["next"]) is None:
            return done


async def failing(job):
    raise HandlerFailed("no paper left")


def test_jobs_are_counted_by_state(server, app):
    for _ in range(3):
        enqueue(server, app, 1, run_at=LATER)
    ended(server, app, enqueue(server, app, 1))
    assert counts(server.admin, app) == {
        "pending": 3, "running": 0, "completed": 1, "failed": 0, "cancelled": 0,
    }  # fmt: skip


def test_a_state_is_counted_up_to_a_limit(server, app):
    server.sql(
        "insert into caudex_jobs.jobs (id, app_id, due, priority, max_attempts, timeout_s, run_at,"
        " status, payload) select gen_random_uuid(), %s, false, 0, 1, 900, now(), 'failed', '1'"
        " from generate_series(1, 10001)",
        app,
    )
    assert counts(server.admin, app)["failed"] == 10_000


def test_all_pending_jobs_are_cancelled_in_portions(server, app):
    ids = [enqueue(server, app, 1, run_at=LATER) for _ in range(5)]
    assert one_by_one(server.admin, app, "cancel", "pending") == [2, 2, 1]
    assert {job_of(server, app, each)["status"] for each in ids} == {"cancelled"}


def test_running_jobs_are_asked_to_end(server, app):
    fake(server).handler = forever
    ids = [enqueue(server, app) for _ in range(3)]
    eventually(lambda: counts(server.admin, app)["running"] == 3)
    done = server.admin.post(jobs(app, "/cancel"), json={"status": "running"}).json()
    assert done == {"done": 3, "next": None}
    assert {ended(server, app, each)["status"] for each in ids} == {"cancelled"}


def test_failed_jobs_are_enqueued_again_as_they_were_and_remain(server, app):
    fake(server).handler = failing
    for n in range(3):
        enqueue(server, app, {"n": n}, priority=n, timeout_s=10 + n, key=f"k{n}")
    all_ended(server, app)
    fake(server).handler = fake(server).nothing
    assert one_by_one(server.admin, app, "retry", "failed") == [2, 1]
    all_ended(server, app)
    assert counts(server.admin, app)["failed"] == 3
    made = server.admin.get(jobs(app, "?status=completed")).json()
    assert sorted(job["payload"]["n"] for job in made) == [0, 1, 2]
    for job in made:
        n = job["payload"]["n"]
        row = row_of(server, job["id"], "priority", "timeout_s", "key", "user_id::text")
        assert row == (n, 10 + n, None, server.admin.id)


@pytest.mark.slow
def test_a_portion_of_large_jobs_is_smaller(server, app):
    large = "x" * 1_000_000
    for _ in range(18):
        enqueue(server, app, large, run_at=LATER)
    server.admin.post(jobs(app, "/cancel"), json={"status": "pending"})
    first = server.admin.post(jobs(app, "/retry"), json={"status": "cancelled"}).json()
    assert first["done"] == 16
    body = {"status": "cancelled", "before": first["next"]}
    assert server.admin.post(jobs(app, "/retry"), json=body).json() == {"done": 2, "next": None}


def test_without_the_right_to_manage_only_own_jobs_are_meant(server, app):
    enqueue(server, app, 1, run_at=LATER)
    user = server.user(permissions={app: ["core:jobs.read"]})
    body = {"payload": 2, "run_at": LATER}
    assert user.post(jobs(app), json=body).status_code == 201
    assert counts(user, app)["pending"] == 2
    assert user.post(jobs(app, "/cancel"), json={"status": "pending"}).json()["done"] == 1
    assert user.post(jobs(app, "/retry"), json={"status": "cancelled"}).json()["done"] == 1
    assert counts(server.user(permissions={app: []}), app)["pending"] == 0
    assert server.user().get(jobs(app, "/counts")).status_code == 403


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("cancel", {"status": "failed"}),
        ("retry", {"status": "pending"}),
        ("retry", {"status": "failed", "limit": 1001}),
        ("retry", {"status": "failed", "limit": 0}),
        ("cancel", {"status": "pending", "before": "x"}),
        ("cancel", {"status": "pending", "before": "3fa85f64-5717-4562-b3fc-2c963f66000c"}),
        ("cancel", {}),
    ],
)
def test_a_wrong_portion_is_refused(server, app, verb, body):
    assert server.admin.post(jobs(app, f"/{verb}"), json=body).status_code == 400


def test_the_attempts_of_a_job_are_kept_with_their_errors(server, app, monkeypatch):
    monkeypatch.setattr("plugins.jobs.running.outcome.backoff", lambda failures: 0.05)
    tried = []

    async def third(job):
        tried.append(1)
        if len(tried) < 3:
            raise HandlerFailed(f"no paper left, {len(tried)}")
        return b"1"

    fake(server).handler = third
    job_id = enqueue(server, app, max_attempts=5)
    assert ended(server, app, job_id, 30)["status"] == "completed"
    found = server.admin.get(jobs(app, f"/{job_id}/attempts")).json()
    assert [each["error"] for each in found] == ["no paper left, 1", "no paper left, 2", None]
    times = [time for each in found for time in (each["started_at"], each["ended_at"])]
    assert times == sorted(times)


def test_a_job_that_was_stopped_and_one_that_runs_have_attempts(server, app):
    stopped = []

    async def once(job):
        stopped.append(1)
        if len(stopped) == 1:
            raise WorkerStopped("stopped")
        await forever(job)

    fake(server).handler = once
    job_id = enqueue(server, app)
    found = eventually(
        lambda: len(rows := server.admin.get(jobs(app, f"/{job_id}/attempts")).json()) == 2 and rows
    )
    assert [(each["ended_at"] is None, each["error"]) for each in found] == [
        (False, None),
        (True, None),
    ]
    server.admin.post(jobs(app, f"/{job_id}/cancel"))
    unknown = "3fa85f64-5717-4562-b3fc-2c963f66000c"
    assert server.admin.get(jobs(app, f"/{unknown}/attempts")).status_code == 404
    assert (
        server.user(permissions={app: []}).get(jobs(app, f"/{job_id}/attempts")).status_code == 404
    )


def test_twenty_earlier_attempts_are_kept(server, app):
    job_id = enqueue(server, app, run_at=LATER)
    for n in range(23):
        for change in ("status = 'running'", f"status = 'pending', error = 'e{n}'"):
            server.sql(f"update caudex_jobs.jobs set {change} where id = %s", job_id)
    found = server.admin.get(jobs(app, f"/{job_id}/attempts")).json()
    assert [each["error"] for each in found] == [f"e{n}" for n in range(3, 23)]
