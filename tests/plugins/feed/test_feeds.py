"""Feeds over HTTP: what comes, in which form, and where a stream goes on."""

from __future__ import annotations

import re
from typing import Any

import anyio.to_thread
import pytest

from kernel.public import CHANGES
from kernel.testing import Client, Server
from plugins.audit.changes.following import tailer
from plugins.feed import stream as stream_module

from .support import APP, BASE, DEALS, Stream, create, delete, follow, patch, subscribe

POSITION = re.compile(r"[A-Za-z0-9_.-]{1,4000}")


def test_a_feed_follows_the_life_of_a_record(admin: Client) -> None:
    with follow(admin).wait_ready() as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        record = create(admin, title="t", value=1)
        changed = patch(admin, record, value=2)
        delete(admin, record)
        assert stream.changes(3) == [("enter", record), ("change", changed), ("leave", None)]
        ready, *events = stream.events
        assert (ready.name, ready.data) == ("ready", {"position": ready.id})
        for event in events:
            assert POSITION.fullmatch(event.id or "")
            assert event.data["entity"] == "deals"
            assert event.data["id"] == record["id"]
            assert event.data["actor"] == admin.id
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", event.data["at"])
            assert event.data["request"]
            assert "subscription" not in event.data
        assert len({event.id for event in events}) == 3
        assert "record" not in events[-1].data


def test_a_stream_goes_on_behind_each_event(admin: Client) -> None:
    with follow(admin).wait_ready() as stream:
        records = [create(admin, title=str(number)) for number in range(4)]
        stream.changes(4)
        ids = [event.id for event in stream.named("enter")]
    for place, position in enumerate(ids):
        with follow(admin, since=position).wait_ready() as resumed:
            assert [record["id"] for _, record in resumed.changes(3 - place)] == [
                record["id"] for record in records[place + 1 :]
            ]
        headers = {"last-event-id": position}
        with follow(admin, since="nonsense!", headers=headers).wait_ready() as resumed:
            assert len(resumed.changes(3 - place)) == 3 - place
    with follow(admin, headers={"last-event-id": ""}).wait_ready() as resumed:
        assert len(resumed.events) == 1, "an empty header does not count"


def test_a_long_replay_without_events_says_how_far_it_is(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a proxy would end it each time before it is there."""
    monkeypatch.setattr(stream_module, "HEARTBEAT", 0.0)
    monkeypatch.setattr(tailer, "CATCH_UP_PAGE", 1)
    with follow(admin).wait_ready() as stream:
        begin = stream.last_id
    records = [create(admin, title=str(number)) for number in range(3)]
    where = {"stage": "no record has it"}
    with follow(admin, where=where, since=begin).wait_ready() as stream:
        before_ready = stream.blocks[: stream.blocks.index(stream.named("ready")[0])]
    heartbeats = [block.id for block in before_ready if block.id is not None]
    assert stream.named("enter", "change", "leave") == []
    assert len(set(heartbeats)) >= 3
    with follow(admin, since=heartbeats[0]).wait_ready() as stream:
        stream.changes(2)
    came = [event.data["id"] for event in stream.named("enter")]
    assert came == [record["id"] for record in records[1:]]


def test_where_and_fields_narrow_what_comes(admin: Client) -> None:
    where = {"stage": {"$ne": "Lost"}}
    with follow(admin, where=where, fields="title").wait_ready() as stream:
        record = create(admin, title="t", stage="Lost")
        patch(admin, record, stage="Won")
        patch(admin, record, value=9)
        patch(admin, record, title="u")
        patch(admin, record, stage="Lost")
        delete(admin, record)
        shown = {"id": record["id"], "title": "t"}
        create(admin, title="last", stage="Won")
        assert stream.changes(4)[:3] == [
            ("enter", shown), ("change", {**shown, "title": "u"}), ("leave", None),
        ]  # fmt: skip


def test_several_subscriptions_share_a_stream(admin: Client) -> None:
    subscriptions = {
        "rich": {"entity": "deals", "where": {"value": {"$gte": 10}}, "fields": ["value"]},
        "people": {"entity": "contacts"},
        "all": {"entity": "deals"},
    }
    with subscribe(admin, subscriptions).wait_ready() as stream:
        create(admin, title="t", value=20)
        person = create(admin, "contacts", name="Ada")
        create(admin, title="poor", value=1)
        stream.changes(4)
        events = stream.named("enter")
    names = [event.data["subscription"] for event in events]
    assert names == ["rich", "all", "people", "all"]
    assert events[2].data["record"] == person
    for place, event in enumerate(events):
        with subscribe(admin, subscriptions, since=event.id).wait_ready() as resumed:
            came = [event.data["subscription"] for event in resumed.named("enter")]
            assert came == names[place + 1 :], f"behind {place}"
    other = {"people": subscriptions["people"], "all": subscriptions["all"]}
    with subscribe(admin, other, since=events[0].id).wait_ready() as resumed:
        came = [event.data["subscription"] for event in resumed.named("enter")]
        assert came == ["people", "all"], "with others it goes on behind the change"


def test_a_write_while_a_stream_begins_has_a_place_to_go_on_from(
    desk: Server, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader: Any = desk.services.get(CHANGES)
    reader = reader.reader
    find_now = reader.find_now
    waiting = ["while it begins"]

    async def find_and_write(*seen: Any) -> Any:
        position = await find_now(*seen)
        if waiting:
            statement = "insert into crm.deals (title) values (%s)"
            await anyio.to_thread.run_sync(desk.sql, statement, waiting.pop())
        return position

    monkeypatch.setattr(reader, "find_now", find_and_write)
    subscriptions = {name: {"entity": "deals"} for name in ("a", "b")}
    with subscribe(admin, subscriptions).wait_ready() as stream:
        stream.changes(2)
        [first, _] = stream.named("enter")
    with subscribe(admin, subscriptions, since=first.id).wait_ready() as stream:
        stream.changes(1)
        assert [event.data["subscription"] for event in stream.named("enter")] == ["b"]


def test_a_large_value_comes_once_for_each_subscription(admin: Client) -> None:
    subscriptions = {name: {"entity": "deals"} for name in ("a", "b", "c")}
    with subscribe(admin, subscriptions).wait_ready() as stream:
        begin = stream.last_id
        record = create(admin, title="x" * 1_200_000)
        assert stream.changes(3) == [("enter", record)] * 3
        events = stream.named("enter")
    assert [event.data["subscription"] for event in events] == ["a", "b", "c"]
    for count, since in enumerate([begin, *(event.id for event in events)]):
        with subscribe(admin, subscriptions, since=since).wait_ready() as resumed:
            assert len(resumed.changes(3 - count)) == 3 - count
    delete(admin, record)


def test_a_transaction_comes_whole_and_once_for_a_record(desk: Server, admin: Client) -> None:
    with follow(admin).wait_ready() as stream:
        desk.sql(
            "with one as (insert into crm.deals (title) values ('a') returning id) select from one"
        )
        stream.changes(1)
        operations: list[dict[str, Any]] = [
            {"op": "create", "entity": "deals", "data": {"title": "x"}, "as": "x"},
            {"op": "update", "entity": "deals", "id": {"$ref": "x.id"}, "data": {"title": "y"}},
            {"op": "create", "entity": "deals", "data": {"title": "z"}},
        ]
        answer = admin.post(f"/api/v1/apps/{APP}/batch", json={"operations": operations})
        assert answer.status_code == 200, answer.text
        titles = [record["title"] for _, record in stream.changes(3)][1:]
        assert sorted(titles) == ["y", "z"]
        assert [event.data["actor"] for event in stream.named("enter")] == [
            None, admin.id, admin.id,
        ]  # fmt: skip


def test_streams_with_the_same_subscriptions_send_the_same(admin: Client) -> None:
    with follow(admin).wait_ready() as one, follow(admin).wait_ready() as two:
        for number in range(20):
            create(admin, title=str(number))
        one.changes(20)
        two.changes(20)
        # Positions may differ: each begins with what the stream had seen when it began.
        sent = [event.data for event in one.named("enter")]
        assert sent == [event.data for event in two.named("enter")]
        assert len(sent) == 20


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"since": "not a position"}, "since is no position of a feed"),
        ({"since": ""}, "since is no position of a feed"),
        ({"since": "x.1.00000000"}, "since is no position of a feed"),
        ({"where": "{"}, "where: a JSON object is wanted"),
        ({"where": "[]"}, "where: a JSON object is wanted"),
        ({"where": "[" * 8_000}, "where: a JSON object is wanted"),
        ({"where": '{"nope": 1}'}, "deals has no field 'nope'"),
        ({"where": '{"title": {"$has": {}}}'}, "$has does not work in a feed"),
        ({"where": '{"contact_id.email": "x"}'}, "deals.contact_id.email: a path does not work"),
        ({"fields": "nope"}, "deals has no field 'nope'"),
        ({"limit": "3"}, "unknown parameter 'limit'"),
        ({"search": "x"}, "unknown parameter 'search'"),
    ],
)
def test_bad_parameters_are_refused(
    admin: Client, parameters: dict[str, str], message: str
) -> None:
    answer = admin.get(f"{DEALS}/feed", params=parameters)
    assert answer.status_code == 400, answer.text
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "subscribe"),
        ({"subscribe": {}}, 400, "at least one subscription"),
        ({"subscribe": {"a b": {"entity": "deals"}}}, 400, "a name has 1 to 64"),
        ({"subscribe": {"": {"entity": "deals"}}}, 400, "a name has 1 to 64"),
        ({"subscribe": {"a": {"entity": "deals"}}, "limit": 3}, 400, "limit"),
        ({"subscribe": {"a": {"entity": "deals", "search": "x"}}}, 400, "search"),
        ({"subscribe": {"a": {"entity": "nope"}}}, 404, "subscribe.a: entity 'nope' not found"),
        ({"subscribe": {"a": {"entity": "deals", "where": {"x": 1}}}}, 400, "subscribe.a: deals"),
        (
            {"subscribe": {str(number): {"entity": "deals"} for number in range(51)}},
            400,
            "at most 50 subscriptions",
        ),
    ],
)  # fmt: skip
def test_bad_bodies_are_refused(admin: Client, body: Any, status: int, message: str) -> None:
    answer = admin.post(f"/api/v1/apps/{APP}/feed", json=body)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]


def test_a_feed_needs_what_a_list_needs(desk: Server, admin: Client) -> None:
    stranger = desk.user()
    reader = desk.user(roles={APP: ["reader"]})
    for entity, client in (("deals", stranger), ("contacts", reader), ("nope", reader)):
        listed = client.get(f"{BASE}/{entity}")
        answer = client.get(f"{BASE}/{entity}/feed")
        assert (answer.status_code, answer.json()) == (listed.status_code, listed.json())
    assert desk.http.get(f"{DEALS}/feed").status_code == 401
    body = {"subscribe": {"mine": {"entity": "deals"}, "people": {"entity": "contacts"}}}
    answer = reader.post(f"/api/v1/apps/{APP}/feed", json=body)
    assert answer.status_code == 403
    assert answer.json()["error"].startswith("subscribe.people: the permission 'contacts.read'")
    assert stranger.post(f"/api/v1/apps/{APP}/feed", json=body).status_code == 403
    assert admin.post("/api/v1/apps/nope/feed", json=body).status_code == 404


def test_own_records_only(desk: Server, admin: Client) -> None:
    owner = desk.user(roles={APP: ["owner"]})
    with follow(owner).wait_ready() as stream:
        create(admin, title="hidden")
        record = create(owner, title="mine")
        changed = patch(admin, record, title="still mine")
        delete(admin, record)
        del changed["margin"]
        assert stream.changes(3) == [("enter", record), ("change", changed), ("leave", None)]


def test_a_head_is_answered_whole(admin: Client) -> None:
    answer = admin.head(f"{DEALS}/feed")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_the_first_words_are_about_coming_back(admin: Client) -> None:
    with admin.stream("GET", f"{DEALS}/feed") as answer:
        first = next(answer.iter_lines())
    assert first == "retry: 2000"


def test_values_over_a_megabyte_come_from_the_table(admin: Client) -> None:
    with follow(admin).wait_ready() as stream:
        large = "x" * 1_200_000
        record = create(admin, title=large, value=1)
        [(_, seen)] = stream.changes(1)
        assert seen == record
        position = stream.last_id
        patch(admin, record, value=2)
        patch(admin, record, title="small")
        stream.changes(3)
    with follow(admin, since=position).wait_ready() as resumed:
        resumed.changes(2)
        moved, shrunk = resumed.named("change")
        assert moved.data["truncated"] == ["title"]
        assert moved.data["record"]["title"]["length"] == 1_200_000
        assert "truncated" not in shrunk.data
    with follow(admin, since=position, where={"title": "small"}).wait_ready() as resumed:
        resumed.wait(lambda stream: len(stream.named("resync")) >= 1)
        assert resumed.named("resync")[0].data == {"reason": "value too large"}


def test_unknown_positions_ask_for_a_new_list(admin: Client) -> None:
    stream: Stream
    with follow(admin).wait_ready() as stream:
        position = stream.last_id
    answer = admin.get(f"{DEALS}/feed", params={"since": position[:-3]})
    assert answer.status_code in (200, 400)
