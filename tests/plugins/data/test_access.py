"""Who reaches which records: roles, ownership, scopes."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from typing import Any

import pytest

from kernel.public import RECORDS, Actor, Forbidden, Grant, NotFound, Page, Target, server_actor
from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.conftest import overrides
from tests.plugins.data.support import SAMPLES, clear, create, installed, names, refused


@pytest.fixture(scope="module")
def shop(server: Server) -> Server:
    installed(server)
    return server


@pytest.fixture
def admin(shop: Server) -> Client:
    clear(shop)
    return shop.admin


def holding(server: Server, *permissions: str) -> Client:
    """A user whose role on the app has just these permissions."""
    user = server.user()
    role = f"r{uuid.uuid4().hex[:8]}"
    body: dict[str, Any] = {"name": role, "permissions": list(permissions)}
    assert server.admin.post("/api/v1/apps/lab/roles", json=body).status_code == 200
    body = {"userId": user.id, "role": role}
    assert server.admin.post("/api/v1/apps/lab/roles/assign", json=body).status_code == 200
    return user


def test_without_a_token_nothing_is_served(shop: Server):
    for method, path in (("GET", ""), ("POST", ""), ("POST", "/query"), ("POST", "/bulk")):
        refused(shop.http.request(method, SAMPLES + path, json={}), 401)


def test_every_route_asks_for_its_own_permission(shop: Server, admin: Client):
    record_id = create(admin)["id"]
    record = f"{SAMPLES}/{record_id}"
    calls = {
        "read": [("GET", SAMPLES, None), ("GET", record, None), ("POST", f"{SAMPLES}/query", {})],
        "create": [("POST", SAMPLES, {"name": "x"}), ("POST", f"{SAMPLES}/bulk", [{"name": "x"}])],
        "update": [("PATCH", record, {"name": "y"})],
        "delete": [("DELETE", f"{SAMPLES}/{uuid.uuid4()}", None)],
    }
    users = {action: holding(shop, f"samples.{action}") for action in calls}
    for action, made in calls.items():
        for method, path, body in made:
            for holds, user in users.items():
                status = user.request(method, path, json=body).status_code
                assert (status == 403) is (holds != action), (holds, method, path, status)


def test_a_caller_of_its_own_rows_sees_no_other(shop: Server, admin: Client):
    owner = holding(
        shop, *(f"samples.{action}.own" for action in ("create", "read", "update", "delete"))
    )
    other = create(admin, name="other")
    mine = create(owner, name="mine")
    assert names(owner.get(SAMPLES)) == ["mine"]
    assert names(owner.get(SAMPLES, params={"limit": 9})) == ["mine"]
    assert names(owner.get(SAMPLES, params={"limit": 9, "name": "other"})) == []
    answer = owner.post(f"{SAMPLES}/query", json={"where": {"$not": {"name": "mine"}}}).json()
    assert answer == {"data": [], "total": 0}
    assert owner.post(f"{SAMPLES}/query", json={}).json()["total"] == 1
    assert sorted(names(admin.get(SAMPLES))) == ["mine", "other"]
    path = f"{SAMPLES}/{other['id']}"
    said = f"record '{other['id']}' not found"
    assert refused(owner.get(path), 404) == said
    assert refused(owner.patch(path, json={"name": "taken"}), 404) == said
    assert refused(owner.delete(path), 404) == said
    assert "after" in refused(owner.get(SAMPLES, params={"after": other["id"]}))
    assert admin.get(path).json() == other
    path = f"{SAMPLES}/{mine['id']}"
    assert owner.patch(path, json={"name": "still mine"}).status_code == 200
    assert owner.get(path).json()["name"] == "still mine"
    assert owner.delete(path).status_code == 200


def test_an_update_that_changes_nothing_is_a_read(lab: Server):
    clear(lab)
    nothing = {"created_at": "2000-01-01", "id": "x"}
    record = create(lab.admin, name="other")
    path = f"{SAMPLES}/{record['id']}"
    writer = holding(lab, "samples.update")
    assert refused(writer.patch(path, json=nothing), 403)
    assert refused(writer.patch(f"{SAMPLES}/{uuid.uuid4()}", json=nothing), 404)
    assert writer.patch(path, json={"name": "written"}).json()["name"] == "written"
    own_reader = holding(lab, "samples.update", "samples.read.own", "samples.create")
    assert refused(own_reader.patch(path, json=nothing), 404)
    mine = create(own_reader, name="mine")
    assert own_reader.patch(f"{SAMPLES}/{mine['id']}", json=nothing).json() == mine
    own_writer = holding(lab, "samples.update.own", "samples.read")
    assert refused(own_writer.patch(path, json=nothing), 404)
    reader = holding(lab, "samples.update", "samples.read")
    assert reader.patch(path, json=nothing).json() == reader.get(path).json()

    async def update(actor: Actor) -> bytes:
        target = Target(actor, Grant(), "lab", "samples")
        shown = await lab.services.get(RECORDS).update(target, record["id"], nothing)
        return shown.record

    with pytest.raises(Forbidden):
        lab.run(update, Actor(user_id=writer.id))
    assert record["id"].encode() in lab.run(update, server_actor())


def test_rows_without_an_owner_are_for_full_rights_only(shop: Server, admin: Client):
    owner = holding(shop, "samples.read.own")
    shop.sql("insert into lab.samples (name) values ('by hand')")
    assert names(owner.get(SAMPLES)) == []
    assert names(admin.get(SAMPLES)) == ["by hand"]


def test_a_worker_uses_the_same_service(shop: Server, admin: Client):
    async def work() -> tuple[bytes, int]:
        records = shop.services.get(RECORDS)
        target = Target(server_actor(), Grant(), "lab", "samples")
        created = (await records.create(target, {"name": "w"})).record
        page = Page(where={"name": "w"})
        assert await records.page(target, page) == b"[" + created + b"]"
        own = Target(server_actor(), Grant(own_only=True), "lab", "samples")
        with pytest.raises(NotFound):
            await records.get(own, created[7:43].decode())
        nobodys = Target(Actor(user_id=None), Grant(), "lab", "samples")
        return created, await records.count(nobodys, None)

    assert shop.run(work)[1] == 1
    assert shop.sql("select _owner from lab.samples") == [(None,)]


@pytest.fixture(scope="module")
def scoped(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres, overrides("ScopePlugin")) as running:
        installed(running)
        yield running


def test_a_scope_narrows_reads_and_writes(scoped: Server):
    clear(scoped)
    admin = scoped.admin
    scope: Any = next(p for p in scoped.kernel.instances if p.name == "scope")
    seen, hidden = create(admin, name="seen"), create(admin, name="hidden")
    scope.tree = {"name": {"$ne": "hidden"}}
    assert names(admin.get(SAMPLES)) == ["seen"]
    assert names(admin.get(SAMPLES, params={"limit": 5})) == ["seen"]
    assert admin.post(f"{SAMPLES}/query", json={}).json()["total"] == 1
    where = {"$or": [{"name": "hidden"}, {"name": "seen"}]}
    answer = admin.post(f"{SAMPLES}/query", json={"where": where}).json()
    assert (len(answer["data"]), answer["total"]) == (1, 1)
    path = f"{SAMPLES}/{hidden['id']}"
    refused(admin.get(path), 404)
    refused(admin.patch(path, json={"name": "seen"}), 404)
    refused(admin.delete(path), 404)
    assert admin.get(f"{SAMPLES}/{seen['id']}").status_code == 200
    scope.tree = None
    assert admin.get(path).json() == hidden
    assert {("lab.samples", a) for a in ("read", "update", "delete")} <= set(scope.asked)
