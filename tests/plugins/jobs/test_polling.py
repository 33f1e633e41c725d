"""What screens ask for again and again is not sent again where it is the same."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from kernel.testing import Client, Server


@pytest.fixture(scope="module")
def app_id(server: Server) -> str:
    app_id = f"polled{uuid.uuid4().hex[:8]}"
    server.install({"appId": app_id, "name": "Polled"})
    return app_id


def poll(client: Client, path: str, tag: str | None = None) -> Any:
    headers = {} if tag is None else {"if-none-match": tag}
    return client.get(path, headers=headers)


@pytest.mark.parametrize("part", ["jobs?limit=100", "jobs/counts"])
def test_jobs_are_sent_when_they_have_changed(server: Server, app_id: str, part: str) -> None:
    path = f"/api/v1/apps/{app_id}"
    first = poll(server.admin, f"{path}/{part}")
    tag = first.headers["etag"]
    same = poll(server.admin, f"{path}/{part}", tag)
    assert (first.status_code, same.status_code, same.content) == (200, 304, b"")
    assert same.headers["etag"] == tag
    server.admin.post(f"{path}/jobs", json={"payload": {"type": "x"}}).raise_for_status()
    changed = poll(server.admin, f"{path}/{part}", tag)
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    assert changed.json() != first.json()
    several = poll(server.admin, f"{path}/{part}", f'"other", {changed.headers["etag"]}')
    assert several.status_code == 304


def test_another_caller_is_sent_what_it_sees(server: Server, app_id: str) -> None:
    path = f"/api/v1/apps/{app_id}/jobs"
    server.admin.post(path, json={"payload": {"type": "x"}}).raise_for_status()
    tag = poll(server.admin, path).headers["etag"]
    role: dict[str, Any] = {"name": "clerk", "permissions": []}
    server.admin.post(f"/api/v1/apps/{app_id}/roles", json=role).raise_for_status()
    clerk = server.user(roles={app_id: ["clerk"]})
    answer = poll(clerk, path, tag)
    assert (answer.status_code, answer.json()) == (200, [])
    stranger = server.user()
    assert poll(stranger, path, tag).status_code == 403


def test_the_state_of_a_worker_is_sent_when_it_has_changed(server: Server, app_id: str) -> None:
    path = f"/api/v1/apps/{app_id}/worker/status"
    first = poll(server.admin, path)
    same = poll(server.admin, path, first.headers["etag"])
    assert (first.status_code, same.status_code) == (200, 304)
