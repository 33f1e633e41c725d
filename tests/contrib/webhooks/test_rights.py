"""What waits is sent with the rights and conditions of the time when it is sent."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from kernel.testing import Server, running_server
from tests.waiting import eventually

from .support import CONFIG, DEALS, Receiver, deliveries, make_hook, path, retry, states

MANIFEST: dict[str, Any] = json.loads(json.dumps(DEALS)) | {"appId": "rights", "name": "Rights"}
MANIFEST["dataContract"][0]["fields"][2]["access"] = {"read": ["boss"]}
DEALS_PATH = "/api/v1/apps/rights/collections/deals"
ROLES_PATH = "/api/v1/apps/rights/roles"


@pytest.fixture(scope="module")
def server(postgres: Any, tmp_path_factory: Any) -> Generator[Server]:
    with running_server(postgres, CONFIG, data_dir=tmp_path_factory.mktemp("rights")) as running:
        running.install(MANIFEST)
        for name in ("clerk", "boss"):
            body = {"name": name, "permissions": ["deals.read"]}
            assert running.admin.post(ROLES_PATH, json=body).is_success
        yield running


class Waiting:
    """A webhook whose receiver is down, and what waits for it."""

    def __init__(self, server: Server, receiver: Receiver, **values: Any) -> None:
        self.server = server
        self.receiver = receiver
        self.hook_id = make_hook(server, "rights", receiver.url(), name="waits", **values)["id"]
        receiver.stop()

    def create(self, **values: Any) -> dict[str, Any]:
        answer = self.server.admin.post(DEALS_PATH, json=values)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def update(self, deal: dict[str, Any], **values: Any) -> None:
        answer = self.server.admin.patch(f"{DEALS_PATH}/{deal['id']}", json=values)
        assert answer.status_code == 200, answer.text

    def change(self, **values: Any) -> None:
        answer = self.server.admin.patch(path("rights", self.hook_id), json=values)
        assert answer.status_code == 200, answer.text

    def wait_queued(self, count: int) -> None:
        """Wait until so many are queued, and an attempt has failed."""
        eventually(lambda: len(self.list()) == count)
        eventually(lambda: any(row["attempts"] for row in self.list()))

    def list(self) -> list[dict[str, Any]]:
        return deliveries(self.server, "rights", self.hook_id)

    def send(self) -> list[dict[str, Any]]:
        """Let the receiver come back, and return what it gets then."""
        self.receiver.start()
        self.change(enabled=True)  # what waits is due
        eventually(lambda: "pending" not in states(self.server, "rights", self.hook_id))
        return self.receiver.bodies()

    def end(self) -> None:
        self.server.admin.delete(path("rights", self.hook_id))


def test_what_waits_shows_no_more_than_the_role_of_now_may_read(
    server: Server, receiver: Receiver
) -> None:
    waiting = Waiting(server, receiver)
    deal = waiting.create(title="x", value=1)
    waiting.update(deal, title="y", value=2)
    waiting.update(deal, value=3)  # nothing that clerks see
    waiting.wait_queued(3)
    waiting.change(**{"as": "clerk"})
    enter, change = waiting.send()
    assert enter["data"]["record"].keys() == deal.keys() - {"value"}
    assert (change["data"]["record"]["title"], change["data"]["old"]["title"]) == ("y", "x")
    assert "value" not in change["data"]["record"] | change["data"]["old"]
    dropped, *sent = waiting.list()
    assert (dropped["state"], dropped["attempts"]) == ("failed", 0)
    assert "no longer sends this event" in dropped["error"]
    assert [row["state"] for row in sent] == ["delivered", "delivered"]
    waiting.end()


def test_a_retry_of_what_was_delivered_has_the_rights_of_now(
    server: Server, receiver: Receiver
) -> None:
    waiting = Waiting(server, receiver)
    waiting.create(title="twice", value=5)
    waiting.wait_queued(1)
    [body] = waiting.send()
    assert body["data"]["record"]["value"] == 5
    waiting.change(**{"as": "clerk"})
    [row] = waiting.list()
    retry(server, "rights", waiting.hook_id, row["id"])
    [_, body] = receiver.wait(2)
    assert "value" not in body["data"]["record"]
    waiting.end()


def test_a_right_that_a_role_loses_counts_for_what_waits(
    server: Server, receiver: Receiver
) -> None:
    waiting = Waiting(server, receiver, **{"as": "boss"})
    waiting.create(title="seen by the boss", value=7)
    waiting.wait_queued(1)
    changed = json.loads(json.dumps(MANIFEST))
    changed["dataContract"][0]["fields"][2]["access"] = {"read": ["nobody"]}
    server.install(changed)
    try:
        [body] = waiting.send()
        assert body["data"]["record"]["title"] == "seen by the boss"
        assert "value" not in body["data"]["record"]
        waiting.end()
    finally:
        server.install(MANIFEST)


def test_fields_and_conditions_of_now_count_for_what_waits(
    server: Server, receiver: Receiver
) -> None:
    waiting = Waiting(server, receiver)
    waiting.create(title="small", stage="Open", value=1)
    waiting.create(title="large", stage="Open", value=1000)
    waiting.wait_queued(2)
    waiting.change(where={"value": {"$gt": 10}}, fields=["title"])
    [body] = waiting.send()
    assert body["data"]["record"].keys() == {"id", "title"}
    assert body["data"]["record"]["title"] == "large"
    assert sorted(states(server, "rights", waiting.hook_id)) == ["delivered", "failed"]
    waiting.end()


def test_what_waits_of_a_disabled_webhook_is_made_again(server: Server, receiver: Receiver) -> None:
    waiting = Waiting(server, receiver)
    waiting.create(title="kept", value=5)
    waiting.wait_queued(1)
    [row] = waiting.list()
    waiting.change(enabled=False)
    waiting.change(**{"as": "clerk"})
    waiting.change(enabled=True)
    [body] = waiting.send()
    assert (body["data"]["record"]["title"], "value" in body["data"]["record"]) == ("kept", False)
    assert [line["headers"]["webhook-id"] for line in receiver.received()][-1] == row["id"]
    waiting.end()


def test_what_the_trail_does_not_hold_any_more_is_not_sent_with_former_rights(
    server: Server, receiver: Receiver
) -> None:
    waiting = Waiting(server, receiver)
    waiting.create(title="of before", value=5)
    waiting.wait_queued(1)
    server.sql(
        "update caudex_webhooks.deliveries set place = -1 where hook_id = %s", waiting.hook_id
    )
    waiting.change(**{"as": "clerk"})
    assert waiting.send() == []
    [row] = waiting.list()
    assert row["state"] == "failed"
    assert "the trail does not hold this event" in row["error"]
    waiting.end()
