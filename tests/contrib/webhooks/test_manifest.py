"""Webhooks that a manifest declares, and what becomes of them when the app changes."""

from __future__ import annotations

import copy

import pytest
import standardwebhooks

from kernel.config.settings import load_config
from kernel.errors import BootError
from kernel.loading.loader import load
from kernel.testing import running_server
from tests.waiting import eventually

from .support import CONFIG, DEALS, deliveries, make_hook, path, show_hook

HOOK = {"name": "declared", "url": "https://[2606:4700::1111]/hook", "entity": "deals"}


@pytest.fixture(scope="module")
def server(postgres, tmp_path_factory):
    with running_server(postgres, CONFIG, data_dir=tmp_path_factory.mktemp("webhooks")) as running:
        yield running


def manifest(app, *hooks):
    return copy.deepcopy(DEALS) | {"appId": app, "name": app, "webhooks": list(hooks)}


def hooks(server, app):
    return server.admin.get(path(app)).json()


def test_an_install_makes_changes_and_removes_declared_webhooks(server, receiver):
    hook = {**HOOK, "url": receiver.url("/declared")}
    server.install(manifest("made", hook, {**HOOK, "name": "other", "fields": ["title"]}))
    declared, other = hooks(server, "made")
    assert (declared["name"], declared["on"]) == ("declared", ["enter", "change", "leave"])
    assert other["fields"] == ["title"]
    collection = "/api/v1/apps/made/collections/deals"
    deal = server.admin.post(collection, json={"title": "first"}).json()
    [body] = receiver.wait(1)
    assert body["data"]["record"] == deal
    secret = server.admin.post(path("made", declared["id"], "rotate")).json()["secret"]
    server.admin.post(collection, json={"title": "second"})
    receiver.wait(2)
    line = receiver.received()[1]
    standardwebhooks.Webhook(secret).verify(line["body"], line["headers"])

    server.install(manifest("made", {**hook, "on": ["leave"]}))
    [kept] = hooks(server, "made")
    assert (kept["id"], kept["on"]) == (declared["id"], ["leave"])
    assert len(deliveries(server, "made", kept["id"])) == 2
    server.install(manifest("made"))
    assert hooks(server, "made") == []


def test_a_declared_webhook_is_only_switched_by_rest(server):
    server.install(manifest("switched", HOOK))
    [hook] = hooks(server, "switched")
    one = path("switched", hook["id"])
    assert server.admin.patch(one, json={"name": "mine"}).status_code == 400
    assert server.admin.delete(one).status_code == 400
    assert server.admin.patch(one, json={"enabled": False}).json()["enabled"] is False
    server.install(manifest("switched", HOOK))
    assert hooks(server, "switched")[0]["enabled"] is False


def test_a_secret_is_the_url_and_never_shown(server, receiver):
    server.install(manifest("sealed", {**HOOK, "url": "$secret:CRM_HOOK"}))
    [hook] = hooks(server, "sealed")
    one = path("sealed", hook["id"])
    assert hook["url"] == "$secret:CRM_HOOK"
    assert "CRM_HOOK" in server.admin.post(f"{one}/test").json()["error"]
    secrets = "/api/v1/apps/sealed/secrets"
    url = receiver.url("/very-secret-path")
    assert server.admin.post(secrets, json={"key": "CRM_HOOK", "value": url}).status_code < 300
    assert server.admin.post(f"{one}/test").json()["status"] == 200
    assert [line["path"] for line in receiver.received()] == ["/very-secret-path"]
    receiver.stop()
    server.admin.post("/api/v1/apps/sealed/collections/deals", json={"title": "x"})
    failed = eventually(lambda: [
        row for row in deliveries(server, "sealed", hook["id"]) if row["error"]
    ])  # fmt: skip
    texts = [server.admin.get(one).text, str(failed), server.admin.post(f"{one}/test").text]
    texts.append(server.admin.get("/api/v1/apps/sealed/manifest").text)
    assert "very-secret" not in "".join(texts)
    assert str(receiver.port) not in "".join(texts)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ([HOOK, HOOK], "webhooks[1].name: the webhook 'declared' is declared twice"),
        ([{**HOOK, "url": "http://x.example/"}], None),
        ([{**HOOK, "url": "https://10.0.0.1/"}], "webhooks[0].url: the host has a private"),
        ([{**HOOK, "url": "x"}], "webhooks[0].url: it must begin with https://"),
        ([{**HOOK, "entity": "nothing"}], "webhooks[0].entity: the app has no entity 'nothing'"),
        ([{**HOOK, "fields": ["no"]}], "webhooks[0].fields: deals has no field 'no'"),
        ([{**HOOK, "on": ["made"]}], "webhooks[0].on[0]"),
        ([{**HOOK, "secret": "x"}], "webhooks[0]"),
        ([{"name": "x"}], "webhooks[0]"),
        ({"name": "x"}, "webhooks"),
    ],
)
def test_a_wrong_section_is_refused_whole(server, section, problem):
    body = manifest("wrong") | {"webhooks": section}
    answer = server.admin.post("/api/v1/apps", json=body)
    if problem is None:  # a host that is not found now is looked up when something is sent
        assert answer.status_code < 300
        server.admin.delete("/api/v1/apps/wrong")
        return
    assert answer.status_code == 400, answer.text
    assert problem in answer.json()["error"]
    assert server.admin.get(path("wrong")).status_code == 404


def test_a_webhook_of_rest_keeps_its_name(server):
    server.install(manifest("named"))
    make_hook(server, "named", HOOK["url"], name="declared")
    answer = server.admin.post("/api/v1/apps", json=manifest("named", HOOK))
    assert answer.status_code == 400
    assert answer.json()["error"] == "webhooks[0].name: the app has a webhook 'declared' already"
    assert len(hooks(server, "named")) == 1


def wait_for_end(server, app, hook_id):
    """Wait until the server has disabled a webhook, and return why."""

    def find_reason():
        hook = show_hook(server, app, hook_id)
        return not hook["enabled"] and hook["reason"]

    return eventually(find_reason, 40)


def test_a_field_that_is_gone_disables_and_says_so(server, receiver):
    server.install(manifest("changing"))
    hook = make_hook(server, "changing", receiver.url("/x"), where={"stage": "Won"})
    shown = make_hook(server, "changing", receiver.url("/y"), name="shown", fields=["stage"])
    entity = make_hook(server, "changing", receiver.url("/z"), name="plain")
    body = manifest("changing")
    del body["dataContract"][0]["fields"][1]
    server.install(body)
    for broken in (hook, shown):
        assert "stage" in wait_for_end(server, "changing", broken["id"])
    collection = "/api/v1/apps/changing/collections/deals"
    server.admin.post(collection, json={"title": "after the change"})
    [body] = receiver.wait(1, "/z")
    assert body["data"]["record"]["title"] == "after the change"
    assert show_hook(server, "changing", entity["id"])["enabled"] is True


def test_a_stored_condition_on_linked_records_disables_and_says_so(server, receiver):
    """Servers took a path once, and judged every record by no linked one."""
    body = manifest("linking")
    link = {"name": "parent_id", "type": "entity_link", "references": {"entity": "deals"}}
    body["dataContract"][0]["fields"].append(link)
    server.install(body)
    hook = make_hook(server, "linking", receiver.url("/linked"), where={"stage": "Won"})
    server.sql(
        "update caudex_webhooks.hooks set conditions = %s where id = %s",
        '{"$not": {"parent_id.title": "private"}}',
        hook["id"],
    )
    answer = server.admin.patch(path("linking", hook["id"]), json={"name": "read again"})
    assert answer.status_code == 200, answer.text
    reason = wait_for_end(server, "linking", hook["id"])
    assert "deals.parent_id.title: a path does not work in a feed, nor in a webhook" in reason
    collection = "/api/v1/apps/linking/collections/deals"
    server.admin.post(collection, json={"title": "not sent"}).raise_for_status()
    answer = server.admin.patch(path("linking", hook["id"]), json={"enabled": True})
    assert answer.status_code == 400, answer.text
    assert receiver.received("/linked") == []


def test_webhooks_go_with_their_app(server):
    server.install(manifest("leaving", HOOK))
    make_hook(server, "leaving", HOOK["url"], name="rest")
    assert server.admin.delete("/api/v1/apps/leaving").status_code == 200
    assert server.sql("select from caudex_webhooks.hooks where app_id = 'leaving'") == []
    assert server.sql("select from caudex_webhooks.signing_keys where app_id = 'leaving'") == []
    server.install(manifest("leaving"))
    assert hooks(server, "leaving") == []


@pytest.mark.slow
def test_sections_of_before_the_plugin_was_on_are_read(postgres, tmp_path, receiver):
    hook = {**HOOK, "url": receiver.url("/late")}
    with running_server(postgres, {}, data_dir=tmp_path) as off:
        off.install(manifest("early", hook))
        assert off.admin.get(path("early")).status_code == 404
        with running_server(postgres, CONFIG, dsn=off.dsn, data_dir=tmp_path) as server:
            admin = server.login("admin")
            [declared] = admin.get(path("early")).json()
            assert declared["name"] == "declared"
            admin.post("/api/v1/apps/early/collections/deals", json={"title": "late"})
            receiver.wait(1, "/late")


def test_a_wrong_network_stops_the_start():
    overrides = {"plugins.webhooks": {"allow": ["10.2.0.0/99"]}}
    with pytest.raises(BootError, match=r"10\.2\.0\.0/99"):
        load(load_config(environ={}, overrides=overrides))
