"""What clients of other APIs send: counts in headers, whole records, orders in capitals."""

from __future__ import annotations

import pytest

from kernel.testing import Client, Server, running_server

MANIFEST = {
    "appId": "stock",
    "name": "Stock",
    "dataContract": [
        {
            "entityName": "items",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {"name": "count", "type": "number", "required": True, "default_value": 0},
                {"name": "note", "type": "text"},
                {"name": "label", "type": "text", "generated": {"$concat": ["name", "note"]}},
            ],
        },
        {"entityName": "odd", "fields": [{"name": "expand", "type": "text"}]},
    ],
}
ITEMS = "/api/v1/apps/stock/collections/items"
COUNT = {"prefer": "count=exact"}


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres) as running:
        running.install(MANIFEST)
        rows = [{"name": f"Item {n:02}", "count": n} for n in range(25)]
        assert running.admin.post(f"{ITEMS}/bulk", json=rows).status_code == 201
        yield running


@pytest.fixture
def admin(server: Server) -> Client:
    return server.admin


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("?limit=10", "items 0-9/25"),
        ("?limit=10&offset=20", "items 20-24/25"),
        ("?limit=10&offset=90", "items */25"),
        ("?limit=100", "items 0-24/25"),
        ("", "items 0-24/25"),
        ("?offset=20", "items 20-24/25"),
        ("?name=Item%2003", "items 0-0/1"),
        ("?name=none&limit=5", "items */0"),
    ],
)
def test_a_list_says_where_it_is_among_all_records(admin: Client, query: str, place: str) -> None:
    answer = admin.get(ITEMS + query, headers=COUNT)
    assert answer.status_code == 200
    assert answer.headers["content-range"] == place
    assert answer.headers["x-total-count"] == place.partition("/")[2]
    first, _, last = place[6:].partition("/")[0].partition("-")
    assert len(answer.json()) == (0 if first == "*" else int(last) - int(first) + 1)


def test_without_the_wish_nothing_is_counted(admin: Client) -> None:
    for headers in ({}, {"prefer": "return=minimal"}, {"prefer": "count=planned"}):
        answer = admin.get(f"{ITEMS}?limit=5", headers=headers)
        assert "x-total-count" not in answer.headers
        assert "content-range" not in answer.headers
    both = admin.get(f"{ITEMS}?limit=5", headers={"prefer": "position, Count=Exact"})
    assert both.headers["x-total-count"] == "25"


def test_after_a_record_the_place_is_unknown(admin: Client) -> None:
    first = admin.get(f"{ITEMS}?limit=10").json()
    answer = admin.get(f"{ITEMS}?limit=10&after={first[-1]['id']}", headers=COUNT)
    assert answer.headers["content-range"] == "items */25"


def test_only_readable_records_are_counted(server: Server) -> None:
    reader = server.user(permissions={"stock": ["items.read.own"]})
    answer = reader.get(f"{ITEMS}?limit=5", headers=COUNT)
    assert (answer.json(), answer.headers["content-range"]) == ([], "items */0")


def test_pages_of_browsers_may_read_the_headers_and_put(admin: Client) -> None:
    origin = {"origin": "http://localhost:3000"}
    exposed = admin.get(f"{ITEMS}?limit=1", headers=origin).headers["access-control-expose-headers"]
    assert {"Content-Range", "X-Total-Count"} <= set(exposed.split(", "))
    asked = {**origin, "access-control-request-method": "PUT"}
    allowed = admin.options(ITEMS, headers=asked).headers["access-control-allow-methods"]
    assert "PUT" in allowed.split(", ")


@pytest.mark.parametrize("order", ["ASC", "asc", "Asc"])
def test_an_order_is_taken_in_any_case(admin: Client, order: str) -> None:
    answer = admin.get(f"{ITEMS}?sort=count&order={order}&limit=2")
    assert [item["count"] for item in answer.json()] == [0, 1]
    assert admin.get(f"{ITEMS}?order=up").status_code == 400


def test_a_record_of_a_list_is_sent_back_whole(admin: Client) -> None:
    [item] = admin.get(f"{ITEMS}?limit=1&etag=true").json()
    assert "_etag" in item
    changed = {**item, "note": "seen", "expand": {}}
    answer = admin.put(f"{ITEMS}/{item['id']}", json=changed)
    assert answer.status_code == 200, answer.text
    assert answer.json()["note"] == "seen"
    stale = admin.put(f"{ITEMS}/{item['id']}", json=changed, headers={"if-match": item["_etag"]})
    assert stale.status_code == 412


def test_put_takes_whole_records_only(admin: Client) -> None:
    [item] = admin.get(f"{ITEMS}?limit=1").json()
    address = f"{ITEMS}/{item['id']}"
    missing = admin.put(address, json={"name": "x"})
    assert (missing.status_code, "count is required" in missing.text) == (400, True)
    other = admin.put(address, json={**item, "id": "0" * 8})
    assert (other.status_code, "id must be" in other.text) == (400, True)
    unknown = admin.put(address, json={**item, "colour": "red"})
    assert (unknown.status_code, "colour" in unknown.text) == (400, True)
    null = admin.put(address, json={**item, "name": None})
    assert null.status_code == 400
    left_out = admin.put(address, json={"name": "y", "count": 3})
    assert left_out.json()["note"] == item["note"]
    gone = admin.put(f"{ITEMS}/00000000-0000-4000-8000-000000000000", json=item | {"id": None})
    assert gone.status_code in (400, 404)
    assert admin.put(ITEMS, json={}).status_code == 405


def test_who_may_not_change_may_not_put(server: Server) -> None:
    reader = server.user(permissions={"stock": ["items.read"]})
    [item] = reader.get(f"{ITEMS}?limit=1").json()
    assert reader.put(f"{ITEMS}/{item['id']}", json=item).status_code == 403


def test_members_of_lists_are_taken_in_other_writes(admin: Client) -> None:
    made = admin.post(ITEMS, json={"name": "New", "_etag": '"x"', "expand": {"a": 1}})
    assert made.status_code == 201, made.text
    address = f"{ITEMS}/{made.json()['id']}"
    changed = admin.patch(address, json={"note": "a", "_etag": '"x"', "expand": None})
    assert changed.json()["note"] == "a"
    operation = {"op": "update", "entity": "items", "id": made.json()["id"]}
    batch = {"operations": [{**operation, "data": {"note": "b", "_etag": "x"}}]}
    assert admin.post("/api/v1/apps/stock/batch", json=batch).status_code == 200
    assert admin.get(address).json()["note"] == "b"
    assert admin.patch(address, json={"_other": 1}).status_code == 400
    admin.delete(address)


def test_a_field_of_that_name_is_written(admin: Client) -> None:
    path = "/api/v1/apps/stock/collections/odd"
    made = admin.post(path, json={"expand": "a field"})
    assert made.json()["expand"] == "a field"
