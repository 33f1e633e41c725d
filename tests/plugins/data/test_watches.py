"""WATCHES: what changes are for a caller, judged as a list would show them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from kernel.public import (
    WATCHES,
    Actor,
    BadRequest,
    CommittedChange,
    Forbidden,
    NotFound,
    Verdict,
    Watch,
    Watched,
)
from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.conftest import overrides

APP = "desk"
BASE = f"/api/v1/apps/{APP}/collections"
MANIFEST: dict[str, Any] = {
    "appId": APP,
    "name": "Desk",
    "dataContract": [
        {"entityName": "teams", "fields": [{"name": "name", "type": "text"}]},
        {
            "entityName": "tickets",
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "points", "type": "number"},
                {"name": "due", "type": "timestamp"},
                {"name": "tags", "type": "[text]"},
                {"name": "data", "type": "json"},
                {"name": "open", "type": "boolean"},
                {"name": "pay", "type": "number", "access": {"read": ["boss"]}},
                {"name": "team_id", "type": "entity_link", "references": {"entity": "teams"}},
            ],
        },
    ],
}


@pytest.fixture(scope="module")
def desk(postgres: Postgres) -> Any:
    with running_server(postgres, overrides("ScopePlugin")) as running:
        running.install(MANIFEST)
        for name, permissions in (
            ("reader", ["tickets.read"]),
            ("owner", ["tickets.read.own", "tickets.create", "tickets.update", "tickets.delete"]),
            ("boss", ["tickets.read"]),
        ):
            body = {"name": name, "permissions": permissions}
            running.admin.post(f"/api/v1/apps/{APP}/roles", json=body).raise_for_status()
        yield running


@pytest.fixture(autouse=True)
def scope(desk: Server) -> Any:
    plugin: Any = next(item for item in desk.kernel.instances if item.name == "scope")
    yield plugin
    plugin.trees = {}


def last_id(server: Server) -> int:
    [(last,)] = server.sql("select coalesce(max(id), 0) from caudex_audit.log")
    return last


def changes_since(server: Server, last: int, entity: str = "tickets") -> list[CommittedChange]:
    """The rows of the trail as changes, one for each."""
    rows = server.sql(
        "select id, record_id, operation, old_record::text, new_record::text, owner_id::text"
        " from caudex_audit.log where id > %s and table_schema = %s and table_name = %s"
        " order by id",
        last,
        APP,
        entity,
    )
    return [
        CommittedChange(
            id=number,
            app_id=APP,
            entity=entity,
            record_id=record_id,
            operation=operation,
            old=None if old is None else old.encode(),
            new=None if new is None else new.encode(),
            owner_before=None if old is None else owner,
            owner_after=None if new is None else owner,
            actor=None,
            request=None,
            at="2026-01-01T00:00:00Z",
            transaction=number,
            position=str(number),
        )
        for number, record_id, operation, old, new, owner in rows
    ]


def open_watch(server: Server, client: Client, **options: Any) -> Watch:
    members: Any = {"app_id": APP, "entity": "tickets", **options}
    watched = Watched(**members)
    actor = Actor(user_id=client.id, username=client.username)
    return server.run(server.services.get(WATCHES).open, actor, watched)


def verdicts_of(server: Server, watch: Watch, changes: Sequence[CommittedChange]) -> list[Any]:
    verdicts: list[Verdict | None] = server.run(watch.judge, changes)
    return [*verdicts]


def judge(server: Server, watch: Watch, changes: Sequence[CommittedChange]) -> list[Any]:
    return [
        None
        if verdict is None
        else (verdict.event, None if verdict.record is None else json.loads(verdict.record))
        for verdict in verdicts_of(server, watch, changes)
    ]


def create(client: Client, **values: Any) -> dict[str, Any]:
    answer = client.post(f"{BASE}/tickets", json=values)
    assert answer.status_code == 201, answer.text
    return answer.json()


def patch(client: Client, record: dict[str, Any], **values: Any) -> dict[str, Any]:
    answer = client.patch(f"{BASE}/tickets/{record['id']}", json=values)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_verdicts_show_what_a_get_shows(desk: Server) -> None:
    values = {
        "title": 'a "quote" \\ \n ünïcode', "points": 0.1, "due": "2026-01-02T03:04:05+02:00",
        "tags": ["x", "+00:00\",\"y\":"], "data": {"a": [1, {"b": None}]}, "open": True,
    }  # fmt: skip
    last = last_id(desk)
    record = create(desk.admin, **values)
    changed = patch(desk.admin, record, points=1e30)
    desk.admin.delete(f"{BASE}/tickets/{record['id']}").raise_for_status()
    verdicts = judge(desk, open_watch(desk, desk.admin), changes_since(desk, last))
    assert verdicts == [("enter", record), ("change", changed), ("leave", None)]


def test_a_where_makes_records_enter_and_leave(desk: Server) -> None:
    last = last_id(desk)
    record = create(desk.admin, title="t", points=1)
    entered = patch(desk.admin, record, points=5)
    changed = patch(desk.admin, record, title="u")
    patch(desk.admin, record, points=2)
    patch(desk.admin, record, title="unseen")
    desk.admin.delete(f"{BASE}/tickets/{record['id']}").raise_for_status()
    watch = open_watch(desk, desk.admin, where={"points": {"$gt": 3}})
    assert judge(desk, watch, changes_since(desk, last)) == [
        None, ("enter", entered), ("change", changed), ("leave", None), None, None,
    ]  # fmt: skip


def test_only_shown_fields_make_a_change(desk: Server) -> None:
    last = last_id(desk)
    record = create(desk.admin, title="t", points=1, pay=4)
    patch(desk.admin, record, points=2)
    patch(desk.admin, record, points=2)
    seen = patch(desk.admin, record, title="u")
    changes = changes_since(desk, last)
    assert len(changes) == 4
    titles = judge(desk, open_watch(desk, desk.admin, fields=["title"]), changes)
    shown = {"id": record["id"], "title": "t"}
    assert titles == [("enter", shown), None, None, ("change", {**shown, "title": "u"})]
    everything = judge(desk, open_watch(desk, desk.admin), changes)
    assert [item and item[0] for item in everything] == ["enter", "change", None, "change"]
    stamps = judge(desk, open_watch(desk, desk.admin, fields=["updated_at"]), changes)
    assert [item and item[0] for item in stamps] == ["enter", "change", "change", "change"]
    assert stamps[-1][1] == {"id": record["id"], "updated_at": seen["updated_at"]}


def test_fields_of_others_do_not_exist(desk: Server) -> None:
    reader = desk.user(roles={APP: ["reader"]})
    boss = desk.user(roles={APP: ["boss"]})
    last = last_id(desk)
    record = create(desk.admin, title="t", pay=4)
    paid = patch(desk.admin, record, pay=5)
    changes = changes_since(desk, last)
    del record["pay"]
    assert judge(desk, open_watch(desk, reader), changes) == [("enter", record), None]
    assert judge(desk, open_watch(desk, boss), changes)[1] == ("change", paid)
    for options in ({"where": {"pay": 5}}, {"fields": ["pay"]}):
        with pytest.raises(BadRequest, match="has no field 'pay'"):
            open_watch(desk, reader, **options)


def test_own_records_are_those_of_the_owner(desk: Server) -> None:
    owner = desk.user(roles={APP: ["owner"]})
    other = desk.user(roles={APP: ["owner"]})
    last = last_id(desk)
    record = create(owner, title="mine")
    patch(desk.admin, record, title="theirs")
    desk.admin.delete(f"{BASE}/tickets/{record['id']}").raise_for_status()
    changes = changes_since(desk, last)
    kinds = [item and item[0] for item in judge(desk, open_watch(desk, owner), changes)]
    assert kinds == ["enter", "change", "leave"]
    assert judge(desk, open_watch(desk, other), changes) == [None, None, None]


def test_scopes_of_plugins_are_conditions(desk: Server, scope: Any) -> None:
    red = desk.admin.post(f"{BASE}/teams", json={"name": "red"}).json()
    last = last_id(desk)
    record = create(desk.admin, title="t", team_id=red["id"], open=False)
    patch(desk.admin, record, open=True)
    patch(desk.admin, record, team_id=None)
    changes = changes_since(desk, last)
    scope.trees = {"tickets": {"open": True, "team_id": {"$has": {"name": "red"}}}}
    watch = open_watch(desk, desk.admin)
    assert [item and item[0] for item in judge(desk, watch, changes)] == [None, "enter", "leave"]
    assert desk.run(watch.find_end) is None
    scope.trees = {"tickets": {"open": False}}
    assert desk.run(watch.find_end) == "role"


def test_scopes_of_plugins_hold_where_the_caller_may_not_read_what_they_name(
    desk: Server, scope: Any
) -> None:
    reader = desk.user(roles={APP: ["reader"]})
    red = desk.admin.post(f"{BASE}/teams", json={"name": "red"}).json()
    last = last_id(desk)
    create(desk.admin, title="hidden", team_id=red["id"])
    create(desk.admin, title="seen")
    scope.trees = {"tickets": {"$not": {"team_id": {"$has": {"name": "red"}}}}}
    changes = changes_since(desk, last)
    for judged in (
        judge(desk, open_watch(desk, reader), changes),
        judge(desk, open_watch(desk, desk.admin), changes),
    ):
        assert [item and (item[0], item[1]["title"]) for item in judged] == [
            None,
            ("enter", "seen"),
        ]


def test_a_role_is_judged_by_itself(desk: Server) -> None:
    watches = desk.services.get(WATCHES)
    last = last_id(desk)
    record = create(desk.admin, title="t", pay=4)
    changes = changes_since(desk, last)
    watched = Watched(app_id=APP, entity="tickets")
    admin = judge(desk, desk.run(watches.open_as_role, "admin", watched), changes)
    assert admin == [("enter", record)]
    reader = desk.run(watches.open_as_role, "reader", watched)
    del record["pay"]
    assert judge(desk, reader, changes) == [("enter", record)]
    assert desk.run(reader.find_end) is None
    assert judge(desk, desk.run(watches.open_as_role, "owner", watched), changes) == [None]
    teams = Watched(app_id=APP, entity="teams")
    with pytest.raises(Forbidden):
        desk.run(watches.open_as_role, "reader", teams)
    with pytest.raises(NotFound):
        desk.run(watches.open_as_role, "nobody", watched)


def test_former_values_of_what_changed(desk: Server) -> None:
    last = last_id(desk)
    record = create(desk.admin, title="t", points=1)
    changed = patch(desk.admin, record, points=2)
    desk.admin.delete(f"{BASE}/tickets/{record['id']}").raise_for_status()
    watch = open_watch(desk, desk.admin, former=True, where={"points": {"$isNull": False}})
    entered, moved, left = verdicts_of(desk, watch, changes_since(desk, last))
    assert entered.former is None
    former = json.loads(moved.former)
    assert former == {"points": 1, "updated_at": record["updated_at"]}
    assert json.loads(left.former) == changed


def test_lost_values_show_their_marks_and_decide_nothing(desk: Server) -> None:
    last = last_id(desk)
    record = create(desk.admin, title="t", points=1)
    [change] = changes_since(desk, last)
    row = json.loads(change.new or b"")
    mark = {"length": 2_000_000, "sha256": "ab" * 32}
    rows = [{**row, "title": {**mark, "length": 1}, "tags": mark}, {**row, "tags": mark}]
    first, second = (json.dumps(item).encode() for item in rows)
    lost = CommittedChange(
        id=1, app_id=APP, entity="tickets", record_id=record["id"], operation="UPDATE",
        old=second, new=first, owner_before=None, owner_after=None, actor=None, request=None,
        at="", transaction=1, position="1", replaced=("title", "tags"),
    )  # fmt: skip
    [verdict] = verdicts_of(desk, open_watch(desk, desk.admin), [lost])
    assert verdict.event == "change"
    assert set(verdict.truncated) == {"title", "tags"}
    assert json.loads(verdict.record)["tags"] == mark
    [verdict] = verdicts_of(desk, open_watch(desk, desk.admin, where={"tags": ["x"]}), [lost])
    assert verdict.event == "unknown"
    [verdict] = verdicts_of(desk, open_watch(desk, desk.admin, fields=["points"]), [lost])
    assert verdict is None
    [verdict] = verdicts_of(desk, open_watch(desk, desk.admin, fields=["tags"]), [lost])
    assert verdict is None


BAD: list[tuple[Any, str]] = [
    ({"where": {"team_id": {"$has": {"name": "x"}}}}, r"\$has does not work in a feed"),
    ({"where": {"$or": [{"team_id": {"$has": {}}}]}}, r"\$has does not work in a feed"),
    ({"where": {"team_id.name": "x"}}, r"tickets.team_id.name: a path does not work in a feed"),
    ({"where": {"$not": {"team_id.name": None}}}, "a path does not work in a feed"),
    ({"where": {"$and": [{"$or": [{"team_id.name": {"$in": ["x"]}}]}]}}, "a path does not work"),
    ({"where": {"nope": 1}}, "has no field 'nope'"),
    ({"where": {"points": {"$near": 1}}}, "unknown operator"),
    ({"fields": ["nope"]}, "has no field 'nope'"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_watches_are_refused(desk: Server, options: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        open_watch(desk, desk.admin, **options)


def test_watches_need_what_a_list_needs(desk: Server) -> None:
    stranger = desk.user()
    with pytest.raises(Forbidden, match="is needed"):
        open_watch(desk, stranger)
    with pytest.raises(NotFound, match="entity 'nope' not found"):
        open_watch(desk, desk.admin, entity="nope")
    with pytest.raises(NotFound, match="app 'nope' not found"):
        open_watch(desk, desk.admin, app_id="nope")


def test_watches_with_equal_verdicts_have_equal_keys(desk: Server) -> None:
    one, two = (desk.user(roles={APP: ["reader"]}) for _ in range(2))
    keys = [open_watch(desk, client, where={"points": 3}).key for client in (one, two)]
    assert keys[0] == keys[1]
    assert keys[0] != open_watch(desk, one, where={"points": 4}).key
    owners = [desk.user(roles={APP: ["owner"]}) for _ in range(2)]
    assert open_watch(desk, owners[0]).key != open_watch(desk, owners[1]).key
    assert keys[0] != open_watch(desk, desk.admin, where={"points": 3}).key


def test_a_watch_notices_what_ends_it(desk: Server) -> None:
    app_id = f"w{uuid.uuid4().hex[:8]}"
    manifest = {**MANIFEST, "appId": app_id}
    desk.install(manifest)
    role = {"name": "reader", "permissions": ["tickets.read"]}
    desk.admin.post(f"/api/v1/apps/{app_id}/roles", json=role).raise_for_status()
    user = desk.user(roles={app_id: ["reader"]})
    watch = open_watch(desk, user, app_id=app_id)
    teams = open_watch(desk, desk.admin, app_id=app_id, entity="teams")
    assert desk.run(watch.find_end) is None
    desk.install(manifest)
    assert desk.run(watch.find_end) is None, "the same manifest changes nothing"
    renamed = json.loads(json.dumps(manifest))
    renamed["dataContract"][0]["fields"].append({"name": "more", "type": "text"})
    desk.install(renamed)
    assert desk.run(watch.find_end) is None
    assert desk.run(teams.find_end) == "entity changed"
    body = {"userId": user.id, "role": "reader"}
    desk.admin.post(f"/api/v1/apps/{app_id}/roles/revoke", json=body).raise_for_status()
    assert desk.run(watch.find_end) == "role"
    desk.admin.delete(f"/api/v1/apps/{app_id}").raise_for_status()
    assert desk.run(watch.find_end) == "app removed"
