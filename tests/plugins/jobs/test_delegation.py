"""How long jobs may act for their user: no chain of jobs extends it."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from kernel.public import IDENTITY, MAX_DELEGATION, HandlerFailed, new_delegation
from kernel.testing import running_server
from plugins.jobs.running.callers import Callers
from tests.plugins.jobs.support import become, ended, fake, install, overrides, row_of
from tests.waiting import eventually

WEEK = 604_800
NEW = "N3wPassword!"


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, overrides()) as running:
        yield running


@pytest.fixture
def app(server):
    app_id = install(server)
    yield app_id
    fake(server).handler = fake(server).nothing
    become(server, app_id, "stopped")


@pytest.fixture
def victim(server, app):
    user = server.user()
    server.assign(user, app, "admin")
    return user


@pytest.fixture
def callers(server):
    """The callers that the handlers received, in order."""
    seen = []

    async def handler(job):
        seen.append(job.caller)

    fake(server).handler = handler
    return seen


def worker_token(server, user, app):
    """What a worker has when the user calls it."""
    issue = server.services.get(IDENTITY).issue_delegated_token
    return server.run(issue, user.id, new_delegation(app, 65))


def put(server, app, token, **body):
    headers = {"authorization": f"Bearer {token}"}
    answer = server.http.post(
        f"/api/v1/apps/{app}/jobs", json={"payload": None, **body}, headers=headers
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["job_id"]


def own(user, app, **body):
    return user.post(f"/api/v1/apps/{app}/jobs", json={"payload": None, **body}).json()["job_id"]


def opens(server, token):
    headers = {"authorization": f"Bearer {token}"}
    return server.http.get("/api/v1/auth/me", headers=headers).status_code == 200


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def until(server, job_id):
    return row_of(server, job_id, "extract(epoch from delegation_ends)::float8")[0]


def test_a_job_that_a_worker_enqueues_may_be_a_long_one(server, app, victim, callers):
    ended(server, app, put(server, app, worker_token(server, victim, app), timeout_s=WEEK))
    [caller] = callers
    assert caller.user_id == victim.id
    assert opens(server, caller.auth_token)
    assert claims(caller.auth_token)["exp"] >= time.time() + WEEK


def test_the_jobs_of_a_job_end_with_it_however_often_they_follow(server, app, victim, callers):
    token = worker_token(server, victim, app)
    ends = []
    for _ in range(4):
        job_id = put(server, app, token, timeout_s=WEEK)
        ended(server, app, job_id)
        token = callers[-1].auth_token
        ends.append(until(server, job_id))
        assert claims(token)["exp"] <= ends[0] <= time.time() + MAX_DELEGATION
    assert len(set(ends)) == 1


def test_a_job_that_comes_too_late_is_named_and_gets_no_token(server, app, victim, callers):
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    job_id = put(server, app, worker_token(server, victim, app), run_at=later)
    server.sql(
        "update caudex_jobs.jobs set delegation_ends = now() - interval '1 s', run_at = now()"
        " where id = %s",
        job_id,
    )
    ended(server, app, job_id)
    [caller] = callers
    assert (caller.user_id, caller.auth_token) == (victim.id, "")


@pytest.mark.slow
def test_a_job_of_the_users_own_lends_from_its_start_and_a_new_start_lends_no_longer(
    server, app, victim
):
    starts = []

    async def handler(job):
        first = not starts
        if first:  # it is not tried again before we looked
            await fake(server).become(app, "stopped")
        starts.append(job.caller)
        if first:
            raise HandlerFailed("again")

    fake(server).handler = handler
    job_id = own(victim, app, max_attempts=2, run_at="2020-01-01T00:00:00Z")
    first = eventually(lambda: starts and until(server, job_id))
    assert MAX_DELEGATION - 3600 - 60 < first - time.time() <= MAX_DELEGATION
    server.sql(
        "update caudex_jobs.jobs"
        " set delegation_ends = delegation_ends - interval '7 days 20 hours' where id = %s",
        job_id,
    )
    become(server, app, "running")
    ended(server, app, job_id)
    assert len(starts) == 2
    assert until(server, job_id) == first - (7 * 24 + 20) * 3600
    follow_up = put(server, app, starts[1].auth_token)
    assert until(server, follow_up) == until(server, job_id)


def test_a_token_for_a_long_job_is_not_given_to_a_short_one(server, app, victim, callers):
    other = install(server)
    server.assign(victim, other, "admin")
    ended(server, app, own(victim, app, timeout_s=WEEK))
    ended(server, other, own(victim, other, timeout_s=1))
    long, short = (claims(caller.auth_token)["exp"] - time.time() for caller in callers)
    assert long > WEEK
    assert short < 600


def test_short_jobs_of_a_user_share_a_token(server, app, victim, callers, monkeypatch):
    ask, asked, ends = Callers._load, [], set()

    async def counted(self, key):
        asked.append(key)
        return await ask(self, key)

    monkeypatch.setattr(Callers, "_load", counted)
    for _ in range(3):
        job_id = own(victim, app)
        ended(server, app, job_id)
        ends.add(until(server, job_id))
    # Delegations end with an hour, and one may have begun meanwhile.
    assert len({caller.auth_token for caller in callers}) == len(asked) == len(ends) < 3


def test_a_new_password_ends_what_workers_hold_and_what_they_enqueued(server, app, victim, callers):
    token = worker_token(server, victim, app)
    ended(server, app, own(victim, app))
    held = callers[0].auth_token
    assert opens(server, token)
    assert opens(server, held)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    theirs = put(server, app, token, run_at=later)
    change = {"current": victim.password, "new": NEW}
    assert victim.post("/api/v1/auth/password", json=change).status_code == 200
    assert not opens(server, token)
    assert not opens(server, held)
    server.sql("update caudex_jobs.jobs set run_at = now() where id = %s", theirs)
    ended(server, app, theirs)
    assert (callers[1].user_id, callers[1].auth_token) == (victim.id, "")
    # What the user does after that has no less than before, at once.
    ended(server, app, own(victim, app))
    assert opens(server, callers[2].auth_token)
