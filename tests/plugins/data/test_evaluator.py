"""Queries beside a plain evaluator over the rows that lists show to the same caller.

No door shows, counts, groups, expands or searches by more than another.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.conftest import overrides

pytestmark = pytest.mark.slow

BASE = "/api/v1/apps/eval/collections"
WORDS = ("ab", "cd", "ef", "gh")
MANIFEST: dict[str, Any] = {
    "appId": "eval",
    "name": "Eval",
    "dataContract": [
        {
            "entityName": "teams",
            "fields": [{"name": "name", "type": "text"}, {"name": "size", "type": "number"}],
        },
        {
            "entityName": "people",
            "fields": [
                {"name": "name", "type": "text"},
                {"name": "age", "type": "number"},
                {"name": "ready", "type": "boolean"},
                {"name": "born", "type": "date"},
                {"name": "secret", "type": "text", "access": {"read": "keeper"}},
                {"name": "team_id", "type": "entity_link", "references": {"entity": "teams"}},
                {"name": "boss_id", "type": "entity_link", "references": {"entity": "people"}},
            ],
            "search": {"fields": ["name", "secret"]},
        },
    ],
}
ROLES = {
    "all": ("people.read", "teams.read"),
    "keeper": ("people.read", "teams.read"),
    "own": ("people.read.own", "teams.read", "people.create", "teams.create"),
    "people": ("people.read",),
    "both_own": ("people.read.own", "teams.read.own", "people.create", "teams.create"),
}
SCOPES: list[dict[str, Mapping[str, Any]]] = [
    {},
    {"people": {"age": {"$gt": 3}}},
    {"teams": {"size": {"$lt": 4}}, "people": {"team_id": {"$has": {}}}},
]
FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "teams": {"name": st.sampled_from(WORDS), "size": st.integers(0, 5)},
    "people": {
        "name": st.sampled_from([f"{one} {two}" for one in WORDS for two in WORDS]),
        "age": st.integers(0, 6),
        "ready": st.booleans(),
        "born": st.sampled_from(["2020-01-01", "2021-05-05", "2021-06-06"]),
        "secret": st.sampled_from(WORDS),
    },
}
LINKS = {
    "people": {
        "team_id": ("teams", "forward"),
        "boss_id": ("people", "forward"),
        "people_via_boss_id": ("people", "boss_id"),
    },
    "teams": {"people_via_team_id": ("people", "team_id")},
}
Rows = Mapping[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Any:
    with running_server(postgres, overrides("ScopePlugin")) as running:
        scope(running).tree = {}
        running.install(MANIFEST)
        yield running


def scope(server: Server) -> Any:
    return next(plugin for plugin in server.kernel.instances if plugin.name == "scope")


@pytest.fixture(scope="module")
def callers(server: Server) -> dict[str, Client]:
    found: dict[str, Client] = {"admin": server.admin}
    for role, permissions in ROLES.items():
        user = found[role] = server.user()
        body: dict[str, Any] = {"name": role, "permissions": list(permissions)}
        assert server.admin.post("/api/v1/apps/eval/roles", json=body).is_success
        body = {"userId": user.id, "role": role}
        assert server.admin.post("/api/v1/apps/eval/roles/assign", json=body).is_success
    chance = random.Random(7)
    makers = [found["admin"], found["own"], found["both_own"]]
    teams = [
        made(chance.choice(makers), "teams", name=chance.choice(WORDS), size=chance.randint(0, 5))
        for _ in range(8)
    ]
    people: list[str] = []
    for _ in range(30):
        values: dict[str, Any] = {
            "name": f"{chance.choice(WORDS)} {chance.choice(WORDS)}",
            "age": chance.choice([None, *range(7)]),
            "ready": chance.choice([None, True, False]),
            "born": chance.choice([None, "2020-01-01", "2021-05-05", "2021-06-06"]),
            "team_id": chance.choice([None, *teams]),
            "boss_id": chance.choice([None, *people]),
        }
        people.append(made(chance.choice(makers), "people", **values))
    for person in people:
        body = {"secret": chance.choice([None, *WORDS])}
        assert server.admin.patch(f"{BASE}/people/{person}", json=body).is_success
    return found


def made(client: Client, entity: str, **values: Any) -> str:
    answer = client.post(f"{BASE}/{entity}", json=values)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def visible(client: Client) -> dict[str, list[dict[str, Any]]]:
    """What plain lists show."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entity in FIELDS:
        answer = client.get(f"{BASE}/{entity}")
        assert answer.status_code in (200, 403)
        found[entity] = answer.json() if answer.status_code == 200 else []
    return found


# --- the evaluator: true, false, or None for unknown


def linked(rows: Rows, entity: str, name: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    target, way = LINKS[entity][name]
    if way == "forward":
        return [each for each in rows[target] if each["id"] == row[name]]
    return [each for each in rows[target] if each[way] == row["id"]]


def holds(rows: Rows, entity: str, tree: Mapping[str, Any], row: dict[str, Any]) -> bool | None:
    return every([branch(rows, entity, name, each, row) for name, each in tree.items()])


def branch(rows: Rows, entity: str, name: str, wanted: Any, row: dict[str, Any]) -> bool | None:
    if name in ("$and", "$or"):
        found = [holds(rows, entity, tree, row) for tree in wanted]
        return every(found) if name == "$and" else negated(every([negated(each) for each in found]))
    if name == "$not":
        return negated(holds(rows, entity, wanted, row))
    if name in LINKS[entity]:
        [(operator, tree)] = wanted.items()
        target = LINKS[entity][name][0]
        some = any(holds(rows, target, tree, each) for each in linked(rows, entity, name, row))
        return not some if operator == "$none" else some
    return every([compared(operator, row[name], value) for operator, value in wanted.items()])


def compared(operator: str, left: Any, right: Any) -> bool | None:
    if operator == "$isNull":
        return (left is None) is right
    if operator == "$in":
        return left in right if left is not None else (None if right else False)
    if left is None:
        return None
    return {
        "$eq": left == right, "$ne": left != right, "$gt": left > right, "$gte": left >= right,
        "$lt": left < right, "$lte": left <= right,
    }[operator]  # fmt: skip


def every(found: list[bool | None]) -> bool | None:
    if any(each is False for each in found):
        return False
    return None if any(each is None for each in found) else True


def negated(found: bool | None) -> bool | None:
    return None if found is None else not found


# --- trees


def trees(entity: str, hidden: frozenset[str], depth: int = 2) -> st.SearchStrategy[Any]:
    terms = [
        st.one_of(
            st.tuples(st.sampled_from(operators(name)), values).map(
                lambda pair, name=name: {name: {pair[0]: pair[1]}}
            ),
            st.booleans().map(lambda wanted, name=name: {name: {"$isNull": wanted}}),
            st.lists(values, max_size=3).map(lambda listed, name=name: {name: {"$in": listed}}),
        )
        for name, values in FIELDS[entity].items()
        if name not in hidden
    ]
    leaf = st.one_of(terms)
    if depth == 0:
        return leaf
    inner = trees(entity, hidden, depth - 1)
    found = [
        leaf,
        st.lists(inner, max_size=3).map(lambda many: {"$and": many}),
        st.lists(inner, max_size=3).map(lambda many: {"$or": many}),
        inner.map(lambda tree: {"$not": tree}),
    ]
    for name, (target, way) in LINKS[entity].items():
        operator = st.just("$has") if way == "forward" else st.sampled_from(["$some", "$none"])
        tree = st.one_of(st.just({}), trees(target, hidden, depth - 1))
        found.append(
            st.tuples(operator, tree).map(lambda pair, name=name: {name: {pair[0]: pair[1]}})
        )
    return st.one_of(found)


def operators(name: str) -> list[str]:
    equal = ["$eq", "$ne"]
    return equal if name == "ready" else [*equal, "$gt", "$gte", "$lt", "$lte"]


# --- the doors


@pytest.mark.parametrize("narrowed", range(len(SCOPES)))
@pytest.mark.parametrize("name", ["admin", *ROLES])
def test_every_door_shows_what_a_list_shows(
    server: Server, callers: dict[str, Client], name: str, narrowed: int
):
    client = callers[name]
    scope(server).trees = dict(SCOPES[narrowed])
    hidden = frozenset() if name in ("admin", "keeper") else frozenset({"secret"})
    rows = visible(client)
    assert all(("secret" in row) is not bool(hidden) for row in rows["people"])

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        where = data.draw(trees("people", hidden))
        matching = [row for row in rows["people"] if holds(rows, "people", where, row)]
        check_query(client, rows, where, matching)
        check_groups(client, where, matching)
        words = data.draw(st.lists(st.sampled_from([*WORDS, "a", "g"]), min_size=1, max_size=2))
        check_search(client, where, matching, words, hidden)

    if rows["people"] or name == "admin":
        check()


def asked(client: Client, **body: Any) -> Any:
    answer = client.post(f"{BASE}/people/query", json=body)
    assert answer.status_code == 200, (body, answer.text)
    return answer.json()


def check_query(client: Client, rows: Rows, where: Any, matching: list[Any]) -> None:
    paths = ["team_id", "boss_id.team_id", "people_via_boss_id"]
    found = asked(client, where=where, limit=1000, expand=paths)
    assert found["total"] == len(matching), where
    by_id = {row["id"]: row for row in matching}
    assert {row["id"] for row in found["data"]} == by_id.keys()
    for row in found["data"]:
        expanded = row.pop("expand")
        assert row == by_id[row["id"]]
        [team] = linked(rows, "people", "team_id", row) or [None]
        assert expanded["team_id"] == team
        [boss] = linked(rows, "people", "boss_id", row) or [None]
        if boss is not None:
            [of_boss] = linked(rows, "people", "team_id", boss) or [None]
            boss = {**boss, "expand": {"team_id": of_boss}}
        assert expanded["boss_id"] == boss
        below = sorted(each["id"] for each in linked(rows, "people", "people_via_boss_id", row))
        assert sorted(each["id"] for each in expanded["people_via_boss_id"]) == below


def check_groups(client: Client, where: Any, matching: list[Any]) -> None:
    wanted: dict[tuple[Any, Any], list[Any]] = {}
    for row in matching:
        key = (row["ready"], None if row["born"] is None else row["born"][:4])
        wanted.setdefault(key, []).append(row["age"])
    body = {"groupBy": ["ready", {"$year": "born"}], "aggregate": {
        "n": {"$count": "*"}, "known": {"$count": "age"}, "sum": {"$sum": "age"},
        "least": {"$min": "age"}, "kinds": {"$countDistinct": "age"}}}  # fmt: skip
    found = asked(client, where=where, **body)
    assert found["total"] == len(wanted)
    for group in found["data"]:
        ages = wanted[group["ready"], group["born"]]
        known = [age for age in ages if age is not None]
        assert (group["n"], group["known"]) == (len(ages), len(known))
        assert group["sum"] == (sum(known) if known else None)
        assert (group["least"], group["kinds"]) == (min(known, default=None), len(set(known)))


def check_search(
    client: Client, where: Any, matching: list[Any], words: list[str], hidden: frozenset[str]
) -> None:
    def has(row: dict[str, Any]) -> bool:
        fields = [row["name"], None if hidden else row["secret"]]
        text = " ".join(field for field in fields if field).split()
        *whole, last = words
        begun = any(word.startswith(last) for word in text)
        return begun and all(word in text for word in whole)

    found = asked(client, where=where, search=" ".join(words), limit=1000)
    wanted = {row["id"] for row in matching if has(row)}
    assert {row["id"] for row in found["data"]} == wanted, words
    assert found["total"] == len(wanted)
