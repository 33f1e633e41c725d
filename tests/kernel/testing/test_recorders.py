"""Recorders see what plugins are called with, and what was committed."""

from collections.abc import Mapping

import pytest

from kernel.contracts import hookspecs
from kernel.public import (
    Actor,
    BadRequest,
    Change,
    Event,
    Plugin,
    Transaction,
    for_subjects,
    hookimpl,
)
from kernel.testing import Server, ServerOptions
from tests.waiting import eventually

MANIFEST = {
    "appId": "crm",
    "name": "CRM",
    "dataContract": [
        {"entityName": name, "fields": [{"name": "title", "type": "text"}]}
        for name in ("contacts", "deals")
    ],
}
CONTACTS = "/api/v1/apps/crm/collections/contacts"


class WatcherPlugin(Plugin):
    """Takes part in writes, and hears of them."""

    name = "watcher"

    @hookimpl
    @for_subjects("crm.contacts")
    async def record_writing(self, tx: Transaction, change: Change) -> None:
        if change.values.get("title") == "bad":
            raise BadRequest("not this one")

    @hookimpl
    def session_settings(self, actor: Actor) -> Mapping[str, str]:
        return {"watcher.user": actor.user_id or ""}

    @hookimpl
    @for_subjects("crm.contacts")
    async def event_committed(self, event: Event) -> None:
        if event.new and b"late" in event.new:
            raise RuntimeError("an observer that fails")


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    return {"plugins": [WatcherPlugin]}


@pytest.fixture(scope="module")
def crm(server: Server) -> Server:
    server.install(MANIFEST)
    return server


def test_a_call_is_recorded_with_plugin_arguments_and_result(crm: Server) -> None:
    recorder = crm.record_hooks(hookspecs.event_committed)
    record = crm.admin.post(CONTACTS, json={"title": "Ada"}).json()
    [call] = recorder.wait(plugin="watcher")
    assert (call.hook, call.error, call.result) == ("event_committed", None, None)
    assert list(call.arguments) == ["event"]
    assert call.arguments["event"].record_id == record["id"]
    assert recorder.of("watcher") == [call] == list(recorder.wait())
    assert recorder.of("nobody") == []


def test_what_a_call_raises_is_recorded_and_raised(crm: Server) -> None:
    with crm.record_hooks(hookspecs.record_writing) as recorder:
        answer = crm.admin.post(CONTACTS, json={"title": "bad"})
    assert (answer.status_code, answer.json()["error"]) == (400, "not this one")
    [call] = recorder.calls
    assert isinstance(call.error, BadRequest)
    assert call.arguments["change"].values == {"title": "bad"}


def test_a_sync_hook_is_recorded(crm: Server) -> None:
    recorder = crm.record_hooks(hookspecs.session_settings)
    record = crm.admin.post(CONTACTS, json={"title": "Max"})
    assert record.status_code == 201
    called = recorder.wait(plugin="watcher")
    assert called[0].result == {"watcher.user": crm.admin.id}


def test_a_recorder_that_was_stopped_hears_no_more(crm: Server) -> None:
    [listener] = [
        each
        for each in crm.kernel.bus.implementations(hookspecs.event_committed)
        if each.plugin == "watcher"
    ]
    before = listener.function
    recorder = crm.record_hooks(hookspecs.event_committed)
    assert listener.function is not before
    recorder.stop()
    assert listener.function == before
    assert crm.admin.post(CONTACTS, json={"title": "Eve"}).status_code == 201
    assert recorder.calls == ()


def test_recorders_stop_in_any_order(crm: Server) -> None:
    first, second = (crm.record_hooks(hookspecs.record_writing) for _ in range(2))
    first.stop()
    assert crm.admin.post(CONTACTS, json={"title": "Kim"}).status_code == 201
    assert (first.calls, len(second.calls)) == ((), 1)
    second.stop()
    assert crm.admin.post(CONTACTS, json={"title": "Lea"}).status_code == 201
    assert (first.calls, len(second.calls)) == ((), 1)


def test_waiting_ends_with_a_report_of_the_calls(crm: Server) -> None:
    recorder = crm.record_events("crm.deals")
    with pytest.raises(AssertionError, match=r"0 of 1 within 0\.2 s; recorded: \(\)"):
        recorder.wait(1, timeout=0.2)


def test_events_are_recorded_where_no_plugin_listens(crm: Server) -> None:
    with crm.record_events("crm.deals", "core.*") as recorder:
        crm.admin.post("/api/v1/apps/crm/collections/deals", json={"title": "Big"})
        crm.admin.post(CONTACTS, json={"title": "Zoe"})
        server_events = crm.user()
        heard = recorder.wait(2)
    subjects = {event.subject for event in heard}
    assert "crm.deals" in subjects
    assert "crm.contacts" not in subjects
    assert server_events.id
    recorder.clear()
    crm.admin.post("/api/v1/apps/crm/collections/deals", json={"title": "Late"})
    assert recorder.events == ()


def test_a_recorder_does_not_hide_that_an_observer_failed(crm: Server) -> None:
    recorder = crm.record_hooks(hookspecs.event_committed)
    [watcher] = [
        each
        for each in crm.kernel.bus.implementations(hookspecs.event_committed)
        if each.plugin == "watcher"
    ]
    failed = watcher.statistics.errors
    assert crm.admin.post(CONTACTS, json={"title": "late"}).status_code == 201
    [call] = recorder.wait(plugin="watcher")
    assert isinstance(call.error, RuntimeError)
    eventually(lambda: watcher.statistics.errors != failed)
    assert watcher.statistics.errors == failed + 1
