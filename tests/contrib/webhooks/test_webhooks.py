"""Webhooks on a running server, with a receiver in a process of its own."""

from __future__ import annotations

import json
import tracemalloc

import pytest
import standardwebhooks

from contrib.webhooks import store as hooks
from contrib.webhooks.deliveries.deliverer import CONCURRENT
from contrib.webhooks.deliveries.renewer import Renewer
from kernel.public import STATEMENTS
from kernel.testing import running_server
from tests.waiting import eventually

from .support import (
    CONFIG,
    DEALS,
    create,
    deliveries,
    drop,
    make_hook,
    path,
    retry,
    show_hook,
    states,
    update,
)


@pytest.fixture(scope="module")
def server(postgres, tmp_path_factory):
    with running_server(postgres, CONFIG, data_dir=tmp_path_factory.mktemp("webhooks")) as running:
        running.install(DEALS)
        yield running


@pytest.fixture
def make(server):
    """Make webhooks that are deleted after the test."""
    made = []

    def make(url, **values):
        name = values.pop("name", f"hook {len(made)}")
        hook = make_hook(server, "crm", url, name=name, **values)
        made.append(hook["id"])
        return hook

    yield make
    for hook_id in made:
        server.admin.delete(path("crm", hook_id))


def test_a_change_reaches_a_receiver_signed(server, receiver, make):
    hook = make(receiver.url("/hook"))
    deal = create(server, title="Überraschung", stage="Open", value=7)
    changed = update(server, deal, stage="Won")
    drop(server, deal)
    enter, change, leave = receiver.wait(3)
    for request in receiver.received():
        webhook = standardwebhooks.Webhook(hook["secret"])
        assert webhook.verify(request["body"], request["headers"]) == json.loads(request["body"])
        assert request["headers"]["content-type"] == "application/json"
    assert [body["type"] for body in (enter, change, leave)] == [
        "deals.enter", "deals.change", "deals.leave",
    ]  # fmt: skip
    data = enter["data"]
    assert data.keys() == {"app", "entity", "id", "record", "actor", "request", "position"}
    assert (data["app"], data["entity"], data["id"]) == ("crm", "deals", deal["id"])
    assert data["record"] == deal
    assert data["actor"] == server.admin.id
    assert change["data"]["record"] == changed
    assert change["data"]["old"] == {"stage": "Open", "updated_at": deal["updated_at"]}
    assert "record" not in leave["data"]
    assert leave["data"]["old"]["title"] == "Überraschung"
    ids = [request["headers"]["webhook-id"] for request in receiver.received()]
    eventually(lambda: states(server, "crm", hook["id"]) == ["delivered"] * 3)
    listed = deliveries(server, "crm", hook["id"])
    assert [row["id"] for row in reversed(listed)] == ids
    assert {row["status"] for row in listed} == {200}
    assert show_hook(server, "crm", hook["id"]).keys() == hook.keys() - {"secret"}


def test_a_scope_is_entered_and_left(server, receiver, make):
    where = {"stage": {"$ne": "Lost"}}
    make(receiver.url("/hook"), where=where, fields=["title"])
    lost = create(server, title="a", stage="Lost")
    update(server, lost, title="b")  # out of scope before and after
    update(server, lost, stage="Open")
    update(server, lost, value=3)  # nothing that is shown changes
    update(server, lost, title="c")
    update(server, lost, stage="Lost")
    drop(server, lost)
    last = create(server, title="last", stage="Open")
    bodies = [body for body in receiver.wait(4) if body["data"]["id"] != last["id"]]
    enter, change, leave = bodies
    assert [body["type"] for body in bodies] == ["deals.enter", "deals.change", "deals.leave"]
    assert enter["data"]["record"] == {"id": lost["id"], "title": "b"}
    assert change["data"]["old"] == {"title": "b"}
    assert "record" not in leave["data"]


def test_only_chosen_events_are_sent(server, receiver, make):
    make(receiver.url("/left"), on=["leave"])
    deal = create(server, title="x")
    update(server, deal, title="y")
    drop(server, deal)
    [body] = receiver.wait(1)
    assert (body["type"], body["data"]["id"]) == ("deals.leave", deal["id"])


def test_a_bulk_write_is_one_delivery_for_each_record(server, receiver, make):
    make(receiver.url("/bulk"), on=["enter"])
    rows = [{"title": f"deal {number}", "value": number} for number in range(300)]
    answer = server.admin.post("/api/v1/apps/crm/collections/deals/bulk", json=rows)
    assert answer.status_code in (200, 201), answer.text
    bodies = receiver.wait(300, seconds=60)
    assert {body["data"]["record"]["title"] for body in bodies} == {row["title"] for row in rows}


def test_deliveries_of_a_record_wait_for_the_one_before(server, receiver, make):
    receiver.answer("500", "/order")
    hook = make(receiver.url("/order"))
    deal = create(server, title="0")
    other = create(server, title="other")
    for number in range(1, 4):
        update(server, deal, title=str(number))
    receiver.wait(2)
    listed = eventually(lambda: len(rows := deliveries(server, "crm", hook["id"])) == 5 and rows)
    waiting = [row for row in listed if row["record"] == deal["id"] and row["event"] == "change"]
    assert [(row["attempts"], row["next_at"], row["state"]) for row in waiting] == [
        (0, None, "pending")
    ] * 3
    tried = [body["data"]["id"] for body in receiver.bodies()]
    assert set(tried) == {deal["id"], other["id"]}
    eventually(lambda: deliveries(server, "crm", hook["id"])[-1]["status"] == 500)
    assert show_hook(server, "crm", hook["id"])["failing_since"] is not None
    first = deliveries(server, "crm", hook["id"])[-1]
    assert first["error"] == "the receiver answered 500"
    receiver.answer("200", "/order")
    assert retry(server, "crm", hook["id"], waiting[0]["id"])["next_at"] is None  # it still waits
    retry(server, "crm", hook["id"], first["id"])
    eventually(lambda: states(server, "crm", hook["id"]).count("delivered") >= 4)
    titles = [
        body["data"]["record"]["title"]
        for body in receiver.bodies()
        if body["data"]["id"] == deal["id"]
    ]
    assert titles == ["0"] * titles.count("0") + ["1", "2", "3"]
    same = {line["headers"]["webhook-id"] for line in receiver.received()}
    assert len(same) == 5  # of each delivery one, however often it is sent
    assert show_hook(server, "crm", hook["id"])["failing_since"] is None


def test_a_dead_receiver_does_not_delay_another(server, receiver, make):
    receiver.answer("hang", "/dead")
    make(receiver.url("/dead"))
    make(receiver.url("/alive"))
    make("http://127.0.0.1:1/")
    deals = [create(server, title=str(number)) for number in range(30)]
    bodies = receiver.wait(30, "/alive")
    assert {body["data"]["id"] for body in bodies} >= {deal["id"] for deal in deals}
    assert len(receiver.received("/dead")) <= CONCURRENT


def test_what_fails_for_good_lets_the_next_one_go(server, receiver, make):
    receiver.answer("500", "/good")
    hook = make(receiver.url("/good"))
    deal = create(server, title="first")
    update(server, deal, title="second")
    first = eventually(lambda: next(
        (row for row in deliveries(server, "crm", hook["id"]) if row["attempts"]), None
    ))  # fmt: skip
    server.sql("update caudex_webhooks.deliveries set attempts = 7 where id = %s", first["id"])
    retry(server, "crm", hook["id"], first["id"])
    eventually(lambda: states(server, "crm", hook["id"])[0] == "failed")
    eventually(lambda: deliveries(server, "crm", hook["id"])[0]["attempts"] == 1)
    failed = deliveries(server, "crm", hook["id"], state="failed")
    assert [(row["id"], row["attempts"], row["next_at"]) for row in failed] == [
        (first["id"], 8, None)
    ]
    receiver.answer("200", "/good")
    again = retry(server, "crm", hook["id"], first["id"])
    assert (again["state"], again["attempts"]) == ("pending", 0)
    eventually(lambda: states(server, "crm", hook["id"])[0] == "delivered")


def test_410_disables_and_a_user_revives(server, receiver, make):
    receiver.answer("410", "/gone")
    hook = make(receiver.url("/gone"))
    deal = create(server, title="one")
    ended = eventually(lambda: not (row := show_hook(server, "crm", hook["id"]))["enabled"] and row)
    assert "410" in ended["reason"]
    update(server, deal, title="two")
    assert states(server, "crm", hook["id"]) == ["pending"]
    receiver.answer("200", "/gone")
    answer = server.admin.patch(path("crm", hook["id"]), json={"enabled": True})
    assert answer.status_code == 200
    assert (answer.json()["enabled"], answer.json()["reason"]) == (True, None)
    eventually(lambda: states(server, "crm", hook["id"]) == ["delivered"] * 2)
    titles = [body["data"]["record"]["title"] for body in receiver.bodies()]
    assert titles == ["one", "one", "two"]


def test_a_disabled_webhook_loses_nothing(server, receiver, make):
    hook = make(receiver.url("/off"))
    server.admin.patch(path("crm", hook["id"]), json={"enabled": False})
    deal = create(server, title="while it was off")
    update(server, deal, title="still off")
    assert receiver.received() == []
    server.admin.patch(path("crm", hook["id"]), json={"enabled": True})
    titles = [body["data"]["record"]["title"] for body in receiver.wait(2)]
    assert titles == ["while it was off", "still off"]


def test_a_full_queue_leaves_the_rest_in_the_trail(server, receiver, make, monkeypatch):
    monkeypatch.setattr("contrib.webhooks.deliveries.follower.MAX_WAITING", 5)
    receiver.answer("500", "/full")
    hook = make(receiver.url("/full"))
    for number in range(5):
        create(server, title=str(number))
    eventually(lambda: len(deliveries(server, "crm", hook["id"])) == 5)
    make(receiver.url("/beside"))
    for number in range(5, 12):
        create(server, title=str(number))
    receiver.wait(7, "/beside")
    assert len(deliveries(server, "crm", hook["id"])) == 5
    receiver.answer("200", "/full")
    for row in deliveries(server, "crm", hook["id"]):
        retry(server, "crm", hook["id"], row["id"])
    eventually(lambda: states(server, "crm", hook["id"]) == ["delivered"] * 12, 40)


async def find_basis(server, hook_id):
    """Return what the bodies of a webhook name."""
    hook = await hooks.find(server.services.get(STATEMENTS), "crm", hook_id)
    return await Renewer(server.services, hook).find_basis()


def test_ten_thousand_waiting_deliveries_are_not_in_memory(server, receiver, make):
    hook = make(receiver.url("/many"), enabled=False)
    basis = server.run(find_basis, server, hook["id"])
    for thousand in range(10):  # each statement is far from the limit of its time
        server.sql(
            "insert into caudex_webhooks.deliveries (id, hook_id, place, event, entity, record,"
            " body, basis, at, next_at) select 'msg_' || n, %s, n, 'enter', 'deals', n::text,"
            " to_json(repeat('x', 10000)), %s, now(), now() + interval '1 hour'"
            " from generate_series(%s::int + 1, %s::int + 1000) as n",
            hook["id"], basis, thousand * 1000, thousand * 1000,
        )  # fmt: skip
    server.admin.patch(path("crm", hook["id"]), json={"enabled": True})
    receiver.wait(20)
    tracemalloc.start()
    begin = len(receiver.received())
    receiver.wait(begin + 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000  # of 100 MB that wait
    server.admin.delete(path("crm", hook["id"]))
