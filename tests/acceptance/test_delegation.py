"""Tokens of workers: good for their own app, and for what core admins grant on others."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import pytest

from kernel.public import IDENTITY, Route, new_delegation
from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.workers.support import QUICK, deployed, rpc
from tests.waiting import eventually

NOTES = {
    "entityName": "notes",
    "fields": [
        {"name": "name", "type": "text"},
        {"name": "owner", "type": "entity_link", "references": {"entity": "notes"}},
    ],
}
HOSTILE = """
import json, os, urllib.request, urllib.error
from caudex_worker import Worker

worker = Worker()

@worker.rpc
def send(params, ctx):
    request = urllib.request.Request(
        os.environ["CAUDEX_RUNTIME_URL"] + params["path"], method=params["method"],
        data=json.dumps(params["body"]).encode() if params.get("body") is not None else None,
        headers={"authorization": "Bearer " + ctx.auth_token, "content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return [answer.status, json.loads(answer.read())]
    except urllib.error.HTTPError as error:
        return [error.code, json.loads(error.read())]

@worker.job
def work(payload, ctx):
    return send(payload, ctx)

worker.run()
"""


@pytest.fixture(scope="module")
def server(postgres: Postgres):
    settings = {**QUICK, "rpc_timeout": 20}
    with running_server(postgres, {"plugins": {"workers": settings}}) as running:
        yield running


@pytest.fixture(scope="module")
def app(server: Server) -> str:
    return installed(server)


def installed(server: Server) -> str:
    """An app with the entity notes and an admin of its own."""
    number = len(server.admin.get("/api/v1/apps").json())
    manifest = {"appId": f"acting{number}", "name": "x", "dataContract": [NOTES]}
    server.install(manifest)
    return manifest["appId"]


def token(server: Server, user: Client, app: str) -> httpx.Client:
    """A client that sends what a worker of an app gets as `ctx.auth_token`."""
    identity = server.services.get(IDENTITY)
    text = server.run(identity.issue_delegated_token, user.id, new_delegation(app, 60))
    return httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {text}"})


def test_a_token_of_an_app_is_none_of_a_later_app_of_the_name(server: Server):
    manifest = {"appId": "again", "name": "x", "dataContract": [NOTES]}
    path = "/api/v1/apps/again/collections/notes"
    server.install(manifest)
    with token(server, server.admin, "again") as former:
        assert former.get(path).status_code == 200
        assert server.admin.delete("/api/v1/apps/again").is_success
        eventually(lambda: former.get(path).status_code == 401)
        server.install(manifest)
        assert former.get(path).status_code == 401
        with token(server, server.admin, "again") as later:
            assert later.get(path).status_code == 200


@pytest.mark.slow
def test_a_worker_does_not_become_core_admin_by_the_token_of_one(server: Server):
    """An admin of an app deploys the worker, and a core admin calls it."""
    app = deployed(server, {"worker.py": HOSTILE})
    attacker = server.user()
    server.assign(attacker, app, "admin")

    def send(method: str, path: str, body: object = None) -> Sequence[object]:
        params = {"method": method, "path": f"/api/v1/{path}", "body": body}
        answer = rpc(server.admin, app, "send", params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    me = {"userId": attacker.id, "role": "admin"}
    assert send("POST", "apps/core/roles/assign", me)[0] == 403
    for role in ("admin", "helper"):
        assert send("POST", f"apps/{app}/roles/assign", me | {"role": role})[0] == 403
    assert send("PATCH", f"users/{server.admin.id}", {"password": "Taken0ver!!"})[0] == 403
    assert send("POST", "auth/register", {"username": "made", "password": "Str0ngPass!x"})[0] != 500
    assert send("POST", "apps", {"appId": "new", "name": "x"})[0] == 403
    assert send("POST", "apps/other/secrets", {"key": "K", "value": "v"})[0] == 403
    assert send("POST", f"apps/{app}/grants", {"app": "x", "permissions": ["*"]})[0] == 403
    assert server.admin.get("/api/v1/apps/core/permissions").json()["permissions"] == ["*"]
    assert attacker.get("/api/v1/apps/core/permissions").json()["permissions"] == []
    assert send("GET", "auth/me")[1] == server.admin.get("/api/v1/auth/me").json()


def routes_of(server: Server) -> Sequence[Route]:
    return [route for _, route in server.kernel.routes]


def test_only_these_routes_take_the_token_of_a_worker(server: Server):
    """A route more is a decision, and changes this list."""
    taken = {f"{r.method} {r.path}" for r in routes_of(server) if r.workers}
    records = "/api/v1/apps/{app_id}/collections/{entity}"
    jobs = "/api/v1/apps/{app_id}/jobs"
    assert taken == {
        *(f"{method} {records}" for method in ("GET", "POST")),
        *(f"{method} {records}/{{id}}" for method in ("GET", "PATCH", "PUT", "DELETE")),
        *(f"POST {records}/{name}" for name in ("query", "bulk", "update-where", "delete-where")),
        f"POST {records}/import", "POST /api/v1/apps/{app_id}/batch",
        "POST /api/v1/apps/{app_id}/rpc", f"POST {jobs}", f"GET {jobs}", f"GET {jobs}/{{job_id}}",
        f"POST {jobs}/{{job_id}}/cancel", "GET /api/v1/apps/{app_id}/permissions",
        "GET /api/v1/auth/me", "GET /api/v1/users",
        "POST /api/v1/apps/{app_id}/files", "GET /api/v1/apps/{app_id}/files/{id}",
        "POST /api/v1/apps/{app_id}/files/{id}/link", "POST /api/v1/apps/{app_id}/storage/upload",
        "GET /api/v1/apps/{app_id}/storage/{id}", "DELETE /api/v1/apps/{app_id}/storage/{id}",
    }  # fmt: skip


def test_every_other_route_refuses_it(server: Server, app: str):
    words = {"app_id": app, "entity": "notes", "role": "admin", "user_id": server.admin.id}
    with token(server, server.admin, app) as worker:
        for route in routes_of(server):
            if route.workers or route.needs.kind == "public":
                continue
            path = "/".join(
                words.get(part[1:-1], "x") if part.startswith("{") else part
                for part in route.path.split("/")
            )
            answer = worker.request(route.method, path)
            assert answer.status_code == 403, f"{route.method} {path}: {answer.text}"


def test_a_public_route_does_not_act_for_it(make_server):
    server = make_server({"plugins": {"auth": {"registration": "first-user"}}})
    server.install({"appId": "acting", "name": "x"})
    form = {"username": "made_by_worker", "password": "Str0ngPass!x"}
    with token(server, server.admin, "acting") as worker:
        assert worker.post("/api/v1/auth/register", json=form).status_code == 403
    assert server.admin.post("/api/v1/auth/register", json=form).status_code == 201


def test_it_reads_and_writes_records_of_its_own_app(server: Server, app: str):
    path = f"/api/v1/apps/{app}/collections/notes"
    with token(server, server.admin, app) as worker:
        made = worker.post(path, json={"name": "a"})
        assert made.status_code == 201, made.text
        record = f"{path}/{made.json()['id']}"
        assert worker.patch(record, json={"name": "b"}).json()["name"] == "b"
        found = worker.post(f"{path}/query", json={"where": {"name": "b"}}).json()
        assert found["data"] == [worker.get(record).json()]
        assert worker.get(path).status_code == 200
        assert worker.post(f"{path}/bulk", json=[{"name": "c"}]).status_code == 201
        write = {"op": "create", "entity": "notes", "data": {"name": "d"}}
        batch = worker.post(f"/api/v1/apps/{app}/batch", json={"operations": [write]})
        assert batch.status_code == 200, batch.text
        held = worker.get(f"/api/v1/apps/{app}/permissions").json()
        assert held == server.admin.get(f"/api/v1/apps/{app}/permissions").json()
        job = worker.post(f"/api/v1/apps/{app}/jobs", json={"payload": {}})
        assert job.status_code == 201, job.text
        job_path = f"/api/v1/apps/{app}/jobs/{job.json()['job_id']}"
        assert worker.get(job_path).json()["status"] == "pending"
        assert worker.post(f"{job_path}/cancel").status_code == 200


def test_it_has_no_more_rights_than_the_user(server: Server, app: str):
    user = server.user()
    path = f"/api/v1/apps/{app}/collections/notes"
    with token(server, user, app) as worker:
        assert worker.get(path).status_code == 403
        assert worker.get(f"/api/v1/apps/{app}/permissions").json()["permissions"] == []


@pytest.mark.parametrize("way", ["records", "batch", "permissions", "jobs", "rpc"])
def test_it_does_nothing_on_another_app(server: Server, app: str, way: str):
    other = installed(server)
    sent = {
        "records": ("GET", "collections/notes", None), "batch": ("POST", "batch", {}),
        "permissions": ("GET", "permissions", None), "jobs": ("POST", "jobs", {"payload": {}}),
        "rpc": ("POST", "rpc", {"method": "x"}),
    }  # fmt: skip
    method, path, body = sent[way]
    with token(server, server.admin, app) as worker:
        answer = worker.request(method, f"/api/v1/apps/{other}/{path}", json=body)
        assert answer.status_code == 403
        assert worker.get("/api/v1/apps/core/permissions").status_code == 403


# Grants


def test_a_core_admin_grants_permissions_on_another_app(server: Server, app: str):
    other = installed(server)
    path = f"/api/v1/apps/{other}/collections/notes"
    grants = f"/api/v1/apps/{app}/grants"
    reader, stranger = server.user(), server.user()
    role = {"name": "reader", "permissions": ["notes.read"]}
    server.admin.post(f"/api/v1/apps/{other}/roles", json=role).raise_for_status()
    server.assign(reader, other, "reader")
    body = {"app": other, "permissions": ["notes.read", "notes.create"]}
    answer = server.admin.post(grants, json=body)
    assert (answer.status_code, answer.json()) == (
        200, {"message": f"grant on app '{other}' added"},
    )  # fmt: skip
    assert server.admin.get(grants).json() == [body]
    with token(server, server.admin, app) as worker:
        assert worker.post(path, json={"name": "a"}).status_code == 201
        (record,) = worker.get(path).json()
        assert worker.delete(f"{path}/{record['id']}").status_code == 403
        for line in ("batch", "rpc", "jobs"):
            assert worker.post(f"/api/v1/apps/{other}/{line}", json={}).status_code == 403, line
        assert worker.get(f"/api/v1/apps/{other}/permissions").status_code == 403
        assert worker.get(f"/api/v1/apps/{other}/roles").status_code == 403
    with token(server, reader, app) as worker:
        assert worker.get(path).json() == [record]
        assert worker.post(path, json={"name": "b"}).status_code == 403
    with token(server, stranger, app) as worker:
        assert worker.get(path).status_code == 403
    revoked = server.admin.delete(f"{grants}/{other}")
    assert revoked.json() == {"message": f"grant on app '{other}' revoked"}
    assert server.admin.delete(f"{grants}/{other}").status_code == 404
    with token(server, server.admin, app) as worker:
        assert worker.get(path).status_code == 403
    rows = server.admin.get("/api/v1/audit", params={"record_id": app}).json()
    assert [row["operation"] for row in rows][:2] == ["GRANT_REVOKED", "GRANT_ADDED"]


def test_a_grant_of_everything_covers_jobs_and_batches(server: Server, app: str):
    other = installed(server)
    body = {"app": other, "permissions": ["*"]}
    server.admin.post(f"/api/v1/apps/{app}/grants", json=body).raise_for_status()
    write = {"op": "create", "entity": "notes", "data": {"name": "d"}}
    with token(server, server.admin, app) as worker:
        base = f"/api/v1/apps/{other}"
        assert worker.post(f"{base}/batch", json={"operations": [write]}).status_code == 200
        assert worker.post(f"{base}/jobs", json={"payload": {}}).status_code == 201
        assert worker.post(f"{base}/worker/start").status_code == 403
        assert worker.delete(base).status_code == 403
    server.admin.delete(f"/api/v1/apps/{app}/grants/{other}").raise_for_status()


def test_a_grant_of_own_records_narrows_a_user_with_all_rights(server: Server, app: str):
    other = installed(server)
    path = f"/api/v1/apps/{other}/collections/notes"
    user = server.user()
    server.assign(user, other, "admin")
    server.admin.post(path, json={"name": "foreign"}).raise_for_status()
    mine = user.post(path, json={"name": "mine"}).json()
    body = {"app": other, "permissions": ["notes.read.own"]}
    server.admin.post(f"/api/v1/apps/{app}/grants", json=body).raise_for_status()
    with token(server, user, app) as worker:
        assert worker.get(path).json() == [mine]


def test_grants_are_for_core_admins_and_have_rules(server: Server, app: str):
    other = installed(server)
    owner = server.user()
    server.assign(owner, app, "admin")
    grants = f"/api/v1/apps/{app}/grants"
    body = {"app": other, "permissions": ["notes.read"]}
    assert owner.post(grants, json=body).status_code == 403
    assert owner.get(grants).status_code == 200
    assert owner.delete(f"{grants}/{other}").status_code == 403
    for wrong in (
        {"app": "core"}, {"app": app}, {"permissions": ["nothing.read"]}, {"permissions": []},
        {"more": 1},
    ):  # fmt: skip
        assert server.admin.post(grants, json=body | wrong).status_code == 400, wrong
    assert server.admin.post("/api/v1/apps/core/grants", json=body).status_code == 400
    assert server.admin.post(grants, json=body | {"app": "nowhere"}).status_code == 404


def test_a_grant_ends_with_the_app_that_has_it(server: Server):
    one, other = installed(server), installed(server)
    path = f"/api/v1/apps/{other}/collections/notes"
    body = {"app": other, "permissions": ["notes.read"]}
    server.admin.post(f"/api/v1/apps/{one}/grants", json=body).raise_for_status()
    with token(server, server.admin, one) as worker:
        assert worker.get(path).status_code == 200
        server.admin.delete(f"/api/v1/apps/{one}").raise_for_status()
        server.install({"appId": one, "name": "another"})
    with token(server, server.admin, one) as worker:
        eventually(lambda: worker.get(path).status_code == 403)
    assert server.admin.get(f"/api/v1/apps/{one}/grants").json() == []
