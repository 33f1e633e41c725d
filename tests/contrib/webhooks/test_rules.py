"""What a webhook may be, who may see it, its secrets, and sending again."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
import standardwebhooks

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

GOOD = {"name": "good", "url": "https://[2606:4700::1111]/hook", "entity": "deals"}


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


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"url": "http://1.1.1.1/"}, "an address outside of `allow` needs https"),
        ({"url": "https://10.0.0.1/"}, "private, local or reserved"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "private, local or reserved"),
        ({"url": "https://[::ffff:192.168.0.1]/"}, "private, local or reserved"),
        ({"url": "https://[64:ff9b::a00:1]/"}, "private, local or reserved"),
        ({"url": "https://no-such-host.invalid/"}, "no address"),
        ({"url": "gopher://x.example/"}, "https://"),
        ({"url": "https://user:secret@1.1.1.1/"}, "password"),
        ({"url": "$secret:NOT_SET"}, "NOT_SET of its URL is not set"),
        ({"entity": "nothing"}, "nothing"),
        ({"on": []}, "on"),
        ({"on": ["created"]}, "on"),
        ({"where": {"nothing": 1}}, "nothing"),
        ({"where": {"stage": {"$like": 5}}}, "stage"),
        ({"where": {"$or": {}}}, "or"),
        ({"where": {"$not": {"customer_id.secret": True}}}, "a path does not work"),
        ({"fields": ["nothing"]}, "nothing"),
        ({"fields": []}, "fields"),
        ({"as": "nobody"}, "nobody"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
def test_what_no_webhook_can_be_is_refused_with_its_place(server, change, problem):
    answer = server.admin.post(path("crm"), json={**GOOD, **change})
    assert answer.status_code == 400, answer.text
    assert problem in answer.json()["error"]
    assert server.admin.get(path("crm")).json() == []


def test_a_name_is_unique_in_its_app(server, make):
    make(GOOD["url"], name="one")
    answer = server.admin.post(path("crm"), json={**GOOD, "name": "one"})
    assert (answer.status_code, answer.json()) == (
        400, {"error": "the app has a webhook 'one' already"},
    )  # fmt: skip
    other = make(GOOD["url"], name="two")
    answer = server.admin.patch(path("crm", other["id"]), json={"name": "one"})
    assert answer.status_code == 400
    assert [hook["name"] for hook in server.admin.get(path("crm")).json()] == ["one", "two"]


def test_only_admins_of_the_app_see_and_change_webhooks(server, make):
    hook = make(GOOD["url"])
    reader = server.user(permissions={"crm": ["deals.read", "deals.update"]})
    one = path("crm", hook["id"])
    since = {"since": "2026-01-01"}
    for method, address, body in (
        ("GET", path("crm"), None), ("POST", path("crm"), GOOD), ("GET", one, None),
        ("PATCH", one, {"enabled": False}), ("DELETE", one, None), ("POST", f"{one}/test", None),
        ("POST", f"{one}/rotate", None), ("POST", f"{one}/replay", since),
        ("GET", f"{one}/deliveries", None), ("POST", f"{one}/deliveries/x/retry", None),
    ):  # fmt: skip
        assert reader.request(method, address, json=body).status_code == 403, (method, address)
    server.install({"appId": "other", "name": "Other", "dataContract": []})
    for method, address in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/rotate")):
        elsewhere = path("other", hook["id"]) + address
        assert server.admin.request(method, elsewhere).status_code == 404
    for wrong in ("1", "x" * 300, "00000000-0000-0000-0000-000000000000"):
        assert server.admin.get(path("crm", wrong)).status_code == 404
    assert server.admin.get(path("missing")).status_code == 404


def test_the_object_is_what_the_contract_says(server, make):
    created = make(
        GOOD["url"], name="shape", where={"stage": "Won"}, fields=["title"], on=["enter"]
    )
    secret = created.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert created == show_hook(server, "crm", created["id"])
    assert {**created, "id": 0, "created_at": 0, "updated_at": 0} == {
        "id": 0, "name": "shape", "url": GOOD["url"], "entity": "deals", "on": ["enter"],
        "where": {"stage": "Won"}, "fields": ["title"], "as": None, "enabled": True,
        "reason": None, "failing_since": None, "created_at": 0, "updated_at": 0,
    }  # fmt: skip
    answer = server.admin.patch(
        path("crm", created["id"]),
        json={"where": None, "fields": None, "on": ["leave", "enter"], "as": "admin"},
    )
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert (changed["where"], changed["fields"], changed["as"]) == (None, None, "admin")
    assert changed["on"] == ["enter", "leave"]
    for wrong in ({"on": None}, {"nothing": 1}, {"url": "https://10.0.0.1/"}, {"name": None}):
        answer = server.admin.patch(path("crm", created["id"]), json=wrong)
        assert answer.status_code == 400, wrong
    assert show_hook(server, "crm", created["id"]) == changed


def test_a_role_decides_what_is_sent(server, receiver, make):
    manifest = json.loads(json.dumps(DEALS)) | {"appId": "guarded", "name": "Guarded"}
    manifest["dataContract"][0]["fields"][2]["access"] = {"read": ["boss"]}
    server.install(manifest)
    roles = "/api/v1/apps/guarded/roles"
    body = {"name": "clerk", "permissions": ["deals.read"]}
    assert server.admin.post(roles, json=body).status_code in (200, 201)
    hook = make_hook(server, "guarded", receiver.url("/clerk"), **{"as": "clerk"})
    deals = "/api/v1/apps/guarded/collections/deals"
    deal = server.admin.post(deals, json={"title": "x", "value": 1}).json()
    server.admin.patch(f"{deals}/{deal['id']}", json={"value": 2})  # nothing that clerks see
    server.admin.patch(f"{deals}/{deal['id']}", json={"title": "y", "value": 3})
    enter, change = receiver.wait(2)
    assert enter["data"]["record"].keys() == deal.keys() - {"value"}
    assert "value" not in change["data"]["old"]
    assert change["data"]["old"]["title"] == "x"
    assert server.admin.delete(f"{roles}/clerk").status_code == 200
    ended = eventually(
        lambda: not (row := show_hook(server, "guarded", hook["id"]))["enabled"] and row, 40
    )
    assert "clerk" in ended["reason"]
    answer = server.admin.patch(path("guarded", hook["id"]), json={"enabled": True})
    assert answer.status_code == 400


def test_both_secrets_sign_for_a_day(server, receiver, make):
    hook = make(receiver.url("/secrets"))
    one = path("crm", hook["id"])
    fresh = server.admin.post(f"{one}/rotate").json()["secret"]
    assert fresh != hook["secret"]
    create(server, title="rotated")
    receiver.wait(1)
    [line] = receiver.received()
    assert len(line["headers"]["webhook-signature"].split()) == 2
    for secret in (hook["secret"], fresh):
        standardwebhooks.Webhook(secret).verify(line["body"], line["headers"])
    server.sql("update caudex_webhooks.signing_keys set until = now() where state = 'old'")
    server.admin.patch(one, json={"name": "renamed"})  # what is cached is read again
    create(server, title="a day later")
    receiver.wait(2)
    line = receiver.received()[-1]
    standardwebhooks.Webhook(fresh).verify(line["body"], line["headers"])
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(hook["secret"]).verify(line["body"], line["headers"])


def test_secrets_are_in_the_vault_and_go_with_their_webhook(server, make):
    hook = make(GOOD["url"], name="Käse & co")
    server.admin.post(path("crm", hook["id"], "rotate"))
    secrets = "/api/v1/apps/crm/secrets"
    names = [row["key"] for row in server.admin.get(f"{secrets}/usage").json()]
    ours = [name for name in names if name.startswith("WEBHOOK_K_SE_CO_")]
    assert len(ours) == 2
    shown = server.admin.get(path("crm")).text + server.admin.get(path("crm", hook["id"])).text
    assert "whsec_" not in shown
    rows = server.sql("select row_to_json(h)::text from caudex_webhooks.hooks h")
    rows += server.sql("select row_to_json(k)::text from caudex_webhooks.signing_keys k")
    assert hook["secret"] not in str(rows)
    assert server.admin.delete(path("crm", hook["id"])).status_code == 200
    server.run(lambda: sweep(server))
    names = [row["key"] for row in server.admin.get(f"{secrets}/usage").json()]
    assert not set(ours) & set(names)


async def sweep(server):
    from contrib.webhooks.service import SERVICE

    await server.services.get(SERVICE).sweep()


def test_a_secret_that_is_gone_disables_and_says_so(server, receiver, make):
    hook = make(receiver.url("/lost"), name="lost")
    secrets = "/api/v1/apps/crm/secrets"
    names = [row["key"] for row in server.admin.get(f"{secrets}/usage").json()]
    [name] = [name for name in names if name.startswith("WEBHOOK_LOST_")]
    assert server.admin.delete(f"{secrets}/{name}").status_code == 200
    create(server, title="unsigned")
    ended = eventually(lambda: not (row := show_hook(server, "crm", hook["id"]))["enabled"] and row)
    assert "rotate" in ended["reason"]
    assert receiver.received() == []
    answer = server.admin.post(path("crm", hook["id"], "test")).json()
    assert answer["status"] is None
    secret = server.admin.post(path("crm", hook["id"], "rotate")).json()["secret"]
    server.admin.patch(path("crm", hook["id"]), json={"enabled": True})
    receiver.wait(1)
    line = receiver.received()[0]
    standardwebhooks.Webhook(secret).verify(line["body"], line["headers"])


def test_a_test_shows_the_answer(server, receiver, make):
    hook = make(receiver.url("/test"))
    answer = server.admin.post(path("crm", hook["id"], "test")).json()
    assert (answer["status"], answer["body"]) == (200, "thanks")
    [line] = receiver.received()
    assert json.loads(line["body"]) == {"type": "test"}
    standardwebhooks.Webhook(hook["secret"]).verify(line["body"], line["headers"])
    receiver.stop()
    answer = server.admin.post(path("crm", hook["id"], "test"))
    assert answer.status_code == 200
    assert answer.json()["status"] is None
    assert answer.json().keys() == {"status", "ms", "error"}
    assert deliveries(server, "crm", hook["id"]) == []


def test_deliveries_are_listed_in_pages(server, receiver, make):
    hook = make(receiver.url("/pages"))
    for number in range(5):
        create(server, title=str(number))
    receiver.wait(5)
    eventually(lambda: states(server, "crm", hook["id"]) == ["delivered"] * 5)
    every = deliveries(server, "crm", hook["id"])
    assert every[0].keys() == {
        "id", "event", "entity", "record", "state", "attempts", "status", "error", "at", "next_at",
    }  # fmt: skip
    first = deliveries(server, "crm", hook["id"], limit=2)
    rest = deliveries(server, "crm", hook["id"], before=first[-1]["id"])
    assert first + rest == every
    assert deliveries(server, "crm", hook["id"], state="failed") == []
    for wrong in ({"state": "lost"}, {"limit": "0"}, {"limit": "x"}, {"nothing": "1"}):
        answer = server.admin.get(path("crm", hook["id"], "deliveries"), params=wrong)
        assert answer.status_code == 400, wrong
    answer = server.admin.post(path("crm", hook["id"], "deliveries", "msg_no", "retry"))
    assert answer.status_code == 404


def test_a_replay_sends_the_same_ids_in_order(server, receiver, make):
    began = datetime.now(UTC).isoformat()
    hook = make(receiver.url("/replay"))
    deal = create(server, title="0")
    for number in range(1, 4):
        update(server, deal, title=str(number))
    bodies = receiver.wait(4)
    eventually(lambda: states(server, "crm", hook["id"]) == ["delivered"] * 4)
    ids = [line["headers"]["webhook-id"] for line in receiver.received()]
    since = bodies[1]["data"]["position"]
    answer = server.admin.post(path("crm", hook["id"], "replay"), json={"since": since})
    assert (answer.status_code, answer.json()) == (202, {"queued": 2})
    receiver.wait(6)
    assert [line["headers"]["webhook-id"] for line in receiver.received()] == ids + ids[2:]
    eventually(lambda: states(server, "crm", hook["id"]) == ["delivered"] * 4)
    server.sql("delete from caudex_webhooks.deliveries where hook_id = %s", hook["id"])
    answer = server.admin.post(path("crm", hook["id"], "replay"), json={"since": began})
    assert answer.json() == {"queued": 4}
    receiver.wait(10)
    again = receiver.received()[6:]
    assert [line["headers"]["webhook-id"] for line in again] == ids
    assert [json.loads(line["body"])["data"]["record"]["title"] for line in again] == list("0123")
    retried = retry(server, "crm", hook["id"], ids[0])
    assert retried["id"] == ids[0]
    receiver.wait(11)


@pytest.mark.parametrize("since", ["", "yesterday?", "2026-13-01", "2026-01-01T99:00:00Z", "AAAA"])
def test_a_replay_from_nowhere_is_refused(server, make, since):
    hook = make(GOOD["url"])
    answer = server.admin.post(path("crm", hook["id"], "replay"), json={"since": since})
    assert answer.status_code == 400, answer.text


def test_changes_of_webhooks_are_in_the_trail_without_secrets(server, make):
    hook = make(GOOD["url"], name="audited")
    one = path("crm", hook["id"])
    server.admin.patch(one, json={"enabled": False, "on": ["enter"]})
    server.admin.post(f"{one}/rotate")
    server.admin.delete(one)
    rows = server.admin.get("/api/v1/audit", params={"app_id": "core", "entity": "webhooks"}).json()
    ours = [row for row in rows if row["record_id"] == "crm/audited"]
    assert [row["operation"] for row in reversed(ours)] == [
        "WEBHOOK_CREATED", "WEBHOOK_CHANGED", "WEBHOOK_ROTATED", "WEBHOOK_DELETED",
    ]  # fmt: skip
    assert "whsec" not in json.dumps(rows)
    assert GOOD["url"] not in json.dumps(rows)


def test_an_app_has_so_many_webhooks_and_no_more(make_server):
    server = make_server({"plugins": {"webhooks": {"hooks": 2}}})
    server.install(DEALS)
    for number in range(2):
        make_hook(server, "crm", GOOD["url"], name=str(number))
    answer = server.admin.post(path("crm"), json=GOOD)
    assert answer.status_code == 400
    assert "at most 2" in answer.json()["error"]


def test_old_deliveries_are_swept(server, receiver, make):
    hook = make(receiver.url("/swept"))
    old = create(server, title="old")
    receiver.wait(1)
    new = create(server, title="new")
    receiver.wait(2)
    eventually(lambda: states(server, "crm", hook["id"]) == ["delivered"] * 2)
    server.sql(
        "update caudex_webhooks.deliveries set ended_at = now() - interval '15 days'"
        " where record = %s", old["id"],
    )  # fmt: skip
    server.run(lambda: sweep(server))
    assert [row["record"] for row in deliveries(server, "crm", hook["id"])] == [new["id"]]


def test_health_warns_of_a_webhook_that_fails_for_an_hour(server, receiver, make):
    receiver.answer("500", "/ill")
    hook = make(receiver.url("/ill"), name="ill")
    create(server, title="x")
    eventually(lambda: show_hook(server, "crm", hook["id"])["failing_since"])
    assert "failed for an hour" not in server.http.get("/health/ready").text
    server.sql(
        "update caudex_webhooks.hooks set failing_since = now() - interval '61 minutes'"
        " where id = %s", hook["id"],
    )  # fmt: skip
    warned = lambda: "failed for an hour: 1" in server.http.get("/health/ready").text  # noqa: E731
    eventually(warned, 30)
    assert "crm/ill" in server.admin.get("/api/v1/status").text
    drop(server, create(server, title="y"))


def test_metrics_count_webhooks_and_what_waits(make_server):
    metrics = {"token": "a-token-of-tests-1", "every": 1}
    server = make_server({"plugins": {"webhooks": {}, "metrics": metrics}})
    server.install(DEALS)
    make_hook(server, "crm", GOOD["url"], name="on")
    make_hook(server, "crm", GOOD["url"], name="off", enabled=False)
    expected = [
        'caudex_webhooks_hooks{state="enabled"} 1.0',
        'caudex_webhooks_hooks{state="disabled"} 1.0',
        'caudex_webhooks_deliveries{state="pending"} 0.0',
    ]

    def are_shown():
        text = server.admin.get("/metrics").text
        return all(line in text for line in expected)

    eventually(are_shown, 20)


def test_a_rename_takes_webhooks_along(server):
    """Another app than that of the other tests, as its tables get other names."""
    fields = [{"name": "title", "type": "text"}, {"name": "stage", "type": "text"}]
    entity = {"entityName": "offers", "fields": fields}
    server.install({"appId": "sales", "name": "Sales", "dataContract": [entity]})
    where = {"$or": [{"stage": "won"}, {"stage": {"$isNull": True}}]}
    hook = make_hook(
        server, "sales", "https://[2606:4700::1111]/hook", entity="offers", where=where,
        fields=["title", "stage"],
    )  # fmt: skip
    renamed = [fields[0], {"name": "state", "type": "text", "was": "stage"}]
    entity = {"entityName": "quotes", "was": "offers", "fields": renamed}
    server.install({"appId": "sales", "name": "Sales", "dataContract": [entity]})
    shown = show_hook(server, "sales", hook["id"])
    assert (shown["entity"], shown["fields"]) == ("quotes", ["title", "state"])
    assert shown["where"] == {"$or": [{"state": "won"}, {"state": {"$isNull": True}}]}
    server.admin.delete("/api/v1/apps/sales")
