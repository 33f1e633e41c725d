"""Live queries, and lists with a position to follow from."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

import plugins.feed.live
from kernel.public import READS, STATEMENTS
from kernel.testing import Client, MakeServer, Postgres, Server, running_server

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


def test_a_query_is_read_again_also_long_after_it_was(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins.feed.live, "PAUSE", 0.0)  # has always passed
    body = {"where": {"stage": "long after"}, "limit": 5}
    with live(admin, body).wait_ready() as stream:
        record = create(admin, title="new", stage="long after")
        stream.wait(lambda stream: stream.events[-1].data == {"data": [record], "total": 1})


def test_a_query_ends_where_it_cannot_be_read_any_more(admin: Client) -> None:
    first = create(admin, title="first", stage="cut")
    body = {"where": {"stage": "cut"}, "limit": 5, "after": first["id"], "total": False}
    with live(admin, body).wait_ready() as stream:
        delete(admin, first)
        stream.wait(lambda stream: stream.events[-1].name == "end")
        assert stream.events[-1].data == {"reason": "entity changed"}


class OldReads:
    """READS of a replica that is behind: each question has the answer that it had first."""

    def __init__(self) -> None:
        self.database: Any = None
        self._answers: dict[Any, bytes | None] = {}

    @property
    def prompt(self) -> OldReads:
        return self

    @property
    def large(self) -> OldReads:
        return self

    async def fetch(self, query: Any, *params: Any, **options: Any) -> bytes | None:
        question = (query, repr(params))
        if question not in self._answers:
            self._answers[question] = await self.database.fetch(query, *params, **options)
        return self._answers[question]


def test_a_query_is_read_again_where_its_changes_are_read(postgres: Postgres) -> None:
    old = OldReads()
    bodies: list[dict[str, Any]] = [
        {"groupBy": ["stage"], "aggregate": {"sum": {"$sum": "value"}}},
        {"limit": 1},
        {"search": "new", "limit": 1},
    ]
    expected: list[dict[str, Any]] = []
    with running_server(postgres, services={READS: old}) as server:
        old.database = server.services.get(STATEMENTS)
        prepare(server)
        create(server.admin, title="new", stage="x", value=1)
        with ExitStack() as opened:
            streams = [
                opened.enter_context(live(server.admin, body).wait_ready()) for body in bodies
            ]
            record = create(server.admin, title="new", stage="x", value=2)
            expected = [
                {"data": [{"stage": "x", "sum": 3}], "total": 1},
                {"data": [record], "total": 2},
                {"data": [record], "total": 2},
            ]
            for stream, reply in zip(streams, expected, strict=True):
                stream.wait(lambda stream, reply=reply: stream.named("page")[-1].data == reply)


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
        admin.post(f"{DEALS}/query", json={"where": {"stage": stage}, "limit": 1}, headers=MANY),
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


@pytest.mark.parametrize(
    "groups",
    [
        {"groupBy": ["stage"], "having": {"stage": {"$ne": ""}}},
        {"aggregate": {"sum": {"$sum": "value"}}, "timezone": "Europe/Berlin"},
        {"groupBy": ["contact_id.name", {"$day": "created_at"}], "search": "first"},
    ],
)
def test_groups_have_the_position_that_they_were_read_at(
    admin: Client, groups: dict[str, Any]
) -> None:
    stage = f"groups {sorted(groups)}"
    create(admin, title="first", stage=stage, value=2)
    body = {"where": {"stage": stage}, **groups}
    answer = admin.post(f"{DEALS}/query", json=body, headers=MANY)
    later = create(admin, title="later", stage=stage)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) == 1
    with follow(admin, since=answer.headers["caudex-event"]).wait_ready() as stream:
        assert stream.changes(1) == [("enter", later)]
    plain = admin.post(f"{DEALS}/query", json={**body, "where": {"title": "first", "stage": stage}})
    assert plain.json() == answer.json()
    assert "caudex-event" not in plain.headers


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
