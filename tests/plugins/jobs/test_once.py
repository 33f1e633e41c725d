"""Jobs that are enqueued with an idempotency key: a request that is sent again acts once."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import httpx
import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.jobs.support import ended, install, install_with, overrides


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres, overrides()) as running:
        yield running


def keyed(client: Client, app: str, body: Any, key: str = "k1") -> httpx.Response:
    return client.post(f"/api/v1/apps/{app}/jobs", json=body, headers={"idempotency-key": key})


def count(server: Server, app: str) -> int:
    [[found]] = server.sql("select count(*) from caudex_jobs.jobs where app_id = %s", app)
    return found


def test_the_same_request_enqueues_one_job(server: Server):
    app = install(server)
    first = keyed(server.admin, app, {"payload": {"n": 1}})
    assert first.status_code == 201, first.text
    ended(server, app, first.json()["job_id"])  # unlike `key` of a job, which ends with it
    again = keyed(server.admin, app, {"payload": {"n": 1}})
    assert (again.status_code, again.content) == (201, first.content)
    assert count(server, app) == 1
    assert keyed(server.admin, app, {"payload": {"n": 1}}, "k2").json() != first.json()
    other = keyed(server.admin, app, {"payload": {"n": 2}})
    assert other.status_code == 400
    assert other.json() == {"error": "this Idempotency-Key was used with another body"}
    wrong = keyed(server.admin, app, {"payload": 1}, "a b")
    assert wrong.status_code == 400
    assert count(server, app) == 2


def test_a_refused_job_may_be_sent_again_with_its_key(server: Server):
    app = install(server)
    assert keyed(server.admin, app, {"payload": 1, "max_attempts": 0}).status_code == 400
    assert keyed(server.admin, app, {"payload": 1}).status_code == 201
    assert count(server, app) == 1


def test_twins_enqueue_one_job(server: Server):
    app = install(server)
    found: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: found.append(keyed(server.admin, app, {"payload": 1})))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in found} == {201}
    assert len({answer.content for answer in found}) == 1
    assert count(server, app) == 1


def test_a_key_belongs_to_one_user_and_one_installation(server: Server):
    app = install(server)
    user = server.user()
    server.assign(user, app, "admin")
    first = keyed(server.admin, app, {"payload": 1}).json()
    assert keyed(user, app, {"payload": 1}).json() != first
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    manifest = {"appId": app, "name": "again"}
    assert server.admin.post("/api/v1/apps", json=manifest).status_code == 200
    assert keyed(server.admin, app, {"payload": 1}).json() != first
    assert count(server, app) == 1


def test_rights_are_checked_before_a_reply_is_given_again(server: Server):
    app = install_with(server, {"permissions": [{"key": "work"}]}, running=())
    roles, user = f"/api/v1/apps/{app}/roles", server.user()
    assert server.admin.post(roles, json={"name": "clerk", "permissions": ["work"]}).is_success
    clerk = {"userId": user.id, "role": "clerk"}
    assert server.admin.post(f"{roles}/assign", json=clerk).is_success
    assert keyed(user, app, {"payload": 1}).status_code == 201
    assert server.admin.post(f"{roles}/revoke", json=clerk).is_success
    assert keyed(user, app, {"payload": 1}).status_code == 403


@pytest.mark.slow
def test_without_the_plugin_a_key_is_refused(postgres: Postgres):
    tree = overrides()
    tree["plugins"]["idempotency"] = {"enabled": False}
    with running_server(postgres, tree) as server:
        app = install(server)
        refused = keyed(server.admin, app, {"payload": 1})
        assert refused.status_code == 400
        assert "is off" in refused.json()["error"]
        answer = server.admin.post(f"/api/v1/apps/{app}/jobs", json={"payload": 1})
        assert answer.status_code == 201
