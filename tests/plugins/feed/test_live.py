"""Live queries, and lists with a position to follow from."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Client, MakeServer, Server

from .conftest import prepare
from .support import BASE, DEALS, Stream, create, delete, follow, patch

EVENTS = {"accept": "text/event-stream"}
MANY = {"Prefer": "position"}


def live(client: Client, body: dict[str, Any], **headers: str) -> Stream:
    """Begin a live query."""
    return Stream(client, "POST", f"{DEALS}/query", json=body, headers={**EVENTS, **headers})


def test_a_live_query_is_the_reply_and_its_changes(admin: Client) -> None:
    where = {"stage": "live"}
    old = create(admin, title="old", stage="live")
    body = {"where": where, "orderBy": "title", "order": "asc"}
    with live(admin, body).wait_ready() as stream:
        page, ready = stream.events
        assert page.name == "page"
        assert page.data == admin.post(f"{DEALS}/query", json=body).json()
        assert page.data == {"data": [old], "total": 1}
        assert page.id
        assert ready.name == "ready"
        new = create(admin, title="new", stage="live")
        changed = patch(admin, old, value=3)
        delete(admin, new)
        assert stream.changes(3) == [("enter", new), ("change", changed), ("leave", None)]
        position = stream.named("enter")[0].id or ""
    with live(admin, body, **{"last-event-id": position}).wait_ready() as resumed:
        assert resumed.changes(2) == [("change", changed), ("leave", None)]
        assert resumed.named("page") == []
    with live(admin, {**body, "total": False, "fields": ["title"]}).wait_ready() as stream:
        assert stream.events[0].data == {"data": [{"id": old["id"], "title": "old"}]}


@pytest.mark.parametrize(
    "more",
    [
        {"limit": 2},
        {"offset": 1},
        {"groupBy": ["stage"], "aggregate": {"sum": {"$sum": "value"}}},
        {"etag": True},
    ],
)
def test_a_query_that_is_cut_is_read_again(admin: Client, more: dict[str, Any]) -> None:
    stage = f"cut {sorted(more)}"
    for number in range(3):
        create(admin, title=str(number), stage=stage, value=number)
    body = {"where": {"stage": stage}, **more}
    with live(admin, body).wait_ready() as stream:
        query = lambda: admin.post(f"{DEALS}/query", json=body).json()  # noqa: E731
        assert [event.name for event in stream.events] == ["page", "ready"]
        assert stream.events[0].data == query()
        create(admin, title="other", stage="another")
        create(admin, title="more", stage=stage, value=10)
        stream.wait(lambda stream: stream.events[-1].data == query())
        pages = stream.named("page")
        assert len(pages) == 2, "what does not change the reply is not sent"
        assert stream.named("enter", "change", "leave") == []


def test_bad_live_queries_are_ordinary_errors(desk: Server, admin: Client) -> None:
    bad: list[Any] = [
        {"where": {"nope": 1}}, {"where": {"title": {"$has": {}}}}, {"limit": 0}, {"nope": 1},
    ]  # fmt: skip
    for body in bad:
        answer = admin.post(f"{DEALS}/query", json=body, headers=EVENTS)
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/json"
    stranger = desk.user()
    assert stranger.post(f"{DEALS}/query", json={}, headers=EVENTS).status_code == 403
    answer = admin.post(f"{DEALS}/query", json={}, headers={**EVENTS, "last-event-id": "!"})
    assert answer.status_code == 400


def test_a_list_has_the_position_that_it_was_read_at(admin: Client) -> None:
    stage = "listed"
    first = create(admin, title="first", stage=stage)
    replies = [
        admin.get(DEALS, params={"stage": stage}, headers=MANY),
        admin.get(DEALS, params={"stage": stage, "limit": 1}, headers=MANY),
        admin.get(DEALS, params={"stage": stage, "limit": 1, "sort": "title"}, headers=MANY),
        admin.post(f"{DEALS}/query", json={"where": {"stage": stage}}, headers=MANY),
    ]
    later = create(admin, title="later", stage=stage)
    for answer in replies:
        assert answer.status_code == 200, answer.text
        rows = answer.json()
        assert (rows["data"] if isinstance(rows, dict) else rows) == [first]
        with follow(admin, since=answer.headers["caudex-event"]).wait_ready() as stream:
            assert stream.changes(1) == [("enter", later)]
    plain = admin.get(DEALS, params={"limit": 1})
    assert "caudex-event" not in plain.headers
    other = admin.get(DEALS, params={"limit": 1}, headers={"prefer": "return=minimal"})
    assert "caudex-event" not in other.headers
    empty = admin.get(DEALS, params={"stage": "nothing"}, headers=MANY)
    assert (empty.json(), bool(empty.headers["caudex-event"])) == ([], True)
    full = admin.get(DEALS, params={"limit": 1}, headers=MANY)
    assert "link" in full.headers


def test_browsers_may_read_the_position(admin: Client) -> None:
    origin = {"origin": "http://localhost:3000"}
    answer = admin.get(DEALS, params={"limit": 1}, headers={**origin, **MANY})
    assert "Caudex-Event" in answer.headers["access-control-expose-headers"]


def test_without_a_trail_a_query_is_a_reply(make_server: MakeServer) -> None:
    server = make_server({"plugins": {name: {"enabled": False} for name in ("audit", "undo")}})
    prepare(server)
    record = create(server.admin, title="t")
    answer = server.admin.get(DEALS, headers=MANY)
    assert (answer.json(), "caudex-event" in answer.headers) == ([record], False)
    answer = server.admin.post(f"{DEALS}/query", json={}, headers=EVENTS)
    assert answer.json() == {"data": [record], "total": 1}
    assert server.admin.get(f"{DEALS}/feed").status_code == 400, "it is an id here"
    assert server.admin.get(f"{BASE}/deals", params={"limit": 1}).status_code == 200
