"""Random writes, rights, scopes and field rules: events are exactly how the caller's list changes.

So a feed that is replayed into a table is the list, and no event shows what no list has shown.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.conftest import overrides

from .support import Stream

APP = "replay"
BASE = f"/api/v1/apps/{APP}/collections"
MANIFEST: dict[str, Any] = {
    "appId": APP,
    "name": "Replay",
    "dataContract": [
        {"entityName": "marks", "fields": [{"name": "name", "type": "text"}]},
        {
            "entityName": "items",
            "fields": [
                {"name": "name", "type": "text"},
                {"name": "size", "type": "number", "access": {"read": ["keeper"]}},
                {"name": "secret", "type": "text", "access": {"read": ["counter"]}},
                {"name": "ready", "type": "boolean"},
                {"name": "tags", "type": "[text]"},
                {"name": "data", "type": "json"},
                {"name": "born", "type": "date"},
            ],
        },
    ],
}
WRITES = ["items.create", "items.update", "items.delete", "marks.read"]
ROLES: Mapping[str, Sequence[str]] = {
    "keeper": ["items.read", *WRITES],
    "counter": ["items.read.own", *WRITES],
    "plain": ["items.read", *WRITES],
    "own": ["items.read.own", "items.create", "items.update.own", "items.delete.own", "marks.read"],
}
TREES: Sequence[Mapping[str, Any]] = (
    {},
    {"name": {"$in": ["a", "b"]}},
    {"ready": {"$ne": True}},
    {"$or": [{"name": "c"}, {"tags": {"$contains": ["x"]}}]},
    {"$not": {"data": {"$contains": {"k": 1}}}},
    {"born": {"$gte": "2020-06-01"}},
    {"name": {"$like": "%b%"}, "ready": {"$isNull": False}},
)
FIELDS: Sequence[list[str] | None] = (None, None, ["name"], ["ready", "tags"], ["updated_at"])
SCOPES: Sequence[Mapping[str, Any] | None] = (None, {"secret": {"$ne": "hidden"}}, {"size": 1})
SEEN_BY_MOST: Sequence[Mapping[str, Any]] = [
    {
        "name": name,
        "size": 1,
        "secret": "open",
        "ready": False,
        "tags": ["x"],
        "data": {"z": 1},
        "born": "2021-05-05",
    }
    for name in ("a", "ab")
]
"""Records that meet every scope, and one of them every tree."""


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Any:
    with running_server(postgres, overrides("ScopePlugin")) as running:
        running.install(MANIFEST)
        for name, permissions in ROLES.items():
            body = {"name": name, "permissions": [*permissions]}
            running.admin.post(f"/api/v1/apps/{APP}/roles", json=body).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def callers(server: Server) -> list[Client]:
    return [server.admin, *(server.user(roles={APP: [role]}) for role in ROLES)]


class Watched:
    """A stream of a caller, its lists, and the events that their differences mean."""

    def __init__(self, client: Client, body: dict[str, Any]) -> None:
        self.client = client
        self.body = body
        self.shows_stamp = "updated_at" in (body.get("fields") or ())
        self.before = self.read()
        self.expected: list[set[tuple[str, str, str]]] = []
        subscribe = {"items": {"entity": "items", **body}, "end": {"entity": "marks"}}
        self.stream = Stream(client, "POST", f"/api/v1/apps/{APP}/feed", json={
            "subscribe": subscribe
        })  # fmt: skip

    def read(self) -> dict[str, str]:
        """Return the caller's list, by id."""
        body = {**self.body, "limit": 1000}
        answer = self.client.post(f"{BASE}/items/query", json=body)
        assert answer.status_code == 200, answer.text
        return {record["id"]: self.text_of(record) for record in answer.json()["data"]}

    def text_of(self, record: Mapping[str, Any]) -> str:
        """Return a record as it is compared."""
        members = dict(record)
        if not self.shows_stamp:
            members.pop("updated_at", None)
        return repr(members)

    def note_write(self) -> None:
        """Note what a write means for the list."""
        after = self.read()
        events = {("leave", key, "") for key in self.before.keys() - after.keys()}
        events |= {("enter", key, after[key]) for key in after.keys() - self.before.keys()}
        events |= {
            ("change", key, after[key])
            for key in after.keys() & self.before.keys()
            if after[key] != self.before[key]
        }
        if events:
            self.expected.append(events)
        self.before = after

    def check(self) -> None:
        """Compare the events with the lists."""
        self.stream.wait(has_ended)
        came = [
            (event.name, event.data["id"], self.text_of(event.data.get("record") or {}))
            for event in self.stream.named("enter", "change", "leave")
            if event.data["subscription"] == "items"
        ]
        came = [(name, key, "" if name == "leave" else text) for name, key, text in came]
        for events in self.expected:
            assert {*came[: len(events)]} == events, self.body
            del came[: len(events)]
        assert came == [], self.body


def has_ended(stream: Stream) -> bool:
    """Whether the mark after the last write came."""
    return any(event.data["subscription"] == "end" for event in stream.named("enter"))


def draw_values(chance: random.Random) -> dict[str, Any]:
    """Draw some values of a record."""
    drawn: dict[str, Any] = {
        "name": chance.choice(["a", "b", "ab", "c", None]),
        "size": chance.choice([None, 1, 2.5]),
        "secret": chance.choice([None, "hidden", "open"]),
        "ready": chance.choice([None, True, False]),
        "tags": chance.choice([None, [], ["x"], ["x", 'y"\\']]),
        "data": chance.choice([None, {"k": 1}, {"k": [1, {"l": None}]}]),
        "born": chance.choice([None, "2020-01-01", "2021-05-05"]),
    }
    names = chance.sample(sorted(drawn), chance.randint(1, len(drawn)))
    return {name: drawn[name] for name in names}


def write(chance: random.Random, clients: Sequence[Client]) -> None:
    """Write once: a record, or several in a transaction. A refusal changes nothing."""
    client = chance.choice(clients)
    listed = clients[0].get(f"{BASE}/items").json()
    ids = [record["id"] for record in listed] or ["3fa85f64-5717-4562-b3fc-2c963f660001"]
    operations: list[dict[str, Any]] = []
    for number in range(chance.choice([1, 1, 1, 2, 4])):
        kind = chance.choice(["create", "create", "update", "update", "update", "delete"])
        operation: dict[str, Any] = {"op": kind, "entity": "items"}
        if kind == "create":
            operation["as"] = f"n{number}"
        else:
            made = [f"n{place}" for place, other in enumerate(operations) if "as" in other]
            chosen = chance.choice([*ids[:6], *({"$ref": f"{name}.id"} for name in made)])
            operation["id"] = chosen
        if kind != "delete":
            operation["data"] = draw_values(chance)
        operations.append(operation)
    answer = client.post(f"/api/v1/apps/{APP}/batch", json={"operations": operations})
    assert answer.status_code in (200, 400, 403, 404), answer.text


def play(server: Server, callers: Sequence[Client], seed: int, writes: int) -> None:
    """Write at random while every caller follows, and compare."""
    chance = random.Random(seed)
    scope: Any = next(plugin for plugin in server.kernel.instances if plugin.name == "scope")
    tree = chance.choice(SCOPES)
    scope.trees = {} if tree is None else {"items": tree}
    with ExitStack() as stack:
        watched: list[Watched] = []
        for client in callers:
            where = chance.choice(TREES)
            fields = chance.choice(FIELDS)
            one = Watched(client, {"where": where, **({"fields": fields} if fields else {})})
            watched.append(one)
            stack.enter_context(one.stream.wait_ready())
        for values in SEEN_BY_MOST:
            server.admin.post(f"{BASE}/items", json=values).raise_for_status()
            for one in watched:
                one.note_write()
        for _ in range(writes):
            write(chance, callers)
            for one in watched:
                one.note_write()
        server.admin.post(f"{BASE}/marks", json={"name": "end"}).raise_for_status()
        for one in watched:
            one.check()
        assert any(one.expected for one in watched)
    scope.trees = {}


@pytest.mark.parametrize("seed", [1, 2])
def test_events_are_the_differences_of_lists(
    server: Server, callers: list[Client], seed: int
) -> None:
    play(server, callers, seed, 12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 30))
def test_events_are_the_differences_of_lists_for_long(
    server: Server, callers: list[Client], seed: int
) -> None:
    play(server, callers, seed, 30)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40, 45))
def test_a_feed_that_is_broken_again_and_again_becomes_the_list(
    server: Server, callers: list[Client], seed: int
) -> None:
    """Each stream reads a few events and comes back with its last id."""
    chance = random.Random(seed)
    client = chance.choice(callers)
    where = chance.choice(TREES)
    body = {"where": where}
    headers = {"prefer": "position"}
    answer = client.post(f"{BASE}/items/query", json={**body, "limit": 1000}, headers=headers)
    table = {record["id"]: record for record in answer.json()["data"]}
    position = answer.headers["caudex-event"]
    for _ in range(25):
        write(chance, callers)
    server.admin.post(f"{BASE}/marks", json={"name": "end"}).raise_for_status()
    subscribe = {"items": {"entity": "items", **body}, "end": {"entity": "marks"}}
    is_done = False
    while not is_done:
        stream = Stream(client, "POST", f"/api/v1/apps/{APP}/feed", json={
            "subscribe": subscribe, "since": position
        })  # fmt: skip
        with stream:
            stream.wait_ready()
        for event in stream.named("enter", "change", "leave")[: chance.randint(1, 5)]:
            position = event.id or ""
            if event.data["subscription"] == "end":
                is_done = True
            elif event.name == "leave":
                del table[event.data["id"]]
            else:
                assert (event.name == "enter") is (event.data["id"] not in table)
                table[event.data["id"]] = event.data["record"]
    listed = client.post(f"{BASE}/items/query", json={**body, "limit": 1000}).json()["data"]
    for record in (*listed, *table.values()):
        del record["updated_at"]
    assert {record["id"]: record for record in listed} == table
