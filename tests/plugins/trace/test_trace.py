"""What a request caused: its rows, jobs, calls and lines, and who may see them."""

import shutil
from collections.abc import Generator
from typing import Any

import pytest

from kernel.testing import Client, Postgres, Server, running_server
from plugins.trace.routes import SERVICE
from tests.plugins.workers.support import QUICK, deployed
from tests.waiting import eventually

WORKER = """
from caudex_worker import Worker

worker = Worker()

@worker.rpc
def add(params, ctx):
    ctx.log.info("adding", params["name"])
    record = ctx.collection("contacts").insert({"name": params["name"]})
    if params.get("fail"):
        raise ValueError("it broke")
    return record["id"]

@worker.job
def work(payload, ctx):
    ctx.log.info("working")
    for name in payload["names"]:
        ctx.collection("contacts").insert({"name": name})

worker.run()
"""


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Generator[Server]:
    with running_server(
        postgres, {"plugins": {"workers": {**QUICK, "rpc_timeout": 20}}}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def app(server: Server) -> str:
    return deployed(server, WORKER)


def send(client: Client, path: str, request_id: str, body: Any) -> Any:
    answer = client.post(path, json=body, headers={"x-request-id": request_id})
    return answer.json()


def trace(client: Client, request_id: str) -> dict[str, Any]:
    answer = client.get(f"/api/v1/requests/{request_id}")
    return answer.json() if answer.status_code == 200 else {}


def test_the_rows_of_a_request(server: Server, app: str) -> None:
    rows = [{"name": "a"}, {"name": "b"}]
    send(server.admin, f"/api/v1/apps/{app}/collections/contacts/bulk", "rows-1", rows)
    shown = trace(server.admin, "rows-1")
    first = shown.pop("first")
    assert first == shown.pop("last")
    assert first.endswith("Z")
    assert shown == {
        "id": "rows-1",
        "actors": [server.admin.id],
        "changes": [{"app": app, "entity": "contacts", "operation": "INSERT", "count": 2}],
        "jobs": [], "calls": [], "events": [], "logs": 0, "children": [],
    }  # fmt: skip


def test_a_call_of_a_worker(server: Server, app: str) -> None:
    body = {"method": "add", "params": {"name": "Ada"}}
    send(server.admin, f"/api/v1/apps/{app}/rpc", "call-1", body)
    body = {"method": "add", "params": {"name": "Bea", "fail": True}}
    send(server.admin, f"/api/v1/apps/{app}/rpc", "call-1", body)

    def calls() -> bool:
        shown = trace(server.admin, "call-1")
        return len(shown.get("calls", [])) == 2 and shown["logs"] == 3

    assert eventually(calls)
    shown = trace(server.admin, "call-1")
    assert shown["changes"][0]["count"] == 2
    calls_shown = [(call["app"], call["method"], call["error"]) for call in shown["calls"]]
    assert calls_shown == [(app, "add", None), (app, "add", "it broke")]
    assert all(call["ms"] >= 0 for call in shown["calls"])


@pytest.mark.skipif(not shutil.which("node"), reason="no node on this machine")
def test_lines_of_javascript_name_their_request(server: Server) -> None:
    code = """serve({
      say: (params, caller, ctx) => { ctx.log.info("said"); log.info("of no request"); },
    });"""
    app_id = deployed(server, {"index.js": code})
    body = {"method": "say", "params": {}}
    send(server.admin, f"/api/v1/apps/{app_id}/rpc", "say-1", body)
    assert eventually(lambda: trace(server.admin, "say-1").get("logs") == 1)


def test_a_job_is_a_child_with_what_it_wrote(server: Server, app: str) -> None:
    body = {"payload": {"names": ["x", "y", "z"]}}
    job_id = send(server.admin, f"/api/v1/apps/{app}/jobs", "job-1", body)["job_id"]

    def done() -> bool:
        shown = trace(server.admin, "job-1")
        is_completed = [job["state"] for job in shown.get("jobs", [])] == ["completed"]
        return is_completed and shown["children"][0]["logs"] == 1

    assert eventually(done)
    [child] = trace(server.admin, "job-1")["children"]
    assert (child["id"], child["parent"], child["by"]) == (job_id, "job-1", {"job": job_id})
    assert child["changes"][0]["count"] == 3
    alone = trace(server.admin, job_id)
    assert alone["parent"] == "job-1"
    assert alone["changes"] == child["changes"]


def test_an_undo_takes_what_a_job_wrote(server: Server, app: str) -> None:
    body = {"payload": {"names": ["undo me"]}}
    send(server.admin, f"/api/v1/apps/{app}/jobs", "job-2", body)
    contacts = f"/api/v1/apps/{app}/collections/contacts?name=undo%20me"
    assert eventually(lambda: server.admin.get(contacts).json() != [])
    undo = f"/api/v1/apps/{app}/undo"
    assert server.admin.post(undo, json={"request": "job-2"}).json()["undone"] == 0
    undone = server.admin.post(undo, json={"request": "job-2", "children": True}).json()
    assert [record["operation"] for record in undone["records"]] == ["removed"]
    assert server.admin.get(contacts).json() == []


def test_an_undo_refuses_to_take_a_part_of_what_jobs_wrote(
    server: Server, app: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugins.trace.service.MAX_REQUESTS", 3)
    jobs = f"/api/v1/apps/{app}/jobs"
    job_ids = [send(server.admin, jobs, "job-3", {"payload": {"names": []}})["job_id"]]
    job_ids += [send(server.admin, jobs, "job-3", {"payload": {"names": []}})["job_id"]]
    undo = f"/api/v1/apps/{app}/undo"
    answer = server.admin.post(undo, json={"request": "job-3", "children": True})
    assert answer.status_code == 200

    job_ids += [send(server.admin, jobs, "job-3", {"payload": {"names": []}})["job_id"]]
    answer = server.admin.post(undo, json={"request": "job-3", "children": True})
    assert answer.status_code == 400
    assert "more than 2 others" in answer.json()["error"]
    shown_ids = [child["id"] for child in trace(server.admin, "job-3")["children"]]
    assert shown_ids == job_ids[:2]


def test_what_the_system_did(server: Server) -> None:
    manifest = {"appId": "traced", "name": "Traced"}
    send(server.admin, "/api/v1/apps", "install-1", manifest)
    events = trace(server.admin, "install-1")["events"]
    names = {(event["operation"], event["record_id"]) for event in events}
    assert ("APP_INSTALLED", "traced") in names
    assert {event["actor"] for event in events} == {server.admin.id}


def test_an_admin_of_an_app_sees_the_part_of_the_app(server: Server, app: str) -> None:
    other = deployed(server, WORKER)
    for target in (app, other):
        path = f"/api/v1/apps/{target}/collections/contacts"
        send(server.admin, path, "both-1", {"name": "Ada"})
    owner = server.user(roles={app: ["admin"]})
    assert [change["app"] for change in trace(owner, "both-1")["changes"]] == [app]
    assert len(trace(server.admin, "both-1")["changes"]) == 2
    send(server.admin, f"/api/v1/apps/{other}/collections/contacts", "other-1", {"name": "Ada"})
    assert owner.get("/api/v1/requests/other-1").status_code == 404
    assert owner.get("/api/v1/requests/install-1").status_code == 404


def test_refusals(server: Server) -> None:
    assert server.admin.get("/api/v1/requests/unknown").status_code == 404
    assert server.http.get("/api/v1/requests/unknown").status_code == 401
    user = server.user(roles={"core": []})
    assert user.get("/api/v1/requests/unknown").status_code == 403


def test_calls_that_are_too_many_go(server: Server, postgres: Postgres) -> None:
    settings = {"trace": {"keep_calls": 2}, "workers": {**QUICK, "rpc_timeout": 20}}
    with running_server(postgres, {"plugins": settings}) as small:
        app_id = deployed(small, WORKER)
        for number in range(5):
            body = {"method": "add", "params": {"name": f"{number}"}}
            send(small.admin, f"/api/v1/apps/{app_id}/rpc", f"call-{number}", body)
        assert eventually(lambda: small.sql("select count(*) from caudex_trace.calls") == [(5,)])
        service = small.services.get(SERVICE)
        small.run(service.sweep)
        kept = small.sql("select request_id from caudex_trace.calls order by 1")
        assert kept == [("call-3",), ("call-4",)]


def test_without_the_plugin_no_call_is_remembered(postgres: Postgres) -> None:
    settings = {"trace": {"enabled": False}, "workers": {**QUICK, "rpc_timeout": 20}}
    with running_server(postgres, {"plugins": settings}) as plain:
        app_id = deployed(plain, WORKER)
        body = {"method": "add", "params": {"name": "Ada"}}
        answer = plain.admin.post(f"/api/v1/apps/{app_id}/rpc", json=body)
        assert answer.status_code == 200
        assert plain.admin.get("/api/v1/requests/call-1").status_code == 404
        undo = f"/api/v1/apps/{app_id}/undo"
        answer = plain.admin.post(undo, json={"request": "a", "children": True})
        assert answer.status_code == 400
