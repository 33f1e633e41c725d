"""Writes of workers with an idempotency key: a write that is sent again acts once."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from kernel.testing import Client, Server
from tests.plugins.workers.support import deploy, deployed, grant, result, rpc

pytestmark = pytest.mark.slow

WORKER = """
from caudex_worker import Worker

worker = Worker()

@worker.rpc
def op(params, ctx):
    collection = ctx.collection("contacts").once(params["key"])
    return getattr(collection, params["op"])(params["data"])

@worker.rpc
async def own(params, ctx):
    collection = worker.collection("contacts").once(params["key"])
    return await getattr(collection, params["op"])(params["data"])

worker.run()
"""


JAVASCRIPT = """
let server;
const act = (ctx, params) => ctx.collection("contacts").once(params.key)[params.op](params.data);
serve({
  onStart: (ctx) => { server = ctx; },
  rpc: { op: (params, caller, ctx) => act(ctx, params), own: (params) => act(server, params) },
});
"""


def act(client: Client, app: str, op: str, data: Any, key: str = "k1", by: str = "op") -> Any:
    return result(client, app, by, {"op": op, "data": data, "key": key})


def refused(client: Client, app: str, op: str, data: Any, key: str = "k1") -> str:
    answer = rpc(client, app, "op", {"op": op, "data": data, "key": key})
    assert answer.status_code == 500, answer.text
    return answer.json()["error"]


def names(server: Server, app: str) -> list[str]:
    records = server.admin.get(f"/api/v1/apps/{app}/collections/contacts?sort=name&order=asc")
    return [record["name"] for record in records.json()]


@pytest.fixture(scope="module", params=["python", "javascript"])
def app(request: pytest.FixtureRequest, workers: Server) -> str:
    if request.param == "python":
        return deployed(workers, WORKER)
    if not shutil.which("node"):
        pytest.skip("no node on this machine")
    return deployed(workers, {"index.js": JAVASCRIPT})


@pytest.fixture
def admin(workers: Server, app: str) -> Client:
    workers.sql("truncate caudex_idempotency.keys")
    workers.sql(f"delete from {app}.contacts")
    return workers.admin


def test_a_write_with_a_key_acts_once(workers: Server, app: str, admin: Client):
    first = act(admin, app, "insert", {"name": "ada", "age": 36})
    assert act(admin, app, "insert", {"age": 36, "name": "ada"}) == first
    assert names(workers, app) == ["ada"]
    said = refused(admin, app, "insert", {"name": "bob"})
    assert said == "this Idempotency-Key was used with another body"
    assert act(admin, app, "insert", {"name": "bob"}, "k2") != first
    changed = act(admin, app, "update", {"id": first["id"], "age": 37})
    act(admin, app, "update", {"id": first["id"], "age": 40}, "k2")
    assert act(admin, app, "update", {"id": first["id"], "age": 37}) == changed
    [found] = act(admin, app, "find", {"name": "ada"})
    assert found["age"] == 40
    act(admin, app, "delete", first["id"])
    act(admin, app, "delete", first["id"])
    assert names(workers, app) == ["bob"]


def test_a_write_that_failed_may_be_sent_again(workers: Server, app: str, admin: Client):
    refused(admin, app, "insert", {"unknown": 1})
    act(admin, app, "insert", {"name": "ada"})
    assert names(workers, app) == ["ada"]
    assert "visible characters" in refused(admin, app, "insert", {"name": "x"}, "a b")


def test_keys_of_users_and_of_the_app_are_apart(workers: Server, app: str, admin: Client):
    user = workers.user()
    grant(workers, user, app, "contacts.create", "contacts.read")
    for client, by in ((admin, "op"), (user, "op"), (admin, "own")):
        assert act(client, app, "insert", {"name": "x"}, by=by) == act(
            client, app, "insert", {"name": "x"}, by=by
        )
    assert act(user, app, "insert", {"name": "x"}, by="own") == act(
        admin, app, "insert", {"name": "x"}, by="own"
    ), "the app writes, not its caller"
    assert names(workers, app) == ["x"] * 3


def test_an_app_of_the_same_name_has_keys_of_its_own(workers: Server):
    app = deployed(workers, WORKER)
    act(workers.admin, app, "insert", {"name": "x"})
    manifest = workers.admin.get(f"/api/v1/apps/{app}/manifest").json()
    assert workers.admin.delete(f"/api/v1/apps/{app}").status_code == 200
    assert workers.admin.post("/api/v1/apps", json=manifest).status_code == 200
    assert deploy(workers.admin, app, {"worker.py": WORKER}).status_code == 200
    act(workers.admin, app, "insert", {"name": "x"})
    assert names(workers, app) == ["x"]


@pytest.mark.parametrize(
    ("op", "more", "said"),
    [
        ("find", {"key": "k"}, "key and if_match go with writes"),
        ("query", {"key": "k"}, "key goes with writes: reads may be repeated without one"),
        ("querry", {}, "unknown operation 'querry'; did you mean 'query'?"),
        ("updateWhere", {"data": {"where": {}, "values": {}}}, "updateWhere: Object contains"),
    ],
)
def test_an_operation_that_does_not_fit_is_refused(
    workers: Server, op: str, more: dict[str, Any], said: str
):
    raw = """
import json, sys
def say(message): print(json.dumps(message), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "discover":
        say({"type": "discover", "methods": ["read"]})
    if message["type"] == "rpc":
        call = message["id"]
        say({"type": "collection_op", "id": "1", "entity": "contacts", "call": call, **OPERATION})
    if message["type"] == "collection_op_result":
        say({"type": "rpc_response", "id": call, "result": message["error"]})
"""
    raw = f"OPERATION = { ({'op': op, **more})!r}\n{raw}"
    assert said in result(workers.admin, deployed(workers, raw), "read")
