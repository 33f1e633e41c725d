"""What is done for a call that came with an API key: calls of workers, and jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from kernel.testing import Postgres, Server, running_server
from tests.plugins.workers.support import QUICK, deployed
from tests.waiting import eventually

CODE = """
import json, os, urllib.request, urllib.error
from caudex_worker import Worker

worker = Worker()


@worker.rpc
def send(params, ctx):
    headers = {"authorization": "Bearer " + ctx.auth_token, "content-type": "application/json"}
    request = urllib.request.Request(
        os.environ["CAUDEX_RUNTIME_URL"] + params["path"], method="GET", headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@worker.job
def work(payload, ctx):
    return send(payload, ctx) if ctx.auth_token else 0


worker.run()
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(postgres: Postgres):
    settings = {**QUICK, "rpc_timeout": 20}
    with running_server(postgres, {"plugins": {"workers": settings}}) as running:
        yield running


@pytest.fixture(scope="module")
def app(server: Server) -> str:
    return deployed(server, {"worker.py": CODE})


def key_for(server: Server, *permissions: str) -> dict[str, Any]:
    body = {"name": "x", "permissions": list(permissions)}
    answer = server.admin.post("/api/v1/auth/keys", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def post(server: Server, made: dict[str, Any], path: str, body: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {made['key']}"}
    return httpx.post(f"{server.url}{path}", json=body, headers=headers, timeout=30)


def test_a_call_of_a_worker_is_narrowed_as_its_key_is(server: Server, app: str):
    base = f"/api/v1/apps/{app}"
    body = {"method": "send", "params": {"path": f"{base}/jobs"}}
    both = key_for(server, f"{app}:rpc", f"{app}:jobs")
    assert post(server, both, f"{base}/rpc", body).json() == 200
    calls = key_for(server, f"{app}:rpc")
    assert post(server, calls, f"{base}/rpc", body).json() == 403


def test_a_job_is_narrowed_as_its_key_is_and_ends_with_it(server: Server, app: str):
    base = f"/api/v1/apps/{app}"

    def result(made: dict[str, Any], path: str, *, revoked: bool = False) -> object:
        body: dict[str, Any] = {"payload": {"path": path}}
        if revoked:
            body["run_at"] = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        answer = post(server, made, f"{base}/jobs", body)
        assert answer.status_code == 201, answer.text
        job = answer.json()["job_id"]
        if revoked:
            assert server.admin.delete(f"/api/v1/auth/keys/{made['id']}").is_success
            server.sql("update caudex_jobs.jobs set run_at = now(), due = true where id = %s", job)
        path = f"{base}/jobs/{job}"
        eventually(lambda: server.admin.get(path).json()["status"] == "completed", 20)
        return server.admin.get(path).json()["result"]

    allowed = key_for(server, f"{app}:jobs")
    assert result(allowed, f"{base}/jobs") == 200
    assert result(allowed, f"{base}/roles/assignments") == 403
    assert result(allowed, f"{base}/jobs", revoked=True) == 0
