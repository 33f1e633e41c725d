"""Updates of an app that change its fields lose no event of a webhook that lags behind."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from typing import Any

import psycopg
import pytest

from kernel.public import APPS, App
from kernel.testing import Server, running_server
from tests.waiting import eventually

from .support import CONFIG, Receiver, deliveries, make_hook, path, receiving, retry, show_hook

RECORDS = 10
CHANGES = 500
TITLE = {"name": "title", "type": "text"}
NUMBER = {"name": "number", "type": "text"}
STAGE = {"name": "stage", "type": "text"}
FIELDS = [TITLE, NUMBER, STAGE]
_apps = itertools.count(1)


class Updated:
    """An app of deals whose fields change, and its webhook."""

    def __init__(self, server: Server, receiver: Receiver) -> None:
        self.server = server
        self.receiver = receiver
        self.app_id = f"updated{next(_apps)}"
        self.url = f"/{self.app_id}"
        self.install(FIELDS)
        self.hook_id = make_hook(server, self.app_id, receiver.url(self.url))["id"]

    def install(self, fields: Sequence[Any], **entity: Any) -> None:
        contract = [{"entityName": "deals", "fields": list(fields), **entity}]
        self.server.install({"appId": self.app_id, "name": self.app_id, "dataContract": contract})

    def switch(self, *, on: bool) -> None:
        answer = self.server.admin.patch(path(self.app_id, self.hook_id), json={"enabled": on})
        assert answer.status_code == 200, answer.text

    def write(self, numbers: Sequence[int], table: str = "deals", column: str = "number") -> None:
        """Change one record after the other, each in a transaction of its own."""
        target = f"{self.app_id}.{table}"
        with psycopg.connect(self.server.dsn, autocommit=True) as connection:
            for number in numbers:
                record = f"record {number % RECORDS}"
                row = connection.execute(
                    f"update {target} set {column} = %s where title = %s returning id",
                    [str(number), record],
                ).fetchone()
                if row is None:
                    connection.execute(
                        f"insert into {target} (title, {column}) values (%s, %s)",
                        [record, str(number)],
                    )

    def list_deliveries(self, state: str) -> list[dict[str, Any]]:
        return deliveries(self.server, self.app_id, self.hook_id, state=state)

    def wait(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many deliveries, and see that none comes twice and no other one."""
        bodies = self.receiver.wait(count, self.url, 120)
        eventually(lambda: not self.list_deliveries("pending"))
        lines = self.receiver.received(self.url)
        ids = {line["headers"]["webhook-id"] for line in lines}
        assert (len(lines), len(ids)) == (count, count)
        assert show_hook(self.server, self.app_id, self.hook_id)["reason"] is None
        return bodies


def check_order(
    bodies: Sequence[dict[str, Any]], numbers: Sequence[int], read: Callable[[Any], Any]
) -> None:
    """See that the numbers of each record came in their order; `read` finds that of a record."""
    received = defaultdict[str, list[Any]](list)
    for body in bodies:
        record = body["data"]["record"]
        received[record["title"]].append(read(record))
    for place in range(RECORDS):
        expected = [number for number in numbers if number % RECORDS == place]
        assert received[f"record {place}"] == expected


@pytest.fixture(scope="module")
def server(postgres: Any, tmp_path_factory: Any) -> Generator[Server]:
    with running_server(postgres, CONFIG, data_dir=tmp_path_factory.mktemp("updates")) as running:
        yield running


@pytest.fixture
def updated(server: Server, tmp_path: Any) -> Generator[Updated]:
    with receiving(tmp_path) as receiver:
        yield Updated(server, receiver)


def test_a_field_is_added_while_a_webhook_is_disabled(updated: Updated) -> None:
    updated.switch(on=False)
    updated.write(range(CHANGES))
    updated.install([*FIELDS, {"name": "size", "type": "number"}])
    updated.write(range(CHANGES, CHANGES + 20))
    updated.switch(on=True)
    bodies = updated.wait(CHANGES + 20)
    check_order(bodies, range(CHANGES + 20), lambda record: int(record["number"]))
    assert all(body["data"]["record"]["size"] is None for body in bodies)


def test_a_field_is_renamed_while_a_webhook_is_disabled(updated: Updated) -> None:
    updated.switch(on=False)
    updated.write(range(CHANGES))
    updated.install([TITLE, {"name": "place", "type": "text", "was": "number"}, STAGE])
    updated.write(range(CHANGES, CHANGES + 20), column="place")
    updated.switch(on=True)
    bodies = updated.wait(CHANGES + 20)
    check_order(bodies, range(CHANGES + 20), lambda record: int(record["place"]))
    assert not any("number" in body["data"]["record"] for body in bodies)
    changed = [body["data"]["old"] for body in bodies if body["type"] == "deals.change"]
    assert all("place" in old and "number" not in old for old in changed)


def test_a_field_is_removed_while_a_webhook_is_disabled(updated: Updated) -> None:
    updated.switch(on=False)
    updated.write(range(CHANGES))
    updated.install([TITLE, NUMBER])
    updated.server.admin.post(f"/api/v1/apps/{updated.app_id}/schema/prune", json={})
    updated.write(range(CHANGES, CHANGES + 20))
    updated.switch(on=True)
    bodies = updated.wait(CHANGES + 20)
    check_order(bodies, range(CHANGES + 20), lambda record: int(record["number"]))
    assert not any("stage" in body["data"]["record"] for body in bodies)


def test_a_type_changes_while_a_webhook_is_disabled(updated: Updated) -> None:
    """What the new type does not take is null: no row has it any more, as the install checks."""
    updated.switch(on=False)
    updated.write(range(RECORDS))
    updated.server.sql(f"update {updated.app_id}.deals set number = 'none'")
    updated.write(range(RECORDS, CHANGES))
    updated.install([TITLE, {"name": "number", "type": "number"}, STAGE])
    updated.write(range(CHANGES, CHANGES + 20))
    updated.switch(on=True)
    bodies = updated.wait(CHANGES + RECORDS + 20)
    texts = [body for body in bodies if body["data"]["record"]["number"] is None]
    assert len(texts) == RECORDS
    numbers = [body for body in bodies if body["data"]["record"]["number"] is not None]
    check_order(numbers, range(CHANGES + 20), lambda record: record["number"])


def test_the_entity_is_renamed_while_a_webhook_is_disabled(updated: Updated) -> None:
    updated.switch(on=False)
    updated.write(range(CHANGES))
    updated.install(FIELDS, entityName="offers", was="deals")
    updated.write(range(CHANGES, CHANGES + 20), table="offers")
    updated.switch(on=True)
    bodies = updated.wait(CHANGES + 20)
    check_order(bodies, range(CHANGES + 20), lambda record: int(record["number"]))
    assert {body["data"]["entity"] for body in bodies} == {"offers"}


def test_several_updates_while_a_webhook_is_disabled(updated: Updated) -> None:
    """A name is given up, and another field has it later: that is not the field of then."""
    updated.switch(on=False)
    updated.write(range(100))
    updated.install([TITLE, {"name": "first", "type": "text", "was": "number"}, STAGE])
    updated.write(range(100, 200), column="first")
    updated.install(
        [
            TITLE,
            {"name": "second", "type": "number", "was": ["first"]},
            {"name": "number", "type": "text"},
        ]
    )
    updated.write(range(200, 300), column="second")
    updated.switch(on=True)
    bodies = updated.wait(300)
    check_order(bodies, range(300), lambda record: record["second"])
    assert all(body["data"]["record"]["number"] is None for body in bodies)


def test_updates_while_changes_are_delivered(updated: Updated) -> None:
    """The webhook is on: what it has not come to when the fields change is delivered after it."""
    fields = list(FIELDS)
    for step in range(5):
        updated.write(range(step * 60, step * 60 + 60))
        fields.append({"name": f"size_{step}", "type": "number"})
        updated.install(fields)
    updated.write(range(300, 320))
    bodies = updated.wait(320)
    check_order(bodies, range(320), lambda record: int(record["number"]))


def test_an_update_while_the_queue_is_full(
    updated: Updated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contrib.webhooks.deliveries.follower.MAX_WAITING", 5)
    updated.receiver.answer("500", updated.url)
    updated.write(range(5))
    server, app_id, hook_id = updated.server, updated.app_id, updated.hook_id
    eventually(lambda: len(deliveries(server, app_id, hook_id)) == 5)
    updated.write(range(5, 60))
    updated.install([TITLE, {"name": "place", "type": "text", "was": "number"}])
    updated.receiver.answer("200", updated.url)
    for row in deliveries(server, app_id, hook_id):
        retry(server, app_id, hook_id, row["id"])
    eventually(
        lambda: len(updated.list_deliveries("delivered")) == 60,
        60,
        lambda: updated.list_deliveries("pending"),
    )
    places = dict[str, int]()
    for line in updated.receiver.received(updated.url):
        record = json.loads(line["body"])["data"]["record"]
        places[line["headers"]["webhook-id"]] = int(record.get("number") or record["place"])
    assert sorted(places.values()) == list(range(60))
    assert show_hook(server, app_id, hook_id)["reason"] is None


def test_a_replay_from_before_an_update_sends_the_fields_of_today(updated: Updated) -> None:
    updated.write(range(20))
    bodies = updated.wait(20)
    [first] = [
        body["data"]["position"] for body in bodies if body["data"]["record"]["number"] == "0"
    ]
    updated.install([TITLE, {"name": "place", "type": "number", "was": "number"}])
    replayed = updated.server.admin.post(
        path(updated.app_id, updated.hook_id, "replay"), json={"since": first}
    )
    assert (replayed.status_code, replayed.json()) == (202, {"queued": 19})
    bodies = updated.receiver.wait(39, updated.url)
    places = [body["data"]["record"]["place"] for body in bodies[20:]]
    assert sorted(places) == list(range(1, 20))


def test_a_process_that_has_not_heard_of_an_update_loses_nothing(
    updated: Updated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its catalog is the former one: by that, changes of the new field show nothing."""
    updated.write(range(2))
    updated.wait(2)
    apps: Any = updated.server.services.get(APPS)
    former = updated.server.run(apps.app, updated.app_id)
    read_app, refresh = apps.app, apps.refresh
    refreshes: list[str] = []

    async def read_former(app_id: str) -> App:
        if app_id == updated.app_id and not refreshes:
            return former
        return await read_app(app_id)

    async def note_refresh() -> None:
        refreshes.append("by the follower")
        await refresh()

    monkeypatch.setattr(apps, "app", read_former)
    monkeypatch.setattr(apps, "refresh", note_refresh)
    updated.install([*FIELDS, {"name": "size", "type": "number"}])
    updated.server.sql(f"update {updated.app_id}.deals set size = 5 where title = 'record 1'")
    bodies = updated.receiver.wait(3, updated.url)
    assert refreshes
    assert bodies[-1]["data"]["record"]["size"] == 5
    assert bodies[-1]["data"]["old"]["size"] is None
