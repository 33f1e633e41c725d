"""Plugins, rights and bounds: an undo is a write as any other."""

from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kernel.public import (
    Action,
    Actor,
    BadRequest,
    Change,
    Entity,
    Event,
    Plugin,
    Transaction,
    for_subjects,
    hookimpl,
)
from kernel.testing import Client, Postgres, Server, running_server
from plugins.undo import service
from tests.plugins.undo.conftest import APP, CRM, Crm, Row

TEAMS: dict[str, Any] = {
    "appId": "desk",
    "name": "Desk",
    "dataContract": [
        {
            "entityName": "teams",
            "fields": [
                {"name": "id", "type": "text"},
                {"name": "name", "type": "text"},
                {"name": "secret", "type": "text", "access": {"read": ["admin"]}},
                {"name": "grade", "type": "text", "access": {"write": ["admin"]}},
            ],
        }
    ],
}
DESK = "/api/v1/apps/desk"


class GuardPlugin(Plugin):
    """Hears of writes of contacts, refuses some, and hides some from readers."""

    name = "guard"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.heard: list[tuple[str, str | None]] = []
        self.refused_name = ""
        self.hidden_name = ""

    @hookimpl
    @for_subjects("crm.contacts")
    async def record_writing(self, tx: Transaction, change: Change) -> None:
        if self.refused_name and change.values.get("name") == self.refused_name:
            raise BadRequest("this name is refused")
        if change.action == "create":
            change.values["email"] = change.values.get("email") or "set@by.hook"

    @hookimpl
    @for_subjects("crm.contacts")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        self.heard.append((event.operation, event.record_id))

    @hookimpl
    async def record_scope(
        self, actor: Actor, entity: Entity, action: Action
    ) -> Mapping[str, Any] | None:
        if entity.name != "contacts" or not self.hidden_name:
            return None
        return {"name": {"$ne": self.hidden_name}}


@pytest.fixture(scope="module")
def guarded(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres, {}, plugins=[GuardPlugin]) as running:
        running.install(CRM)
        yield running


@pytest.fixture
def guard(guarded: Server) -> Generator[GuardPlugin]:
    plugin: Any = next(item for item in guarded.kernel.instances if item.name == "guard")
    guarded.sql("delete from crm.contacts")
    plugin.heard.clear()
    yield plugin
    plugin.refused_name = ""
    plugin.hidden_name = ""


@pytest.fixture
def watched(guarded: Server, guard: GuardPlugin) -> Crm:
    """The app of the server where a plugin takes part in writes of contacts."""
    return Crm(guarded.admin)


def test_hooks_hear_of_each_record(watched: Crm, guard: GuardPlugin) -> None:
    made = watched.create_many("contacts", [{"name": "a"}, {"name": "b"}])
    ids = [row["id"] for row in made]
    guard.heard.clear()
    undone = watched.undo(request=watched.request)
    assert sorted(guard.heard) == sorted(("DELETE", record_id) for record_id in ids)
    guard.heard.clear()
    watched.undo(request=undone["request"])
    assert sorted(guard.heard) == sorted(("INSERT", record_id) for record_id in ids)
    assert [row["created_at"] for row in watched.all("contacts")] == [
        row["created_at"] for row in sorted(made, key=lambda row: row["id"])
    ]


def test_a_hook_may_change_what_is_restored(watched: Crm, guarded: Server) -> None:
    contact = watched.create("contacts", name="a")
    guarded.sql("update crm.contacts set email = null")
    watched.delete("contacts", contact["id"])
    watched.undo(request=watched.request)
    restored = watched.get("contacts", contact["id"])
    assert restored is not None
    assert restored["email"] == "set@by.hook"
    assert restored["created_at"] == contact["created_at"]


def test_what_a_hook_refuses_is_a_conflict(watched: Crm, guard: GuardPlugin) -> None:
    first = watched.create("contacts", name="a")
    watched.create("contacts", name="b")
    ids = [row["id"] for row in watched.all("contacts")]
    watched.batch(*({"op": "delete", "entity": "contacts", "id": record_id} for record_id in ids))
    change = watched.request
    guard.refused_name = "a"
    answer = watched.try_undo(request=change)
    assert answer.status_code == 412
    conflict = {"entity": "contacts", "id": first["id"], "reason": "refused"}
    conflict["error"] = "this name is refused"
    assert answer.json()["conflicts"] == [conflict]
    assert watched.all("contacts") == []
    undone = watched.undo(request=change, mode="possible")
    assert (undone["undone"], undone["conflicts"]) == (1, [conflict])


def test_what_a_plugin_hides_does_not_exist(watched: Crm, guard: GuardPlugin) -> None:
    contact = watched.create("contacts", name="hidden")
    watched.update("contacts", contact["id"], age=1)
    change = watched.request
    guard.hidden_name = "hidden"
    [conflict] = watched.try_undo(request=change).json()["conflicts"]
    assert conflict["error"] == f"record '{contact['id']}' not found"


def test_what_a_plugin_hides_is_not_restored(watched: Crm, guard: GuardPlugin) -> None:
    contacts = watched.create_many("contacts", [{"name": "hidden"}, {"name": "shown"}])
    ids = {row["name"]: row["id"] for row in contacts}
    watched.batch(
        *({"op": "delete", "entity": "contacts", "id": record_id} for record_id in ids.values())
    )
    change = watched.request
    guard.hidden_name = "hidden"
    undone = watched.undo(request=change, mode="possible")
    assert [record["id"] for record in undone["records"]] == [ids["shown"]]
    [conflict] = undone["conflicts"]
    assert conflict["error"] == f"record '{ids['hidden']}' not found"
    guard.hidden_name = ""
    assert [row["name"] for row in watched.all("contacts")] == ["shown"]


# Fields with rights of their own, and ids that are chosen


@pytest.fixture
def desk(installed: Server) -> Client:
    installed.install(TEAMS)
    installed.sql("delete from desk.teams")
    return installed.admin


def send(client: Client, method: str, path: str, body: Any = None) -> str:
    answer = client.request(method, f"{DESK}/collections/teams{path}", json=body)
    assert answer.is_success, answer.text
    return answer.headers["x-request-id"]


def undo(client: Client, **body: Any) -> Row:
    return client.post(f"{DESK}/undo", json=body).json()


def test_a_chosen_id_comes_back(desk: Client) -> None:
    send(desk, "POST", "", {"id": "blue", "name": "Blue"})
    delete = send(desk, "DELETE", "/blue")
    assert undo(desk, request=delete)["undone"] == 1
    assert desk.get(f"{DESK}/collections/teams/blue").json()["name"] == "Blue"


def test_an_id_that_is_another_record_now(desk: Client) -> None:
    create = send(desk, "POST", "", {"id": "blue", "name": "Blue"})
    delete = send(desk, "DELETE", "/blue")
    send(desk, "POST", "", {"id": "blue", "name": "Navy"})
    for request in (create, delete):
        [conflict] = undo(desk, request=request)["conflicts"]
        assert conflict == {"entity": "teams", "id": "blue", "reason": "changed later"}


@pytest.mark.parametrize(
    ("field", "error"),
    [
        ("secret", "teams has fields that you may not write"),
        ("grade", "the permission 'teams.grade.write' is needed"),
    ],
)
def test_a_field_that_may_not_be_written_is_refused(
    desk: Client, installed: Server, field: str, error: str
) -> None:
    keys = [f"teams.{action}" for action in ("create", "read", "update", "delete")]
    user = installed.user(permissions={"desk": keys})
    send(user, "POST", "", {"id": "blue", "name": "Blue"})
    send(desk, "PATCH", "/blue", {field: "x"})
    delete = send(user, "DELETE", "/blue")
    [conflict] = undo(user, request=delete)["conflicts"]
    assert (conflict["reason"], conflict["error"]) == ("refused", error)
    assert undo(desk, request=delete)["undone"] == 1


# Bounds


def test_too_many_changes_are_refused_with_their_number(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.create_many("contacts", [{"name": f"c{number}"} for number in range(30)])
    monkeypatch.setattr(service, "MAX_CHANGES", 20)
    answer = crm.try_undo(request=crm.request)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("30 changes are meant")
    assert len(crm.all("contacts")) == 30


def test_the_same_undo_at_the_same_time_acts_once(crm: Crm) -> None:
    made = crm.create_many("contacts", [{"name": f"c{number}"} for number in range(50)])
    ids = [row["id"] for row in made]
    crm.batch(*({"op": "delete", "entity": "contacts", "id": record_id} for record_id in ids))
    change = crm.request
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda _: crm.try_undo(request=change), range(4))]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert sorted(answer.json()["undone"] for answer in answers) == [0, 0, 0, 50]
    assert len(crm.all("contacts")) == 50


def test_an_edit_at_the_same_time_is_never_lost(crm: Crm) -> None:
    contacts = crm.create_many("contacts", [{"name": "a", "age": 0} for _ in range(20)])
    ids = [row["id"] for row in contacts]
    operations = [
        {"op": "update", "entity": "contacts", "id": record_id, "data": {"age": 1}}
        for record_id in ids
    ]
    crm.batch(*operations)
    change = crm.request

    def edit(record_id: str) -> None:
        path = f"{APP}/collections/contacts/{record_id}"
        assert crm.client.patch(path, json={"age": 2}).status_code == 200

    with ThreadPoolExecutor(4) as pool:
        edits = [pool.submit(edit, record_id) for record_id in ids]
        answer = crm.try_undo(request=change, mode="possible")
        for running in edits:
            running.result()
    assert answer.status_code == 200
    assert {row["age"] for row in crm.all("contacts")} == {2}


def test_a_key_may_undo_no_more_than_it_may_write(crm: Crm, installed: Server) -> None:
    body = {"name": "reader", "permissions": ["crm:contacts.read", "crm:contacts.create"]}
    key = installed.admin.post("/api/v1/auth/keys", json=body).json()["key"]
    contact = crm.create("contacts", name="Ada")
    with Client(base_url=installed.url, headers={"authorization": f"Bearer {key}"}) as client:
        answer = client.post(f"{APP}/undo", json={"request": crm.request})
    assert answer.status_code == 403
    assert crm.get("contacts", contact["id"]) is not None


def test_without_the_plugin_there_is_no_undo(postgres: Postgres) -> None:
    with running_server(postgres, {"plugins": {"undo": {"enabled": False}}}) as plain:
        plain.install(CRM)
        answer = plain.admin.post(f"{APP}/undo", json={"request": "a"})
        assert answer.status_code == 404
