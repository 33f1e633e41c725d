"""Queries beside a plain evaluator over the rows that lists show to the same caller.

No door shows, counts, groups, expands or searches by more than another.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, NamedTuple

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
            "fields": [
                {"name": "name", "type": "text"},
                {"name": "size", "type": "number", "access": {"read": "keeper"}},
            ],
        },
        {
            "entityName": "people",
            "fields": [
                {"name": "name", "type": "text"},
                {"name": "age", "type": "number", "access": {"read": "counter"}},
                {"name": "ready", "type": "boolean"},
                {"name": "born", "type": "date"},
                {"name": "secret", "type": "text", "access": {"read": "keeper"}},
                {
                    "name": "team_id",
                    "type": "entity_link",
                    "references": {"entity": "teams"},
                    "unchecked": True,
                },
                {
                    "name": "boss_id",
                    "type": "entity_link",
                    "references": {"entity": "people"},
                    "unchecked": True,
                },
            ],
            "search": {"fields": ["name", "secret"]},
        },
    ],
}
PROTECTED = ("people.secret", "people.age", "teams.size")
"""Fields with permissions of their own."""
ROLES = 8
"""How many roles are drawn."""


def permissions(number: int) -> frozenset[str]:
    """Draw what a role holds: rights on all records, on its own or on none, and on some fields."""
    chance = random.Random(number)
    held = {f"{field}.read" for field in PROTECTED if chance.random() < 0.5}
    held.add(chance.choice(["people.read", "people.read.own"]))
    teams = chance.choice(["teams.read", "teams.read.own", None])
    return frozenset(held if teams is None else {*held, teams})


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
def callers(server: Server) -> list[tuple[Client, frozenset[str]]]:
    """The admin and users with the drawn roles, each with the fields that it may not read."""
    found = [(server.admin, frozenset[str]())]
    for number in range(ROLES):
        user, held = server.user(), permissions(number)
        more = ["people.create", "teams.create"]
        body: dict[str, Any] = {"name": f"r{number}", "permissions": [*held, *more]}
        assert server.admin.post("/api/v1/apps/eval/roles", json=body).is_success
        body = {"userId": user.id, "role": f"r{number}"}
        assert server.admin.post("/api/v1/apps/eval/roles/assign", json=body).is_success
        found.append((user, frozenset(each for each in PROTECTED if f"{each}.read" not in held)))
    chance = random.Random(7)
    makers = [client for client, _ in found]
    teams = [made(chance.choice(makers), "teams", name=chance.choice(WORDS)) for _ in range(16)]
    people: list[str] = []
    for _ in range(60):
        values: dict[str, Any] = {
            "name": f"{chance.choice(WORDS)} {chance.choice(WORDS)}",
            "ready": chance.choice([None, True, False]),
            "born": chance.choice([None, "2020-01-01", "2021-05-05", "2021-06-06"]),
            "team_id": chance.choice([None, *teams]),
            "boss_id": chance.choice([None, *people]),
        }
        people.append(made(chance.choice(makers), "people", **values))
    for person in people:
        body = {"secret": chance.choice([None, *WORDS]), "age": chance.choice([None, *range(7)])}
        assert server.admin.patch(f"{BASE}/people/{person}", json=body).is_success
    for team in teams:
        body = {"size": chance.randint(0, 5)}
        assert server.admin.patch(f"{BASE}/teams/{team}", json=body).is_success
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


def trees(
    entity: str, hidden: frozenset[str], depth: int = 2, *, linked: bool = True
) -> st.SearchStrategy[Any]:
    terms = [
        st.one_of(
            st.tuples(st.sampled_from(operators(name)), values).map(
                lambda pair, name=name: {name: {pair[0]: pair[1]}}
            ),
            st.booleans().map(lambda wanted, name=name: {name: {"$isNull": wanted}}),
            st.lists(values, max_size=3).map(lambda listed, name=name: {name: {"$in": listed}}),
        )
        for name, values in FIELDS[entity].items()
        if f"{entity}.{name}" not in hidden
    ]
    leaf = st.one_of(terms)
    if depth == 0:
        return leaf
    inner = trees(entity, hidden, depth - 1, linked=linked)
    found = [
        leaf,
        st.lists(inner, max_size=3).map(lambda many: {"$and": many}),
        st.lists(inner, max_size=3).map(lambda many: {"$or": many}),
        inner.map(lambda tree: {"$not": tree}),
    ]
    for name, (target, way) in LINKS[entity].items() if linked else ():
        operator = st.just("$has") if way == "forward" else st.sampled_from(["$some", "$none"])
        tree = st.one_of(st.just({}), trees(target, hidden, depth - 1))
        found.append(
            st.tuples(operator, tree).map(lambda pair, name=name: {name: {pair[0]: pair[1]}})
        )
    return st.one_of(found)


def operators(name: str) -> list[str]:
    equal = ["$eq", "$ne"]
    return equal if name == "ready" else [*equal, "$gt", "$gte", "$lt", "$lte"]


EXAMPLES = settings().max_examples // 16
NO_SCOPE = st.just(dict[str, Any]())


def scopes() -> st.SearchStrategy[dict[str, Any]]:
    """Draw what hooks let through: they see every record and field, also through links."""
    return st.fixed_dictionaries(
        {entity: st.one_of(NO_SCOPE, trees(entity, frozenset())) for entity in FIELDS}
    )


# --- the doors


@pytest.mark.parametrize("number", range(ROLES + 1))
def test_every_door_shows_what_a_list_shows(
    server: Server, callers: list[tuple[Client, frozenset[str]]], number: int
):
    client, hidden = callers[number]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        narrowing = data.draw(st.one_of(NO_SCOPE, scopes()))
        scope(server).trees = {}
        before, complete = visible(client), visible(server.admin)
        scope(server).trees = narrowing
        rows = visible(client)
        for entity in FIELDS:
            tree = narrowing.get(entity, {})
            let_through = {
                row["id"] for row in complete[entity] if holds(complete, entity, tree, row)
            }
            expected = [row["id"] for row in before[entity] if row["id"] in let_through]
            assert [row["id"] for row in rows[entity]] == expected
        for name in PROTECTED:
            entity, _, field = name.partition(".")
            assert all((field in row) is (name not in hidden) for row in rows[entity])
        where = data.draw(trees("people", hidden))
        matching = [row for row in rows["people"] if holds(rows, "people", where, row)]
        check_query(client, rows, where, matching, data.draw(views(hidden)))
        check_order(client, where, matching, data.draw(orders(hidden)))
        check_groups(client, where, matching, data.draw(groupings(hidden)))
        words = data.draw(st.lists(st.sampled_from([*WORDS, "a", "g"]), min_size=1, max_size=2))
        check_search(client, where, matching, words, hidden)

    check()


def asked(client: Client, **body: Any) -> Any:
    answer = client.post(f"{BASE}/people/query", json=body)
    assert answer.status_code == 200, (body, answer.text)
    return answer.json()


def fields_of(entity: str, hidden: frozenset[str]) -> list[str]:
    links = [name for name, (_, way) in LINKS[entity].items() if way == "forward"]
    names = [*FIELDS[entity], *links]
    return [name for name in names if f"{entity}.{name}" not in hidden]


def sorts(hidden: frozenset[str]) -> st.SearchStrategy[tuple[str, str]]:
    """Draw an order; texts are left out, since their order is that of a language."""
    names = [name for name in ("age", "born", "id") if f"people.{name}" not in hidden]
    return st.tuples(st.sampled_from(names), st.sampled_from(["asc", "desc"]))


def in_order(rows: list[dict[str, Any]], sort: tuple[str, str]) -> list[dict[str, Any]]:
    """Sort as PostgreSQL does: a null is greater than every value, ties by id alike."""
    name, way = sort

    def key(row: dict[str, Any]) -> tuple[bool, Any, str]:
        value = row[name]
        return value is None, 0 if value is None else value, row["id"]

    return sorted(rows, key=key, reverse=way == "desc")


class Seen(NamedTuple):
    """What a query shows: fields, and options of the reverse link."""

    fields: list[str] | None
    where: Any
    sort: tuple[str, str]
    limit: int
    inner: list[str] | None
    nested: bool


def views(hidden: frozenset[str]) -> st.SearchStrategy[Seen]:
    chosen = st.one_of(
        st.none(), st.lists(st.sampled_from(fields_of("people", hidden)), unique=True)
    )
    tree = st.one_of(st.none(), trees("people", hidden, 1))
    return st.builds(Seen, chosen, tree, sorts(hidden), st.integers(1, 200), chosen, st.booleans())


def shown(row: dict[str, Any], fields: list[str] | None) -> dict[str, Any]:
    return row if fields is None else {name: row[name] for name in row if name in ("id", *fields)}


def check_query(client: Client, rows: Rows, where: Any, matching: list[Any], seen: Seen) -> None:
    sort, way = seen.sort
    options = {"orderBy": sort, "order": way, "limit": seen.limit}
    if seen.where is not None:
        options["where"] = seen.where
    if seen.inner is not None:
        options["fields"] = seen.inner
    paths: list[Any] = ["team_id", "boss_id.team_id", {"people_via_boss_id": options}]
    if seen.nested:
        paths.append("people_via_boss_id.team_id")
    body: dict[str, Any] = {"expand": paths}
    if seen.fields is not None:
        body["fields"] = seen.fields
    found = asked(client, where=where, limit=1000, **body)
    assert found["total"] == len(matching), where
    by_id = {row["id"]: row for row in matching}
    assert {row["id"] for row in found["data"]} == by_id.keys()
    for row in found["data"]:
        expanded, whole = row.pop("expand"), by_id[row["id"]]
        assert row == shown(whole, seen.fields)
        assert expanded["team_id"] == one(rows, "team_id", whole)
        boss = one(rows, "boss_id", whole)
        if boss is not None:
            boss = {**boss, "expand": {"team_id": one(rows, "team_id", boss)}}
        assert expanded["boss_id"] == boss
        below = linked(rows, "people", "people_via_boss_id", whole)
        if seen.where is not None:
            below = [each for each in below if holds(rows, "people", seen.where, each)]
        below = in_order(below, seen.sort)[: min(seen.limit, 100)]
        assert expanded["people_via_boss_id"] == [
            {**shown(each, seen.inner), "expand": {"team_id": one(rows, "team_id", each)}}
            if seen.nested
            else shown(each, seen.inner)
            for each in below
        ]


def one(rows: Rows, name: str, row: dict[str, Any]) -> dict[str, Any] | None:
    found = linked(rows, "people", name, row)
    return found[0] if found else None


def orders(hidden: frozenset[str]) -> st.SearchStrategy[tuple[tuple[str, str], int, int]]:
    return st.tuples(sorts(hidden), st.integers(1, 70), st.integers(0, 10))


def check_order(
    client: Client, where: Any, matching: list[Any], order: tuple[tuple[str, str], int, int]
) -> None:
    sort, limit, offset = order
    body = {"orderBy": sort[0], "order": sort[1], "limit": limit, "offset": offset}
    found = asked(client, where=where, **body)
    ordered = in_order(matching, sort)
    assert found["data"] == ordered[offset : offset + limit]
    assert found["total"] == len(matching)
    if offset and len(ordered) > offset:
        body = {**body, "offset": 0, "after": ordered[offset - 1]["id"]}
        assert asked(client, where=where, **body)["data"] == ordered[offset : offset + limit]


UNITS: dict[str, Callable[[str], str]] = {
    "$year": lambda day: day[:4],
    "$quarter": lambda day: f"{day[:4]}-Q{(int(day[5:7]) + 2) // 3}",
    "$month": lambda day: day[:7],
    "$week": lambda day: date.fromisoformat(day).strftime("%G-W%V"),
    "$day": lambda day: day,
}
AGGREGATES: dict[str, Callable[[list[Any]], Any]] = {
    "$count": len,
    "$countDistinct": lambda known: len(set(known)),
    "$sum": lambda known: sum(known) if known else None,
    "$avg": lambda known: pytest.approx(sum(known) / len(known)) if known else None,
    "$min": lambda known: min(known, default=None),
    "$max": lambda known: max(known, default=None),
}


def groupings(hidden: frozenset[str]) -> st.SearchStrategy[tuple[list[Any], list[Any], int | None]]:
    """Draw groups, aggregates as pairs of function and field, and the least size of a group."""
    names = [name for name in fields_of("people", hidden) if name != "born"]
    born = st.sampled_from(["born", *({unit: "born"} for unit in UNITS)])
    groups = st.tuples(
        st.lists(st.sampled_from(names), unique=True, max_size=2), st.lists(born, max_size=1)
    ).map(lambda pair: [*pair[0], *pair[1]])
    numbers = [] if "people.age" in hidden else ["age"]
    pairs = [
        *((name, field) for name in ("$count", "$countDistinct") for field in names),
        *((name, field) for name in ("$sum", "$avg") for field in numbers),
        *((name, field) for name in ("$min", "$max") for field in ("born", *numbers)),
    ]
    some = st.lists(st.sampled_from(pairs), max_size=3)
    return st.tuples(groups, some, st.one_of(st.none(), st.integers(0, 4)))


def check_groups(
    client: Client,
    where: Any,
    matching: list[Any],
    grouping: tuple[list[Any], list[Any], int | None],
) -> None:
    groups, pairs, least = grouping

    def of(row: dict[str, Any], item: Any) -> Any:
        if isinstance(item, str):
            return row[item]
        [(unit, name)] = item.items()
        return None if row[name] is None else UNITS[unit](row[name])

    wanted: dict[tuple[Any, ...], list[Any]] = {} if groups else {(): []}
    for row in matching:
        wanted.setdefault(tuple(of(row, item) for item in groups), []).append(row)
    aggregate: dict[str, Any] = {f"a{n}": {pair[0]: pair[1]} for n, pair in enumerate(pairs)}
    body: dict[str, Any] = {"groupBy": groups, "aggregate": {"n": {"$count": "*"}, **aggregate}}
    if least is not None:
        body["having"] = {"n": {"$gt": least}}
        wanted = {key: rows for key, rows in wanted.items() if len(rows) > least}
    found = asked(client, where=where, limit=1000, **body)
    assert found["total"] == len(wanted)
    names = [item if isinstance(item, str) else next(iter(item.values())) for item in groups]
    seen = {tuple(group[name] for name in names): group for group in found["data"]}
    assert seen.keys() == wanted.keys()
    for key, rows in wanted.items():
        assert seen[key]["n"] == len(rows)
        for place, (function, field) in enumerate(pairs):
            known = [row[field] for row in rows if row[field] is not None]
            assert seen[key][f"a{place}"] == AGGREGATES[function](known), (function, field)


def check_search(
    client: Client, where: Any, matching: list[Any], words: list[str], hidden: frozenset[str]
) -> None:
    def has(row: dict[str, Any]) -> bool:
        fields = [row["name"], None if "people.secret" in hidden else row["secret"]]
        text = " ".join(field for field in fields if field).split()
        *whole, last = words
        begun = any(word.startswith(last) for word in text)
        # A word that is there twice counts once, as the last one.
        return begun and all(word in text for word in whole if word != last)

    found = asked(client, where=where, search=" ".join(words), limit=1000)
    wanted = {row["id"] for row in matching if has(row)}
    assert {row["id"] for row in found["data"]} == wanted, words
    assert found["total"] == len(wanted)
