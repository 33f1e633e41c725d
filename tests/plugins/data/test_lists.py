"""Lists: the complete set, pages, order, cursors, filters by field; and POST …/query."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from kernel.public import ACCESS, APPS, HOOKS, STATEMENTS, Grant, Page, Target, server_actor
from kernel.testing import Client, Server
from plugins.data.assembly import Dependencies, build_records
from tests.plugins.data.support import SAMPLES, TEAMS, clear, create, installed, names, refused


@pytest.fixture(scope="module")
def shop(server: Server) -> Server:
    installed(server)
    return server


@pytest.fixture
def admin(shop: Server) -> Client:
    clear(shop)
    return shop.admin


def filled(server: Server, rows: list[dict[str, Any]]) -> None:
    """Create records one after the other in time, as quickly as one statement does."""
    answer = server.admin.post(f"{SAMPLES}/bulk", json=rows)
    assert answer.status_code == 201, answer.text
    server.sql(
        "update lab.samples set created_at = '2024-01-01Z'::timestamptz"
        " + substring(name from '[0-9]+')::int * interval '1 minute'"
    )


def walked(admin: Client, url: str) -> Iterator[dict[str, Any]]:
    """Follow `rel=next` to the end."""
    for _ in range(50):
        answer = admin.get(url)
        assert answer.status_code == 200, answer.text
        yield from answer.json()
        if "next" not in answer.links:
            return
        url = answer.links["next"]["url"]
    raise AssertionError("the pages never end")


def test_an_empty_list_is_an_empty_array(admin: Client):
    assert admin.get(SAMPLES).text == "[]"
    assert admin.get(SAMPLES, params={"limit": 3}).text == "[]"
    nothing = dict.fromkeys(("where", "orderBy", "order", "limit", "offset", "after", "total"))
    for body in ({}, nothing):  # a null is a member left out
        assert admin.post(f"{SAMPLES}/query", json=body).json() == {"data": [], "total": 0}


def test_a_misspelt_parameter_is_reported_with_the_one_that_was_meant(admin: Client):
    for wrong, meant in (("limt", "limit"), ("ofset", "offset"), ("nmae", "name")):
        said = refused(admin.get(SAMPLES, params={wrong: "3"}))
        assert said == f"samples has no field {wrong!r}; did you mean {meant!r}?"
    said = refused(admin.get(SAMPLES, params={"zzzzzzzz": "3"}))
    assert "; known: " in said
    assert "limit" not in said


def test_the_newest_comes_first(shop: Server, admin: Client):
    filled(shop, [{"name": f"n{i}"} for i in range(5)])
    assert names(admin.get(SAMPLES)) == ["n4", "n3", "n2", "n1", "n0"]
    assert names(admin.get(SAMPLES, params={"limit": 2})) == ["n4", "n3"]
    assert names(admin.get(SAMPLES, params={"limit": 2, "offset": 1})) == ["n3", "n2"]
    assert names(admin.get(SAMPLES, params={"offset": 3})) == ["n1", "n0"]
    assert names(admin.get(SAMPLES, params={"order": "asc", "limit": 2})) == ["n0", "n1"]


def test_a_list_without_limit_is_complete(shop: Server, admin: Client):
    filled(shop, [{"name": f"n{i}"} for i in range(1000)])
    filled(shop, [{"name": f"n{i}"} for i in range(1000, 1300)])
    assert names(admin.get(SAMPLES)) == [f"n{i}" for i in reversed(range(1300))]
    for limit in (1001, 5000, 10**30):
        assert len(admin.get(SAMPLES, params={"limit": limit}).json()) == 1000


@pytest.mark.parametrize("field", ["created_at", "name", "amount", "id", "ready", "level", "kind"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_cursors_show_every_record_once(shop: Server, admin: Client, field: str, order: str):
    rows: list[dict[str, Any]] = [{"name": f"n{i}"} for i in range(23)]
    for i, row in enumerate(rows):
        row["amount"] = None if i % 3 == 0 else i % 4  # ties and nulls
        row["ready"] = [None, True, False][i % 3]
    filled(shop, rows)
    whole = admin.get(SAMPLES, params={"sort": field, "order": order}).json()
    assert len(whole) == 23
    for limit in (1, 5, 22, 23):
        url = f"{SAMPLES}?sort={field}&order={order}&limit={limit}"
        assert list(walked(admin, url)) == whole
    middle = whole[10]["id"]
    rest = admin.get(SAMPLES, params={"sort": field, "order": order, "after": middle})
    assert rest.json() == whole[11:]
    body = {"orderBy": field, "order": order, "after": middle, "limit": 4}
    assert admin.post(f"{SAMPLES}/query", json=body).json() == {"data": whole[11:15], "total": 23}


LATEST_OF_EACH = {"orderBy": "kind", "order": "asc", "thenBy": [{"amount": "desc"}]}


@pytest.mark.parametrize(
    "order",
    [
        LATEST_OF_EACH,
        {"orderBy": "amount", "order": "desc", "thenBy": [{"kind": "asc"}, {"ready": "desc"}]},
        {"orderBy": "ready", "order": "asc", "thenBy": [{"amount": "asc"}, {"name": "desc"}]},
        {"orderBy": "level", "order": "desc", "thenBy": [{"id": "asc"}]},
    ],
)
def test_an_order_of_several_fields_is_paged_without_a_gap(
    shop: Server, admin: Client, order: dict[str, Any]
):
    rows: list[dict[str, Any]] = [{"name": f"n{i}"} for i in range(29)]
    for i, row in enumerate(rows):
        row["kind"] = [None, "Soil", "Blood"][i % 3]
        row["amount"] = None if i % 5 == 0 else i % 2
        row["ready"] = [None, True, False, True][i % 4]
    filled(shop, rows)
    query = f"{SAMPLES}/query"
    every = admin.post(query, json=order | {"limit": 1000}).json()["data"]
    assert every == sort_as_said(every, order)
    paged: list[dict[str, Any]] = []
    after = None
    while page := admin.post(query, json=order | {"limit": 4, "after": after}).json()["data"]:
        paged += page
        after = page[-1]["id"]
    assert paged == every
    backwards = {
        "orderBy": order["orderBy"],
        "order": turn(order["order"]),
        "thenBy": [{name: turn(way) for name, way in item.items()} for item in order["thenBy"]],
    }
    before = admin.post(query, json=backwards | {"after": every[9]["id"]}).json()["data"]
    assert before == every[8::-1]
    exported = admin.post(query, json=order, headers={"accept": "application/x-ndjson"})
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [line["id"] for line in lines] == [row["id"] for row in every]


def turn(order: str) -> str:
    return "desc" if order == "asc" else "asc"


def sort_as_said(rows: list[dict[str, Any]], order: dict[str, Any]) -> list[dict[str, Any]]:
    """Sort by the last field first; a null is greater than every value."""
    terms = {order["orderBy"]: order["order"]}
    for item in order["thenBy"]:
        terms |= item
    terms["id"] = terms.get("id", order["order"])
    for name, way in reversed(terms.items()):
        present = lambda row, name=name: "" if row[name] is None else row[name]  # noqa: E731
        filled_rows = [row for row in rows if row[name] is not None]
        empty_rows = [row for row in rows if row[name] is None]
        filled_rows.sort(key=present, reverse=way == "desc")
        rows = [*empty_rows, *filled_rows] if way == "desc" else [*filled_rows, *empty_rows]
    return rows


def test_nulls_are_greater_than_every_value(shop: Server, admin: Client):
    filled(shop, [{"name": "1", "amount": 1}, {"name": "2"}, {"name": "3", "amount": 2}])
    assert names(admin.get(SAMPLES, params={"sort": "amount", "order": "asc"})) == ["1", "3", "2"]
    assert names(admin.get(SAMPLES, params={"sort": "amount"})) == ["2", "3", "1"]


def test_ties_are_broken_by_id_in_the_same_direction(shop: Server, admin: Client):
    filled(shop, [{"name": f"n{i}"} for i in range(20)])
    shop.sql("update lab.samples set created_at = now()")
    ids = [record["id"] for record in admin.get(SAMPLES).json()]
    assert ids == sorted(ids, reverse=True)
    ids = [record["id"] for record in admin.get(SAMPLES, params={"order": "asc"}).json()]
    assert ids == sorted(ids)


def test_the_next_page_keeps_the_parameters(shop: Server, admin: Client):
    filled(shop, [{"name": f"n{i}", "code": None, "scan": "a&b=ü"} for i in range(5)])
    answer = admin.get(SAMPLES, params={"limit": 2, "offset": 1, "scan": "a&b=ü"})
    assert names(answer) == ["n3", "n2"]
    link = answer.links["next"]["url"]
    assert "offset" not in link
    following = admin.get(link)
    assert names(following) == ["n1", "n0"]
    assert "next" in following.links  # full: whether more follow is not known
    assert names(admin.get(following.links["next"]["url"])) == []
    assert "link" not in admin.get(SAMPLES, params={"limit": 6}).headers
    assert "link" not in admin.get(SAMPLES).headers


def weighing(server: Server, *sizes: int) -> None:
    """Make records whose `scan` has so many bytes; the last is the newest."""
    server.sql(
        "insert into lab.samples (name, created_at, scan)"
        " select 'n' || i, '2024-01-01Z'::timestamptz + i * interval '1 s', repeat('x', size)"
        " from unnest(%s::int[]) with ordinality as s (size, i)",
        list(sizes),
    )


@pytest.mark.slow
def test_a_page_that_weighs_too_much_asks_for_a_smaller_one(shop: Server, admin: Client):
    weighing(shop, *[3_000_000] * 6)
    assert "over 16 MB together: ask for fewer" in refused(admin.get(SAMPLES, params={"limit": 6}))
    body = {"limit": 1000, "where": {"name": {"$like": "n%"}}}
    assert "ask for fewer" in refused(admin.post(f"{SAMPLES}/query", json=body))
    walk = [record["name"] for record in walked(admin, f"{SAMPLES}?limit=5")]
    assert walk == ["n6", "n5", "n4", "n3", "n2", "n1"]
    assert len(admin.get(SAMPLES).json()) == 6  # the complete list has no such bound


@pytest.mark.slow
def test_one_record_is_a_page_whatever_it_weighs(shop: Server, admin: Client):
    weighing(shop, 20_000_000)
    for limit in (1, 2, 1000):
        [record] = admin.get(SAMPLES, params={"limit": limit}).json()
        assert len(record["scan"]) == 20_000_000


def test_a_large_record_among_small_ones_is_where_it_belongs(shop: Server, admin: Client):
    weighing(shop, *[10] * 300, 5_000_000, *[10] * 300)
    found = admin.get(SAMPLES, params={"limit": 1000})
    assert names(found) == [f"n{i}" for i in range(601, 0, -1)]
    assert [len(record["scan"]) for record in found.json()].index(5_000_000) == 300
    assert list(walked(admin, f"{SAMPLES}?limit=300")) == found.json()


def test_a_cursor_that_no_one_knows_is_refused_by_every_way(shop: Server, admin: Client):
    weighing(shop, *[3_000_000] * 6)
    unknown = {"after": str(uuid.uuid4())}
    for sort in ("created_at", "id", "amount"):
        for limit in (1, 1000, None):
            params = {"sort": sort, **unknown} | ({"limit": limit} if limit else {})
            assert unknown["after"] in refused(admin.get(SAMPLES, params=params))


def test_a_cursor_costs_no_statement_of_its_own(shop: Server, admin: Client):
    filled(shop, [{"name": f"n{i}"} for i in range(3)])
    last = admin.get(SAMPLES, params={"limit": 1}).json()[0]["id"]
    get = shop.services.get
    for sort, number in (("created_at", 1), ("id", 1), ("amount", 2)):
        counted: Any = CountedStatements(shop.services.get(STATEMENTS))
        service = build_records(Dependencies(counted, get(APPS), get(HOOKS), lambda: get(ACCESS)))
        page = Page(order_by=sort, after=last, limit=1)
        target = Target(server_actor(), Grant(), "lab", "samples")
        shop.run(service.page, target, page)
        assert counted.number == number, sort


class CountedStatements:
    """Counts what it is asked."""

    def __init__(self, statements: Any) -> None:
        self.number = 0
        self._statements = statements

    async def fetch(self, *args: Any, **kwargs: Any) -> bytes | None:
        self.number += 1
        return await self._statements.fetch(*args, **kwargs)


def test_cursors_work_with_text_ids(admin: Client):
    for i in range(7):
        create(admin, TEAMS, id=f'{i} "\\ü&', name="t")
    url = f"{TEAMS}?sort=name&limit=2"
    assert [team["id"][0] for team in walked(admin, url)] == list("6543210")


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"name": "n1"}, ["n1"]),
        ({"amount": "2"}, ["n2"]),
        ({"amount": "2.0"}, ["n2"]),
        ({"amount": "0"}, []),
        ({"amount": ""}, ["n0"]),
        ({"ready": "true"}, ["n3", "n1"]),
        ({"ready": "true", "amount": "3"}, ["n3"]),
        ({"scan": ""}, ["n3"]),
        ({"name": "' or true --"}, []),
        ({"taken_on": "2024-01-02"}, ["n2"]),
    ],
)
def test_fields_filter_by_equality(shop: Server, admin: Client, params: Any, found: list[str]):
    rows: list[dict[str, Any]] = [{"name": f"n{i}", "amount": i or None} for i in range(4)]
    for i, row in enumerate(rows):
        row |= {"ready": bool(i % 2), "taken_on": f"2024-01-0{i or 9}"}
    rows[3]["scan"] = ""
    filled(shop, rows)
    assert names(admin.get(SAMPLES, params=params)) == found
    assert names(admin.get(SAMPLES, params={**params, "limit": 10})) == found


def test_id_and_timestamps_are_filterable(admin: Client):
    record = create(admin)
    create(admin)
    for name in ("id", "created_at", "updated_at"):
        assert admin.get(SAMPLES, params={name: record[name]}).json() == [record]
        where = {"where": {name: {"$in": [record[name]]}}}
        assert admin.post(f"{SAMPLES}/query", json=where).json()["data"] == [record]


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": "1.5"}, "limit"),
        ({"offset": "-1"}, "offset"),
        ({"offset": "x"}, "offset"),
        ({"offset": "99999999999999999999"}, "offset"),
        ({"offset": str(2**31 + 1)}, "offset"),
        ({"sort": "colour"}, "'colour'"),
        ({"sort": "name; drop table samples"}, "drop"),
        ({"sort": "_owner"}, "'_owner'"),
        ({"order": "up"}, "order"),
        ({"colour": "1"}, "'colour'"),
        ({"amount": "x"}, "samples.amount"),
        ({"ready": "1"}, "samples.ready"),
        ({"ticket": "x"}, "samples.ticket"),
        ({"tags": "a"}, "samples.tags"),
        ({"after": "x"}, "samples.id"),
        ({"after": "3fa85f64-5717-4562-b3fc-2c963f66afa6"}, "after"),
        ([("name", "a"), ("name", "b")], "twice"),
        ({"name": "a\0"}, "U+0000"),
    ],
)
def test_bad_parameters_are_named(admin: Client, params: Any, named: str):
    assert named in refused(admin.get(SAMPLES, params=params))
    if "limit" not in params:
        more = [*(params if isinstance(params, list) else params.items()), ("limit", "5")]
        assert named in refused(admin.get(SAMPLES, params=more))


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"amount": {"$gt": "1"}}, ["n3", "n2"]),
        ({"amount": {"$gte": 1, "$lt": 3}}, ["n2", "n1"]),
        ({"amount": {"$ne": 1}}, ["n3", "n2"]),
        ({"amount": {"$nin": [1, 2]}}, ["n3"]),
        ({"amount": None}, ["n0"]),
        ({"amount": {"$eq": None}}, ["n0"]),
        ({"amount": {"$isNull": False}}, ["n3", "n2", "n1"]),
        ({"name": {"$like": "n_"}}, ["n3", "n2", "n1", "n0"]),
        ({"name": {"$ilike": "N1%"}}, ["n1"]),
        ({"name": {"$in": ["n1", "n2", "x"]}}, ["n2", "n1"]),
        ({"name": {"$in": []}}, []),
        ({"name": {"$nin": []}}, ["n3", "n2", "n1", "n0"]),
        ({"$or": []}, []),
        ({"$and": []}, ["n3", "n2", "n1", "n0"]),
        ({}, ["n3", "n2", "n1", "n0"]),
        ({"$or": [{"name": "n0"}, {"amount": 3}]}, ["n3", "n0"]),
        ({"$not": {"amount": {"$gt": 1}}}, ["n1"]),
        ({"tags": {"$contains": ["b", "a"]}}, ["n1"]),
        ({"tags": {"$contains": "a"}}, ["n2", "n1"]),
        ({"tags": ["a"]}, ["n2"]),
        ({"details": {"$contains": {"k": 1}}}, ["n2"]),
        ({"created_at": {"$gt": "2024-01-01T00:01:30Z"}}, ["n3", "n2"]),
    ],
)
def test_a_query_filters(shop: Server, admin: Client, where: Any, found: list[str]):
    rows: list[dict[str, Any]] = [{"name": f"n{i}", "amount": i or None} for i in range(4)]
    rows[1]["tags"], rows[2]["tags"] = ["a", "b"], ["a"]
    rows[2]["details"] = {"k": 1, "l": 2}
    filled(shop, rows)
    answer = admin.post(f"{SAMPLES}/query", json={"where": where}).json()
    assert [record["name"] for record in answer["data"]] == found
    assert answer["total"] == len(found)


def test_the_total_is_right_on_every_page(shop: Server, admin: Client):
    filled(shop, [{"name": f"n{i}", "ready": i < 7} for i in range(9)])
    for offset, seen in ((0, 3), (3, 3), (6, 1), (7, 0), (50, 0)):
        body = {"where": {"ready": True}, "limit": 3, "offset": offset}
        answer = admin.post(f"{SAMPLES}/query", json=body).json()
        assert (len(answer["data"]), answer["total"]) == (seen, 7)
    saved = admin.post(f"{SAMPLES}/query", json={"total": False}).json()
    assert list(saved) == ["data"]


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 0},
        {"limit": -1},
        {"limit": "ten"},
        {"limit": 1.5},
        {"offset": -1},
        {"offset": 2**31 + 1},
        {"offset": 10**30},
        {"order": "up"},
        {"orderBy": "colour"},
        {"orderBy": 'name" desc'},
        {"orderby": "name"},
        {"select": ["name"]},
        {"where": []},
        {"where": "name = 1"},
        {"where": {"colour": 1}},
        {"where": {"name": {"$regex": "x"}}},
        {"where": {"name": {"$like": "x\\"}}},
        {"total": "no"},
        {"after": 5},
        {"after": "5"},
        [],
    ],
)
def test_a_bad_query_is_refused(admin: Client, body: Any):
    create(admin)
    refused(admin.post(f"{SAMPLES}/query", json=body))


def test_query_and_bulk_are_no_records(admin: Client):
    for name in ("query", "bulk"):
        refused(admin.get(f"{TEAMS}/{name}"), 405)
    assert admin.post(f"{SAMPLES}/query", json={"limit": 5000}).status_code == 200
