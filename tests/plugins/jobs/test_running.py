"""From pending to an end: what workers are given, and what becomes of jobs."""

import json
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from structlog.testing import capture_logs

from kernel.public import (
    ACCESS,
    JOBS,
    Forbidden,
    Grant,
    HandlerFailed,
    HandlerUnavailable,
    NewJob,
    WorkerLost,
    WorkerStopped,
    server_actor,
)
from kernel.testing import running_server
from plugins.jobs.running import claimer, outcome, replacement
from plugins.jobs.running.callers import Callers
from plugins.jobs.running.outcome import Run, backoff
from tests.plugins.jobs.support import (
    all_ended,
    become,
    ended,
    enqueue,
    fake,
    forever,
    install,
    install_with,
    job_of,
    overrides,
    row_of,
)
from tests.waiting import eventually


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, overrides()) as running:
        yield running


@pytest.fixture
def app(server):
    """An app with a running worker; each test sets its handler."""
    app_id = install(server)
    workers = fake(server)
    workers.started.clear()
    workers.most = workers.restarts = 0
    yield app_id
    workers.handler, workers.refusing = workers.nothing, False
    become(server, app_id, "stopped")
    server.run(die, server, app_id)


def handle(server, handler):
    fake(server).handler = handler


def under_way(server, job_id):
    return eventually(lambda: fake(server).under_way.get(job_id))


def test_a_job_is_run_and_its_result_kept_as_it_was_given(server, app):
    async def handler(job):
        return b'{"sent":  true, "n": 1e3}'

    handle(server, handler)
    job_id = enqueue(server, app, {"type": "send"})
    job = ended(server, app, job_id)
    assert (job["status"], job["result"]) == ("completed", {"sent": True, "n": 1000.0})
    assert (job["error"], job["attempts"]) == (None, 1)
    text = server.admin.get(f"/api/v1/apps/{app}/jobs/{job_id}").text
    assert '"result":{"sent":  true, "n": 1e3}' in text


@pytest.mark.slow
def test_a_handler_that_meets_something_unavailable_runs_again_without_a_failure(server, app):
    async def handler(job):
        if fake(server).started.count(job.id) < 2:
            raise HandlerUnavailable("the database is not available")
        return "done"

    handle(server, handler)
    job_id = enqueue(server, app)
    eventually(lambda: job_of(server, app, job_id)["error"])
    waiting = row_of(server, job_id, "status", "failures", "quarantined", "unavailable")
    assert waiting == ("pending", 0, False, 1)
    job = ended(server, app, job_id)
    assert (job["status"], job["result"], job["error"]) == ("completed", "done", None)
    assert (job["attempts"], *row_of(server, job_id, "failures", "unavailable")) == (2, 0, 0)


def test_a_job_that_meets_something_unavailable_twenty_times_in_a_row_fails(
    server, app, monkeypatch
):
    monkeypatch.setattr(outcome, "backoff", lambda _: 0.01)

    async def handler(job):
        if fake(server).started.count(job.id) == 3:
            raise HandlerFailed("this is a failure, and interrupts the row")
        raise HandlerUnavailable("no database")

    handle(server, handler)
    job = ended(server, app, enqueue(server, app, max_attempts=2))
    assert (job["status"], job["attempts"]) == ("failed", 23)
    assert job["error"] == (
        "something that it needs was unavailable 20 times in a row: no database"
    )


def test_a_handler_that_returns_nothing_leaves_null(server, app):
    job = ended(server, app, enqueue(server, app))
    assert (job["status"], job["result"]) == ("completed", None)


def test_a_result_that_is_no_json_fails_the_job_alone(server, app):
    async def handler(job):
        return b"{oops" if job.payload else b'"\\u0000 is fine \\ud83d"'

    handle(server, handler)
    ids = [enqueue(server, app, n % 2) for n in range(10)]
    found = [ended(server, app, job_id)["status"] for job_id in ids]
    assert found == ["completed", "failed"] * 5


@pytest.mark.slow
def test_an_idle_worker_has_the_job_within_tens_of_milliseconds(make_server):
    server = make_server(overrides(poll_interval=60))  # a notification is needed to find a job
    app, started = install(server), []

    async def handler(job):
        started.append(time.perf_counter())

    handle(server, handler)
    waits = []
    for _ in range(20):
        before = time.perf_counter()
        ended(server, app, enqueue(server, app))
        waits.append(started.pop() - before)
        time.sleep(0.06)
    assert sorted(waits)[2] < 0.05  # a busy machine holds most of them up


def test_the_worker_is_reported_on_whose_behalf_it_works(server, app):
    callers = []

    async def handler(job):
        callers.append(job.caller)

    handle(server, handler)
    user = server.user()
    role = {"userId": user.id, "role": "admin"}
    server.admin.post(f"/api/v1/apps/{app}/roles/assign", json=role).raise_for_status()
    made = user.post(f"/api/v1/apps/{app}/jobs", json={"payload": 1}).json()["job_id"]
    ended(server, app, made)
    [caller] = callers
    assert (caller.user_id, caller.username) == (user.id, user.username)
    headers = {"authorization": f"Bearer {caller.auth_token}"}
    me = server.http.get("/api/v1/auth/me", headers=headers)
    assert me.json()["id"] == user.id


def test_a_job_of_the_server_has_no_caller_and_one_of_a_user_who_is_gone_has_no_rights(server, app):
    callers = []

    async def handler(job):
        callers.append(job.caller)

    handle(server, handler)

    async def put():
        return await server.services.get(JOBS).enqueue(
            server_actor(),
            app,
            NewJob(payload=b"1"),  # type: ignore[arg-type]
        )

    ended(server, app, server.run(put))
    assert callers == [None]
    become(server, app, "stopped")
    user = server.user()
    role = {"userId": user.id, "role": "admin"}
    server.admin.post(f"/api/v1/apps/{app}/roles/assign", json=role).raise_for_status()
    made = user.post(f"/api/v1/apps/{app}/jobs", json={"payload": 1}).json()["job_id"]
    server.admin.delete(f"/api/v1/users/{user.id}").raise_for_status()
    become(server, app, "running")
    ended(server, app, made)
    assert (callers[1].user_id, callers[1].username, callers[1].auth_token) == (user.id, "", "")


def test_a_job_of_a_user_who_is_disabled_has_no_rights(server):
    found = []

    async def handler(job):
        access = server.services.get(ACCESS)
        try:
            grant = await access.grant(job.caller.user_id, job.app_id, "notes", "create")
        except Forbidden as error:
            grant = error.message
        found.append((grant, bool(job.caller.auth_token)))

    notes = {"entityName": "notes", "fields": [{"name": "text", "type": "text"}]}
    app = install_with(server, {"dataContract": [notes]}, (server,))
    handle(server, handler)
    user = server.user()
    role = {"userId": user.id, "role": "admin"}
    server.admin.post(f"/api/v1/apps/{app}/roles/assign", json=role).raise_for_status()
    later = {"payload": 1, "run_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    jobs = f"/api/v1/apps/{app}/jobs"
    now, then = (user.post(jobs, json=body).json()["job_id"] for body in ({"payload": 1}, later))
    ended(server, app, now)
    server.run(server.services.get(JOBS)._callers._cache.invalidate)
    answer = server.admin.patch(f"/api/v1/users/{user.id}", json={"disabled": True})
    answer.raise_for_status()
    server.sql("update caudex_jobs.jobs set run_at = now() where id = %s", then)
    ended(server, app, then)
    assert found == [(Grant(), True), ("this account is closed", False)]
    become(server, app, "stopped")
    fake(server).handler = fake(server).nothing


def test_a_job_waits_for_a_worker_that_is_not_running(server, app):
    become(server, app, "stopped")
    job_id = enqueue(server, app)
    time.sleep(0.5)
    job = job_of(server, app, job_id)
    assert (job["status"], job["attempts"]) == ("pending", 0)
    become(server, app, "running")
    assert ended(server, app, job_id)["attempts"] == 1


@pytest.mark.slow
def test_a_worker_that_takes_no_job_costs_no_attempt(server, app):
    fake(server).refusing = True
    job_id = enqueue(server, app)
    time.sleep(0.8)
    assert row_of(server, job_id, "attempts", "failures", "quarantined")[1:] == (0, False)
    fake(server).refusing = False
    job = ended(server, app, job_id)
    assert (job["status"], job["attempts"]) == ("completed", 1)


# Order


def test_the_most_urgent_come_first_and_then_the_oldest(server, app):
    become(server, app, "stopped")
    order = []

    async def handler(job):
        order.append(job.payload)
        await anyio.sleep(0.01)

    handle(server, handler)
    for n, priority in enumerate([0, 5, -1, 5, 0, 2**31 - 1]):
        enqueue(server, app, [priority, n], priority=priority)
    become(server, app, "running")
    all_ended(server, app)
    assert order == [[2**31 - 1, 5], [5, 1], [5, 3], [0, 0], [0, 4], [-1, 2]]


@pytest.mark.slow
def test_a_job_for_later_waits_for_its_time_whatever_its_priority(make_server):
    server = make_server(
        overrides(poll_interval=3600)
    )  # it looks when it has to, and at no other time
    app = install(server)
    late = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    never = enqueue(server, app, "never", run_at=late, priority=99)
    now = enqueue(server, app, "now")
    past = enqueue(server, app, "past", run_at="2001-01-01T00:00:00Z")
    assert ended(server, app, now)["status"] == "completed"
    assert ended(server, app, past)["status"] == "completed"
    soon = (datetime.now(UTC) + timedelta(seconds=0.7)).isoformat()
    job = ended(server, app, enqueue(server, app, "later", run_at=soon, priority=9))
    run_at, done = (datetime.fromisoformat(job[key]) for key in ("run_at", "updated_at"))
    assert job["status"] == "completed"
    assert run_at <= done
    assert job_of(server, app, never)["status"] == "pending"


# Failures


def test_an_error_of_the_handler_fails_the_job_with_its_words(server, app):
    async def handler(job):
        raise HandlerFailed("no such customer \0 \ud800")

    handle(server, handler)
    job = ended(server, app, enqueue(server, app))
    assert (job["status"], job["attempts"], job["result"]) == ("failed", 1, None)
    assert job["error"].startswith("no such customer")


def test_a_failure_is_tried_again_later_until_the_attempts_are_used_up(server, app):
    async def handler(job):
        await fake(server).become(app, "stopped")  # it is not tried again before we look
        raise HandlerFailed("not today")

    handle(server, handler)
    job_id = enqueue(server, app, max_attempts=3)
    for failures, least, most in ((1, 1.5, 2.0), (2, 3.0, 4.0)):
        eventually(lambda n=failures: row_of(server, job_id, "failures") == (n,))
        [row] = server.sql(
            "select status, due, error, attempts, ended_at,"
            " extract(epoch from run_at - updated_at)::float"
            " from caudex_jobs.jobs where id = %s",
            job_id,
        )
        assert row[:5] == ("pending", False, "not today", failures, None)
        assert least <= row[5] <= most
        server.sql("update caudex_jobs.jobs set run_at = now() where id = %s", job_id)
        become(server, app, "running")
    job = ended(server, app, job_id)
    assert (job["status"], job["attempts"], job["error"]) == ("failed", 3, "not today")


def test_a_retry_that_succeeds_completes_the_job(server, app):
    async def handler(job):
        if len(fake(server).started) == 1:
            raise HandlerFailed("not yet")
        return "well"

    handle(server, handler)
    job_id = enqueue(server, app, max_attempts=2)
    eventually(lambda: row_of(server, job_id, "failures") == (1,))
    server.sql("update caudex_jobs.jobs set run_at = now() where id = %s", job_id)
    job = ended(server, app, job_id)
    assert (job["status"], job["result"], job["error"]) == ("completed", "well", None)
    assert job["attempts"] == 2


def test_waits_between_attempts_double_up_to_a_quarter_of_an_hour():
    for failures in range(1, 60):
        full = min(2.0**failures, 900.0)
        waits = [backoff(failures) for _ in range(100)]
        assert all(0.75 * full <= wait <= full for wait in waits)
        assert max(waits) - min(waits) > 0.1 * full
    assert backoff(10**6) <= 900.0


# Time limits and cancelling


def test_a_job_that_takes_too_long_is_asked_to_end_and_counts_as_failed(server, app):
    async def handler(job):
        await job.cancelled.wait()
        return "late"

    handle(server, handler)
    job = ended(server, app, enqueue(server, app, timeout_s=0.3))
    assert (job["status"], job["error"]) == ("failed", "timed out after 0.3 s")
    assert job["result"] is None
    assert fake(server).restarts == 0


@pytest.mark.slow
def test_a_job_that_does_not_end_then_costs_the_worker_its_process_and_no_other(server, app):
    async def handler(job):
        await (forever(job) if job.payload == "hang" else job.cancelled.wait())

    handle(server, handler)
    other = enqueue(server, app, "innocent", timeout_s=60)
    under_way(server, other)
    hanging = enqueue(server, app, "hang", timeout_s=0.3)
    job = ended(server, app, hanging)
    assert (job["status"], job["error"]) == ("failed", "timed out after 0.3 s")
    assert fake(server).restarts == 1
    eventually(lambda: fake(server).started.count(other) == 2)
    assert row_of(server, other, "quarantined", "worker_crashes", "failures") == (False, 0, 0)


@pytest.mark.slow
def test_a_job_in_a_worker_that_cannot_be_replaced_gives_its_place_to_others(
    server, app, monkeypatch
):
    async def handler(job):
        if job.payload == "hang":
            await forever(job)

    async def restart(app_id):
        pass

    monkeypatch.setattr(fake(server), "restart", restart)
    monkeypatch.setattr(replacement, "RESTART_SECONDS", 0.2)
    handle(server, handler)
    # So many that places are handed on from job to job, before the ones that hang and after them.
    jobs = [enqueue(server, app, "quick") for _ in range(60)]
    hanging = [enqueue(server, app, "hang", timeout_s=0.3) for _ in range(10)]
    jobs += [enqueue(server, app, "quick") for _ in range(60)]
    for job_id in hanging:
        job = ended(server, app, job_id)
        assert (job["status"], job["error"]) == ("failed", "timed out after 0.3 s")
    all_ended(server, app)
    rows = "select status, attempts, count(*) from caudex_jobs.jobs where app_id = %s group by 1, 2"
    assert sorted(server.sql(rows, app)) == [("completed", 1, len(jobs)), ("failed", 1, 10)]


def test_a_running_job_that_is_cancelled_is_reported_and_ends_as_cancelled(server, app):
    async def handler(job):
        await job.cancelled.wait()
        return "half"

    handle(server, handler)
    job_id = enqueue(server, app)
    under_way(server, job_id)
    path = f"/api/v1/apps/{app}/jobs/{job_id}/cancel"
    answer = server.admin.post(path)
    assert answer.json() == {"message": f"job '{job_id}' cancelled"}
    job = ended(server, app, job_id)
    assert (job["status"], job["result"]) == ("cancelled", "half")
    assert server.admin.post(path).status_code == 400


@pytest.mark.slow
def test_one_that_does_not_care_is_cancelled_all_the_same(make_server):
    server = make_server(overrides(cancel_grace=3.0))
    app = install(server)
    handle(server, forever)
    job_id = enqueue(server, app)
    under_way(server, job_id)
    server.admin.post(f"/api/v1/apps/{app}/jobs/{job_id}/cancel").raise_for_status()
    assert job_of(server, app, job_id)["status"] == "running"
    assert ended(server, app, job_id)["status"] == "cancelled"
    assert job_id in fake(server).under_way


def test_a_failure_of_a_cancelled_job_is_not_tried_again(server, app):
    async def handler(job):
        await job.cancelled.wait()
        raise HandlerFailed("I was asked to stop")

    handle(server, handler)
    job_id = enqueue(server, app, max_attempts=5)
    under_way(server, job_id)
    server.admin.post(f"/api/v1/apps/{app}/jobs/{job_id}/cancel").raise_for_status()
    assert ended(server, app, job_id)["status"] == "cancelled"


@pytest.mark.slow
def test_the_next_heartbeat_finds_a_cancellation_without_a_notification(server, app):
    async def handler(job):
        await job.cancelled.wait()

    handle(server, handler)
    job_id = enqueue(server, app)
    under_way(server, job_id)
    server.sql("update caudex_jobs.jobs set cancelled_at = now() where id = %s", job_id)
    assert ended(server, app, job_id)["status"] == "cancelled"


@pytest.mark.slow
def test_a_notification_alone_cancels_nothing(server, app):
    """Any login of the database may send one, so the row is read."""

    async def handler(job):
        await anyio.sleep(1)
        return "undisturbed"

    handle(server, handler)
    job_id = enqueue(server, app)
    under_way(server, job_id)
    for payload in (f"cancel:{job_id}", f"gone:{app}", "cancel:x", "due:", "nonsense"):
        sent = {"topic": "jobs", "revision": 10**9, "payload": payload, "source": "other"}
        server.sql("select pg_notify(name, %s) from caudex_kernel.channel", json.dumps(sent))
    job = ended(server, app, job_id)
    assert (job["status"], job["result"], job["attempts"]) == ("completed", "undisturbed", 1)


def test_progress_is_shown_while_the_job_runs(server, app):
    async def handler(job):
        for step in range(5):
            await job.progress(b"%d" % step)
        await job.progress(b'{"done":  0.4}')
        await job.cancelled.wait()

    handle(server, handler)
    job_id = enqueue(server, app)
    job = eventually(lambda: (j := job_of(server, app, job_id))["progress"] and j)
    assert (job["status"], job["progress"]) == ("running", {"done": 0.4})
    server.admin.post(f"/api/v1/apps/{app}/jobs/{job_id}/cancel").raise_for_status()
    assert ended(server, app, job_id)["progress"] == {"done": 0.4}


def test_progress_that_cannot_be_stored_harms_no_other(server, app):
    async def handler(job):
        await job.progress(b"{oops")
        await job.progress(b'"' + b"x" * 100_000 + b'"')
        await anyio.sleep(0.7)
        return 1

    handle(server, handler)
    assert ended(server, app, enqueue(server, app))["result"] == 1


@pytest.mark.parametrize("fails", [False, True])
def test_the_last_progress_before_its_end_is_what_an_ended_job_shows(server, app, fails):
    async def handler(job):
        for step in range(job.payload + 1):
            await job.progress(b"%d" % step)
        if fails:
            raise ValueError("after all")

    handle(server, handler)
    with capture_logs():  # to render so many tracebacks takes longer than we wait
        jobs = {enqueue(server, app, step): step for step in range(30)}
        for job_id, last in jobs.items():
            job = ended(server, app, job_id)
            assert (job["status"], job["progress"]) == ("failed" if fails else "completed", last)


def test_progress_that_is_no_json_costs_no_other_job_its_own(server, app):
    async def handler(job):
        await job.progress(b"1" if job.payload else b"{oops")

    handle(server, handler)
    jobs = {enqueue(server, app, payload): payload for payload in [True, False] * 10}
    for job_id, good in jobs.items():
        job = ended(server, app, job_id)
        assert (job["status"], job["progress"]) == ("completed", 1 if good else None)


# Bounds


def test_no_worker_has_more_jobs_at_once_than_it_may(server, app):
    async def handler(job):
        await anyio.sleep(0.02)

    handle(server, handler)
    become(server, app, "stopped")
    for n in range(60):
        enqueue(server, app, n)
    become(server, app, "running")
    all_ended(server, app)
    assert 2 <= fake(server).most <= 10
    assert len(fake(server).started) == len(set(fake(server).started)) == 60


@pytest.mark.slow
def test_quick_jobs_are_claimed_ahead_and_go_back_when_others_turn_slow(server, app, monkeypatch):
    gates = []

    async def handler(job):
        if job.payload == "slow":
            gates.append(job)
            await job.cancelled.wait()

    def quick_ones():
        rows = server.sql(
            "select status, attempts, quarantined, count(*) from caudex_jobs.jobs"
            " where app_id = %s and payload::text = '\"quick\"' group by 1, 2, 3",
            app,
        )
        return sorted(rows)

    handle(server, handler)
    with monkeypatch.context() as patient:
        patient.setitem(
            claimer.Slots.take_stale.__kwdefaults__, "seconds", 60.0
        )  # it does not go back before we look,
        patient.setitem(
            claimer.Slots._count_ahead.__kwdefaults__, "below", 10.0
        )  # and on a busy machine too it is claimed ahead
        for n in range(100):
            enqueue(server, app, n)
        all_ended(server, app)
        slow = [enqueue(server, app, "slow") for _ in range(10)]
        eventually(lambda: len(gates) == 10)
        quick = [enqueue(server, app, "quick")]
        eventually(lambda: quick_ones() == [("running", 1, False, 1)])
    eventually(lambda: quick_ones() == [("pending", 0, False, 1)])
    quick.append(enqueue(server, app, "quick"))
    time.sleep(0.3)
    assert quick_ones() == [("pending", 0, False, 2)]
    for job_id in slow:
        server.admin.post(f"/api/v1/apps/{app}/jobs/{job_id}/cancel").raise_for_status()
    for job_id in quick:
        assert ended(server, app, job_id)["attempts"] == 1


def test_a_job_that_is_cancelled_before_its_turn_is_not_run(server, app, monkeypatch):
    monkeypatch.setitem(
        claimer.Slots._count_ahead.__kwdefaults__, "below", 10.0
    )  # on a busy machine too jobs are claimed ahead,
    monkeypatch.setitem(
        claimer.Slots.take_stale.__kwdefaults__, "seconds", 60.0
    )  # and not given back before we look
    gates = []

    async def handler(job):
        if job.payload == "slow":
            gates.append(job)
            await job.cancelled.wait()

    handle(server, handler)
    for n in range(100):
        enqueue(server, app, n)
    all_ended(server, app)
    slow = [enqueue(server, app, "slow") for _ in range(10)]
    eventually(lambda: len(gates) == 10)
    quick = enqueue(server, app, "quick")
    eventually(lambda: row_of(server, quick, "status") == ("running",))
    for job_id in (quick, *slow):
        server.admin.post(f"/api/v1/apps/{app}/jobs/{job_id}/cancel").raise_for_status()
    assert ended(server, app, quick)["status"] == "cancelled"
    assert quick not in fake(server).started


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_a_job_whose_end_is_wanted_before_its_worker_has_it_is_not_run(
    server, app, monkeypatch, status
):
    asked, wanted = threading.Event(), threading.Event()
    look_up = Callers.find
    request_end = Run.request_end

    async def slowly(self, job):
        asked.set()
        while not wanted.is_set():
            await anyio.sleep(0.01)
        return await look_up(self, job)

    def noted(self, ending):
        request_end(self, ending)
        wanted.set()

    monkeypatch.setattr(Callers, "find", slowly)
    monkeypatch.setattr(Run, "request_end", noted)
    handle(server, forever)
    job_id = enqueue(server, app, timeout_s=60 if status == "cancelled" else 0.2, max_attempts=1)
    assert asked.wait(10)
    if status == "cancelled":
        server.admin.post(f"/api/v1/apps/{app}/jobs/{job_id}/cancel").raise_for_status()
    assert ended(server, app, job_id)["status"] == status
    assert wanted.is_set()
    assert job_id not in fake(server).started


def test_an_app_that_is_busy_keeps_no_other_from_its_turn(server, app):
    handle(server, forever)
    for n in range(30):
        enqueue(server, app, n)
    other = install(server)
    job_id = enqueue(server, other)
    under_way(server, job_id)
    become(server, other, "stopped")
    server.run(die, server, other)


def test_jobs_of_an_app_that_goes_are_asked_to_end(server):
    app_id = install(server)
    seen = []

    async def handler(job):
        await job.cancelled.wait()
        seen.append(job.id)

    handle(server, handler)
    job_id = enqueue(server, app_id)
    under_way(server, job_id)
    server.admin.delete(f"/api/v1/apps/{app_id}").raise_for_status()
    eventually(lambda: seen == [job_id])
    become(server, app_id, "stopped")


# Lost deliveries


def test_jobs_that_were_in_flight_when_the_worker_died_run_again_one_by_one(server, app):
    overlaps, lone = [], []

    async def handler(job):
        if job.id not in fake(server).started[:5] or fake(server).started.count(job.id) > 1:
            lone.append(len(fake(server).under_way))
            await anyio.sleep(0.05)
            overlaps.append(len(fake(server).under_way))
            return "done"
        await forever(job)

    handle(server, handler)
    ids = [enqueue(server, app, n) for n in range(5)]
    eventually(lambda: len(fake(server).under_way) == 5)
    server.run(die, server, app)
    jobs = [ended(server, app, job_id) for job_id in ids]
    assert [job["status"] for job in jobs] == ["completed"] * 5
    assert [job["attempts"] for job in jobs] == [2] * 5
    assert lone == overlaps == [1] * 5
    for job_id in ids:
        assert row_of(server, job_id, "quarantined", "worker_crashes", "failures") == (False, 0, 0)


async def die(server, app, why=WorkerLost):
    fake(server).die(app, why)


def test_the_job_that_kills_its_worker_fails_and_the_innocent_ones_do_not(server, app):
    async def handler(job):
        await anyio.sleep(0.02)
        if job.payload == "poison":
            fake(server).die(app)
        await anyio.sleep(0.05)
        return "fine"

    handle(server, handler)
    become(server, app, "stopped")
    innocent = [enqueue(server, app, n) for n in range(8)]
    poison = enqueue(server, app, "poison", priority=1)
    become(server, app, "running")
    job = ended(server, app, poison)
    assert job["status"] == "failed"
    assert "3 times" in job["error"]
    assert 3 <= job["attempts"] <= 4
    for job_id in innocent:
        job = ended(server, app, job_id)
        assert (job["status"], job["result"]) == ("completed", "fine")


def test_a_suspect_that_fails_in_an_orderly_way_is_cleared(server, app):
    async def handler(job):
        if fake(server).started.count(job.id) == 1:
            await forever(job)
        raise HandlerFailed("as always")

    handle(server, handler)
    ids = [enqueue(server, app, n, max_attempts=10) for n in range(2)]
    eventually(lambda: len(fake(server).under_way) == 2)
    server.run(die, server, app)
    columns = "failures > 0", "status", "quarantined", "worker_crashes"
    for job_id in ids:  # it fails again and again, so all of it has to be seen at once
        eventually(lambda i=job_id: row_of(server, i, *columns) == (True, "pending", False, 0))


def test_a_worker_that_is_stopped_on_purpose_makes_no_suspects(server, app):
    handle(server, forever)
    ids = [enqueue(server, app, n) for n in range(3)]
    eventually(lambda: len(fake(server).under_way) == 3)
    become(server, app, "stopping")
    server.run(die, server, app, WorkerStopped)
    become(server, app, "stopped")
    for job_id in ids:
        eventually(lambda i=job_id: row_of(server, i, "status") == ("pending",))
        assert row_of(server, job_id, "quarantined", "worker_crashes", "attempts") == (False, 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("waited", ["10 seconds", "2 minutes"])
def test_a_busy_worker_makes_room_for_a_suspect_that_has_waited_but_not_for_ever(
    make_server, waited
):
    server = make_server(overrides(concurrency=2))
    app = install(server)
    long, gates = [], {}

    async def handler(job):
        if job.payload == "gate":
            gates[job.id] = job
            await job.cancelled.wait()
        else:
            long.append((job.payload, len(fake(server).under_way)))

    handle(server, handler)
    gate = enqueue(server, app, "gate")
    under_way(server, gate)
    quarantined = str(uuid.uuid4())
    server.sql(
        "insert into caudex_jobs.jobs (id, app_id, due, quarantined, priority, max_attempts,"
        " timeout_s, run_at, updated_at, payload) values (%s, %s, true, true, 0, 1, 900, now(),"
        " now() - %s::interval, '\"quarantined\"')",
        quarantined,
        app,
        waited,
    )
    ordinary = enqueue(server, app, "ordinary")
    if waited == "10 seconds":
        time.sleep(0.6)
        assert long == []
        server.admin.post(f"/api/v1/apps/{app}/jobs/{gate}/cancel").raise_for_status()
    ended(server, app, quarantined)
    ended(server, app, ordinary)
    beside = 1 if waited == "10 seconds" else 2
    assert long == [("quarantined", beside), ("ordinary", beside)]
