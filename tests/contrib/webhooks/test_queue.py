"""The queue of a webhook: what is due, where it is sent, and the ids of what is sent."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from contrib.webhooks import store as hooks
from contrib.webhooks.deliveries import store
from contrib.webhooks.events import EventMaker
from contrib.webhooks.models import Hook
from contrib.webhooks.signing import Endpoints
from kernel.public import CHANGES, STATEMENTS
from kernel.testing import Server, running_server
from tests.waiting import eventually

from .support import (
    CONFIG,
    DEALS,
    Receiver,
    create,
    deliveries,
    make_hook,
    path,
    retry,
    show_hook,
    states,
)

URL = "https://[2606:4700::1111]/hook"


@pytest.fixture(scope="module")
def server(postgres: Any, tmp_path_factory: Any) -> Generator[Server]:
    with running_server(postgres, CONFIG, data_dir=tmp_path_factory.mktemp("queue")) as running:
        running.install(DEALS)
        yield running


def add_delivery(
    server: Server, hook_id: str, place: int, record: str, wait: str, state: str = "pending"
) -> str:
    """Add a delivery whose next attempt is in so long."""
    delivery = f"msg_{hook_id}_{place}"
    server.sql(
        "insert into caudex_webhooks.deliveries (id, hook_id, place, event, entity, record, body,"
        " state, at, next_at) values"
        " (%s, %s, %s, 'change', 'deals', %s, '{}', %s, now(), now() + %s::interval)",
        delivery, hook_id, place, record, state, wait,
    )  # fmt: skip
    return delivery


def test_the_pause_is_that_of_a_delivery_that_may_be_sent(server: Server) -> None:
    """An earlier delivery of a record was retried, and waits: the later one has to wait, too."""
    hook_id = make_hook(server, "crm", URL, name="pauses", enabled=False)["id"]
    statements = server.services.get(STATEMENTS)

    def read_pause(*busy: str) -> float | None:
        return server.run(store.seconds_to_next, statements, hook_id, busy)

    assert read_pause() is None
    first = add_delivery(server, hook_id, 1, "a", "0 s", "failed")
    add_delivery(server, hook_id, 2, "a", "-1 minute")
    retry(server, "crm", hook_id, first)
    server.sql(
        "update caudex_webhooks.deliveries set next_at = now() + interval '5 hours' where id = %s",
        first,
    )
    assert server.run(store.find_due, statements, hook_id, ()) is None
    pause = read_pause()
    assert pause is not None
    assert pause > 3600
    assert read_pause("deals a") is None, "its only record is busy"
    add_delivery(server, hook_id, 3, "b", "1 hour")
    pause = read_pause()
    assert pause is not None
    assert pause < 7200
    server.admin.delete(path("crm", hook_id))


def read_hook(server: Server, hook_id: str) -> Hook:
    hook = server.run(hooks.find, server.services.get(STATEMENTS), "crm", hook_id)
    assert hook is not None
    return hook


def test_an_attempt_of_before_leaves_no_former_url_behind(server: Server) -> None:
    hook_id = make_hook(server, "crm", URL, name="moved")["id"]
    former = read_hook(server, hook_id)
    fresh_url = f"{URL}/elsewhere"
    answer = server.admin.patch(path("crm", hook_id), json={"url": fresh_url})
    assert answer.status_code == 200, answer.text
    fresh = read_hook(server, hook_id)
    endpoints = Endpoints(server.services)
    server.run(endpoints.find, former)
    assert server.run(endpoints.find, fresh).url == fresh_url
    before = server.run(endpoints.find, fresh).keys
    server.admin.post(path("crm", hook_id, "rotate"))
    eventually(lambda: len(server.run(endpoints.find, fresh).keys) == 2)
    assert before[0] in server.run(endpoints.find, former).keys
    server.admin.delete(path("crm", hook_id))


def test_an_event_that_a_restored_database_gives_a_former_number_has_another_id(
    server: Server, receiver: Receiver
) -> None:
    hook_id = make_hook(server, "crm", receiver.url("/restored"), name="restored")["id"]
    begin = read_hook(server, hook_id).begins
    assert begin is not None
    create(server, title="one")
    receiver.wait(1)
    [line] = receiver.received()
    page = server.run(server.services.get(CHANGES).read, begin, ["crm.deals"])
    [change] = page.changes
    hook = read_hook(server, hook_id)

    async def make_ids() -> list[str]:
        events = EventMaker(server.services)
        watch = await events.open(hook)
        later = msgspec.structs.replace(change, at="2031-01-01T00:00:00.000000Z")
        made = [await events.make(hook, watch, [item]) for item in (change, later)]
        return [delivery.id for part in made for delivery in part.deliveries]

    same, other = server.run(make_ids)
    assert same == line["headers"]["webhook-id"]
    assert other != same
    server.admin.delete(path("crm", hook_id))


def test_a_delivery_keeps_an_id_that_was_made_otherwise(server: Server, receiver: Receiver) -> None:
    began = datetime.now(UTC).isoformat()
    hook_id = make_hook(server, "crm", receiver.url("/kept"), name="kept")["id"]
    create(server, title="kept")
    receiver.wait(1)
    eventually(lambda: states(server, "crm", hook_id) == ["delivered"])
    server.sql(
        "update caudex_webhooks.deliveries set id = 'msg_of_before' where hook_id = %s", hook_id
    )
    answer = server.admin.post(path("crm", hook_id, "replay"), json={"since": began})
    assert answer.json() == {"queued": 1}
    receiver.wait(2)
    assert receiver.received()[-1]["headers"]["webhook-id"] == "msg_of_before"
    assert [row["id"] for row in deliveries(server, "crm", hook_id)] == ["msg_of_before"]
    assert show_hook(server, "crm", hook_id)["reason"] is None
    server.admin.delete(path("crm", hook_id))
