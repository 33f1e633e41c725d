"""What plugins hear of writes, and what they can do about them."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from kernel.public import RECORDS, Grant, Target, server_actor
from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.conftest import overrides
from tests.plugins.data.support import SAMPLES, clear, create, installed, names, refused
from tests.plugins.data.witness import WitnessPlugin


def _plugin(server: Server, name: str) -> Any:
    return next(plugin for plugin in server.kernel.instances if plugin.name == name)


@pytest.fixture(scope="module")
def witnessed(postgres: Postgres) -> Generator[Server]:
    with running_server(postgres, overrides("WitnessPlugin")) as running:
        installed(running)
        yield running


@pytest.fixture
def witness(witnessed: Server) -> Generator[WitnessPlugin]:
    clear(witnessed)
    plugin = _plugin(witnessed, "witness")
    yield plugin
    plugin.values, plugin.refusal, plugin.fails_after = {}, "", False
    for heard in (plugin.changes, plugin.recorded, plugin.committed):
        heard.clear()


@pytest.fixture
def admin(witnessed: Server, witness: WitnessPlugin) -> Client:
    return witnessed.admin


def test_every_write_is_reported_with_old_and_new(admin: Client, witness: WitnessPlugin):
    made = create(admin, name="a")
    path = f"{SAMPLES}/{made['id']}"
    changed = admin.patch(path, json={"name": "b"}).json()
    admin.delete(path)
    reported = [(e.operation, e.old and json.loads(e.old), e.new and json.loads(e.new))
            for e in witness.recorded]  # fmt: skip
    assert reported == [
        ("INSERT", None, made),
        ("UPDATE", made, changed),
        ("DELETE", changed, None),
    ]
    assert witness.committed == witness.recorded
    assert {event.record_id for event in witness.recorded} == {made["id"]}
    assert {event.actor.user_id for event in witness.recorded} == {admin.id}
    actions = [(c.action, c.record_id, dict(c.values)) for c in witness.changes]
    assert actions == [
        ("create", None, {"name": "a"}),
        ("update", made["id"], {"name": "b"}),
        ("delete", made["id"], {}),
    ]


def test_a_change_and_its_event_have_one_id_the_time_and_the_record_before(
    admin: Client, witness: WitnessPlugin
):
    began = datetime.now(UTC)
    made = create(admin, name="a")
    changed = admin.patch(f"{SAMPLES}/{made['id']}", json={"name": "b"}).json()
    admin.delete(f"{SAMPLES}/{made['id']}")
    admin.post(f"{SAMPLES}/bulk", json=[{"name": "a"}, {"name": "b"}])
    changes, events = witness.changes, witness.recorded
    assert [change.id for change in changes] == [event.id for event in events]
    assert len({event.id for event in events}) == 5
    assert [change.old and json.loads(change.old) for change in changes] == [
        None, made, changed, None, None,
    ]  # fmt: skip
    times = [began, *(each.time for pair in zip(changes, events, strict=True) for each in pair)]
    assert times[:7] == sorted(times[:7])
    assert {event.entity for event in events} == {"samples"}


@pytest.mark.slow
def test_an_observer_that_asks_for_it_gets_the_record_before_whatever_others_ask(
    postgres: Postgres,
):
    with running_server(postgres, overrides("OldPlugin", "ObserverPlugin")) as server:
        installed(server)
        asking, other = _plugin(server, "old"), _plugin(server, "observer")
        made = create(server.admin, name="a")
        path = f"{SAMPLES}/{made['id']}"
        changed = server.admin.patch(path, json={"name": "b"}).json()
        server.admin.delete(path)
        reported = [(e.operation, e.old and json.loads(e.old)) for e in asking.committed]
        assert reported == [("INSERT", None), ("UPDATE", made), ("DELETE", changed)]
        ids = [event.id for event in asking.committed]
        assert ids == [event.id for event in other.committed if event.app_id == "lab"]


@pytest.mark.slow
def test_subjects_come_from_the_configuration_of_the_plugin(postgres: Postgres):
    with running_server(postgres, overrides("ConfiguredPlugin")) as server:
        installed(server)
        plugin = _plugin(server, "configured")
        create(server.admin, name="a")
        assert plugin.recorded == []
        plugin.wanted = ["lab.samples"]
        create(server.admin, name="b")
        assert [event.subject for event in plugin.recorded] == ["lab.samples"]
        plugin.wanted = ["lab.others"]
        create(server.admin, name="c")
        assert len(plugin.recorded) == 1


def test_a_bulk_is_reported_row_by_row(admin: Client, witness: WitnessPlugin):
    made = admin.post(f"{SAMPLES}/bulk", json=[{"name": "a"}, {"name": "b", "amount": 2}]).json()
    assert [json.loads(event.new or b"") for event in witness.recorded] == made
    assert [event.record_id for event in witness.recorded] == [record["id"] for record in made]
    assert len(witness.changes) == 2


def test_a_hook_changes_what_is_written(admin: Client, witness: WitnessPlugin):
    witness.values = {"amount": "7", "tags": ["hooked"]}
    made = create(admin, name="a")
    assert (made["amount"], made["tags"]) == (7, ["hooked"])
    witness.values = {"amount": 8}
    changed = admin.patch(f"{SAMPLES}/{made['id']}", json={"name": "b"}).json()
    assert (changed["name"], changed["amount"]) == ("b", 8)
    made = admin.post(f"{SAMPLES}/bulk", json=[{"name": "a"}, {"name": "b", "level": 1}]).json()
    assert [(r["amount"], r["level"]) for r in made] == [(8, 3), (8, 1)]


@pytest.mark.parametrize(
    ("values", "said"),
    [({"amount": "many"}, "samples.amount"), ({"colour": 1}, "'colour'"),
     ({"name": None}, "required")],
)  # fmt: skip
def test_a_value_that_a_hook_may_not_write_is_its_mistake_and_not_the_clients(
    admin: Client, witness: WitnessPlugin, values: dict[str, Any], said: str
):
    made = create(admin, name="a")
    witness.values = values
    for write in (
        lambda: admin.post(SAMPLES, json={"name": "b"}),
        lambda: admin.post(f"{SAMPLES}/bulk", json=[{"name": "b"}]),
        lambda: admin.patch(f"{SAMPLES}/{made['id']}", json={"name": "b"}),
    ):
        with capture_logs() as logs:
            answer = write()
        assert answer.status_code == 500
        assert "internal error" in answer.json()["error"]
        [line] = [each for each in logs if each["event"] == "a request failed"]
        assert (line["plugin"], line["error"]) == ("witness", "HookFailed")
        assert line["where"].startswith("plugin witness, hook record_writing, ")
        assert said in str(line["exc_info"])
    assert names(admin.get(SAMPLES)) == ["a"]


def test_a_statement_that_fails_in_a_hook_is_its_mistake(
    admin: Client, witness: WitnessPlugin, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(witness, "statement", "select 1 / 0")
    with capture_logs() as logs:
        assert admin.post(SAMPLES, json={"name": "a"}).status_code == 500
    [line] = [each for each in logs if each["event"] == "a request failed"]
    assert (line["plugin"], line["error"]) == ("witness", "HookFailed")
    assert "a statement failed: division by zero" in str(line["exc_info"])
    monkeypatch.setattr(witness, "statement", "select nothing from nowhere")
    with capture_logs() as logs:
        assert admin.post(SAMPLES, json={"name": "a"}).status_code >= 500
    assert names(admin.get(SAMPLES)) == []


@pytest.fixture(scope="module")
def scoped(postgres: Postgres) -> Generator[Server]:
    """A server with a plugin that narrows what is seen."""
    with running_server(postgres, overrides("ScopePlugin")) as server:
        installed(server)
        yield server


@pytest.mark.parametrize(
    ("tree", "said"),
    [({"colour": 1}, "'colour'"), ({"amount": {"$near": 1}}, "$near"), (["name"], "list"),
     ({"amount": "many"}, "amount")],
)  # fmt: skip
def test_a_bad_tree_of_record_scope_is_the_plugins_mistake(scoped: Server, tree: Any, said: str):
    clear(scoped)
    admin, plugin = scoped.admin, _plugin(scoped, "scope")
    made = create(admin, name="a")
    plugin.tree = tree
    try:
        for read in (
            lambda: admin.get(SAMPLES),
            lambda: admin.get(f"{SAMPLES}/{made['id']}"),
            lambda: admin.patch(f"{SAMPLES}/{made['id']}", json={"name": "b"}),
            lambda: admin.delete(f"{SAMPLES}/{made['id']}"),
        ):
            with capture_logs() as logs:
                assert read().status_code == 500
            [line] = [each for each in logs if each["event"] == "a request failed"]
            assert (line["plugin"], line["error"]) == ("scope", "HookFailed")
            assert said in str(line["exc_info"])
    finally:
        plugin.tree = None
    assert names(admin.get(SAMPLES)) == ["a"]
    answer = admin.post(f"{SAMPLES}/query", json={"where": {"colour": 1}})
    assert answer.status_code == 400  # of the caller's own tree


def test_a_batch_asks_no_hook_which_records_a_create_reaches(scoped: Server):
    clear(scoped)
    admin, plugin = scoped.admin, _plugin(scoped, "scope")
    made = create(admin, name="a", code="x")
    operations: list[dict[str, Any]] = [
        {"op": "create", "entity": "samples", "data": {"name": "b"}},
        {"op": "upsert", "entity": "samples", "on": "code", "data": {"code": "y", "name": "c"}},
        {"op": "update", "entity": "samples", "id": made["id"], "data": {"name": "d"}},
    ]
    plugin.asked.clear()
    answer = admin.post("/api/v1/apps/lab/batch", json={"operations": operations})
    assert answer.status_code == 200, answer.text
    actions = {action for _, action in plugin.asked}
    assert {"read", "update"} <= actions <= {"read", "update"}


def test_a_hook_refuses_a_write(admin: Client, witness: WitnessPlugin):
    made = create(admin, name="a")
    path = f"{SAMPLES}/{made['id']}"
    witness.refusal = "not on a Sunday"
    for answer in (
        admin.post(SAMPLES, json={"name": "b"}),
        admin.post(f"{SAMPLES}/bulk", json=[{"name": "b"}]),
        admin.patch(path, json={"name": "b"}),
        admin.delete(path),
    ):
        assert refused(answer) == "not on a Sunday"
    assert admin.get(SAMPLES).json() == [made]


def test_an_error_after_the_write_takes_it_back(admin: Client, witness: WitnessPlugin):
    made = create(admin, name="a")
    witness.committed.clear()
    witness.fails_after = True
    refused(admin.post(SAMPLES, json={"name": "b"}))
    refused(admin.patch(f"{SAMPLES}/{made['id']}", json={"name": "b"}))
    refused(admin.delete(f"{SAMPLES}/{made['id']}"))
    assert admin.get(SAMPLES).json() == [made]
    assert witness.committed == []


def test_observers_hear_of_single_statements_too(postgres: Postgres):
    with running_server(postgres, overrides("ObserverPlugin")) as running:
        admin = installed(running)
        made = create(admin, name="a")
        admin.patch(f"{SAMPLES}/{made['id']}", json={"name": "b"})
        rows = admin.post(f"{SAMPLES}/bulk", json=[{"name": "x"}, {"name": "y"}]).json()
        admin.delete(f"{SAMPLES}/{made['id']}")
        heard = [e for e in _plugin(running, "observer").committed if e.app_id == "lab"]
    ids = [made["id"], made["id"], rows[0]["id"], rows[1]["id"], made["id"]]
    assert [event.record_id for event in heard] == ids
    assert [e.operation for e in heard] == ["INSERT", "UPDATE", "INSERT", "INSERT", "DELETE"]
    assert json.loads(heard[1].new or b"")["name"] == "b"


def test_observers_hear_of_all_that_a_caller_has_written_who_gives_up(postgres: Postgres):
    with running_server(postgres, overrides("ObserverPlugin")) as server:
        installed(server)
        observer = _plugin(server, "observer")
        records = server.services.get(RECORDS)
        target = Target(server_actor(), Grant(), "lab", "samples")

        async def give_up(write: Any) -> list[str]:
            observer.committed.clear()
            observer.begun = anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                await observer.begun.wait()
                tasks.cancel_scope.cancel()
            observer.begun = None
            return [event.operation for event in observer.committed]

        made = create(server.admin, name="a")
        rows = [{"name": "b"}, {"name": "c"}, {"name": "d"}]
        for write, operations in (
            (lambda: records.create_many(target, rows), ["INSERT"] * 3),
            (lambda: records.create(target, {"name": "e"}), ["INSERT"]),
            (lambda: records.update(target, made["id"], {"name": "f"}), ["UPDATE"]),
            (lambda: records.delete(target, made["id"]), ["DELETE"]),
        ):
            assert server.run(give_up, write) == operations
