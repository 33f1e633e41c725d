"""Writes lock records by entity and id, and new unique values in one order, whatever is sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import errors

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.conftest import overrides
from tests.plugins.data.support import SAMPLES, TEAMS, create, installed
from tests.waiting import eventually

BATCH = "/api/v1/apps/lab/batch"
Send = Callable[[], httpx.Response]

PATIENT = {"database": {"lock_timeout": 60.0, "statement_timeout": 120.0}}
"""So that no request gives up before the test has looked, however busy the machine is."""

HELD = "select 1 from {table} where id::text = %s for update"
FREE = "select id::text from {table} for update skip locked"


@pytest.fixture(scope="module", params=["one statement", "transaction"])
def lab(request: pytest.FixtureRequest, postgres: Postgres) -> Generator[Server]:
    """A server with the app, with and without a plugin that takes part in writes."""
    plugins = ["WitnessPlugin"] if request.param == "transaction" else []
    with running_server(postgres, overrides(*plugins) | PATIENT) as running:
        installed(running)
        yield running


@contextmanager
def connection(lab: Server) -> Generator[psycopg.Connection[Any]]:
    with psycopg.connect(lab.dsn) as session:
        try:
            yield session
        finally:
            session.rollback()


def waits(lab: Server) -> bool:
    """Whether a statement waits for longer than the driver lets it on a shared connection."""
    query = """
        select 1 from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'
            and now() - query_start > interval '0.2 s'"""
    return bool(lab.sql(query))


@contextmanager
def waiting(lab: Server, send: Send) -> Generator[list[httpx.Response]]:
    """Send a request, which waits for a lock; at the end its answer is in the list."""
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(send()))
    thread.start()
    try:
        eventually(lambda: waits(lab), why="the request does not wait")
        yield answers
    finally:
        thread.join()


def check_waits_for_first(lab: Server, table: str, first: str, send: Send) -> None:
    """Check that a request waits for its first record, and holds none of the table meanwhile."""
    with connection(lab) as holder, connection(lab) as other:
        holder.execute(HELD.format(table=table), (first,))
        with waiting(lab, send) as answers:
            every = {row[0] for row in lab.sql(f"select id::text from {table}")}
            free = {row[0] for row in other.execute(FREE.format(table=table))}
            other.rollback()
            holder.rollback()
        assert free == every - {first}
    assert answers[0].is_success, answers[0].text


@pytest.fixture
def teams(admin: Client) -> list[str]:
    """Records whose order on disk is not that of their ids."""
    return [create(admin, TEAMS, id=name, name=name)["id"] for name in ("c", "a", "b")]


def operations(*given: dict[str, Any]) -> dict[str, Any]:
    return {"operations": given}


def change(entity: str, record_id: str, **data: Any) -> dict[str, Any]:
    return {"op": "update", "entity": entity, "id": record_id, "data": data}


def test_updates_of_a_batch_lock_by_id(lab: Server, admin: Client, teams: list[str]):
    body = operations(*(change("teams", name, name="x") for name in teams))
    check_waits_for_first(lab, "lab.teams", "a", lambda: admin.post(BATCH, json=body))


def test_deletes_of_a_batch_lock_by_id(lab: Server, admin: Client, teams: list[str]):
    body = operations(*({"op": "delete", "entity": "teams", "id": name} for name in teams))
    check_waits_for_first(lab, "lab.teams", "a", lambda: admin.post(BATCH, json=body))


def test_updates_by_condition_lock_by_id(lab: Server, admin: Client, teams: list[str]):
    body = {"where": {}, "set": {"name": "x"}, "max": 9}
    path = f"{TEAMS}/update-where"
    check_waits_for_first(lab, "lab.teams", "a", lambda: admin.post(path, json=body))


def test_deletes_by_condition_lock_by_id(lab: Server, admin: Client, teams: list[str]):
    path = f"{TEAMS}/delete-where"
    body = {"where": {"name": {"$in": teams}}, "expect": 3}
    check_waits_for_first(lab, "lab.teams", "a", lambda: admin.post(path, json=body))


def test_upserts_lock_by_id(lab: Server, admin: Client):
    first = create(admin, code="z")["id"]
    for code in "ba":
        create(admin, code=code)
    rows = [{"code": code, "level": 1} for code in "abz"]
    path = f"{SAMPLES}/bulk?on=code"
    check_waits_for_first(lab, "lab.samples", first, lambda: admin.post(path, json=rows))


def test_upserts_of_a_batch_lock_by_id(lab: Server, admin: Client):
    first = create(admin, code="z")["id"]
    second = create(admin, code="y")["id"]
    body = operations(
        change("samples", second, level=2),
        {"op": "upsert", "entity": "samples", "on": "code", "data": {"code": "z", "level": 1}},
    )
    check_waits_for_first(lab, "lab.samples", first, lambda: admin.post(BATCH, json=body))


def test_a_batch_locks_by_entity(lab: Server, admin: Client, teams: list[str]):
    """Samples come before teams, although the operations are the other way round."""
    sample = create(admin)["id"]
    body = operations(change("teams", "a", name="x"), change("samples", sample, level=1))
    with connection(lab) as holder, connection(lab) as other:
        holder.execute(HELD.format(table="lab.samples"), (sample,))
        with waiting(lab, lambda: admin.post(BATCH, json=body)) as answers:
            free = {row[0] for row in other.execute(FREE.format(table="lab.teams"))}
            other.rollback()
            holder.rollback()
        assert free == {*teams}
    assert answers[0].status_code == 200, answers[0].text


def test_new_unique_values_are_stored_in_one_order(lab: Server, admin: Client):
    rows = [{"name": code, "code": code} for code in "cba"]
    batch = operations(*({"op": "create", "entity": "samples", "data": row} for row in rows))
    upserts = [{"op": "upsert", "entity": "samples", "on": "code", "data": row} for row in rows]
    sends: list[Send] = [
        lambda: admin.post(f"{SAMPLES}/bulk", json=rows),
        lambda: admin.post(f"{SAMPLES}/bulk?on=code", json=rows),
        lambda: admin.post(BATCH, json=batch),
        lambda: admin.post(BATCH, json=operations(*upserts)),
    ]
    insert = "insert into lab.samples (name, code) values (%s, %s)"
    for send in sends:
        lab.sql("truncate lab.samples cascade")
        with connection(lab) as holder, connection(lab) as other:
            holder.execute(insert, ("x", "a"))
            with waiting(lab, send) as answers:
                # In the order that was sent, the request would hold these by now.
                other.execute("set lock_timeout = '100ms'")
                other.execute(insert, ("x", "c"))
                other.rollback()
                holder.rollback()
        assert answers[0].is_success, answers[0].text
        shown = answers[0].json()
        shown = shown if isinstance(shown, list) else shown.get("data", shown.get("results"))
        names = [each.get("record", each)["name"] for each in shown]
        assert names == ["c", "b", "a"]


def test_links_to_a_record_wait_for_no_change_of_it(lab: Server, admin: Client, teams: list[str]):
    """A change of fields that are no key takes the weaker lock, also in a transaction."""
    row = {"code": "k"}
    found = create(admin, **row)["id"]
    changes: list[Send] = [
        lambda: admin.patch(f"{SAMPLES}/{found}", json={"level": 1}),
        lambda: admin.post(f"{SAMPLES}/bulk?on=code", json=[{"code": "k", "level": 2}]),
        lambda: admin.post(f"{SAMPLES}/update-where", json={
            "where": {"code": "k"}, "set": {"level": 3}, "max": 1,
        }),
        lambda: admin.post(BATCH, json=operations(
            change("samples", found, level=4), change("teams", "a", name="x"),
        )),
    ]  # fmt: skip
    with connection(lab) as holder:
        holder.execute("set lock_timeout = '10s'")
        # As a record that links to this one does until the end of its transaction.
        holder.execute("select 1 from lab.samples where id::text = %s for key share", (found,))
        for send in changes:
            answer = send()
            assert answer.is_success, answer.text


@pytest.mark.slow
def test_a_statement_that_a_deadlock_undid_is_sent_again(lab: Server, admin: Client):
    """Of a bulk and a transaction that wait for each other PostgreSQL ends one after a second."""
    insert = "insert into lab.samples (name, code) values ('x', %s)"
    rows = [{"name": "x", "code": code} for code in "ab"]
    for _ in range(5):
        lab.sql("truncate lab.samples cascade")
        with connection(lab) as holder:
            holder.execute(insert, ("b",))
            with waiting(lab, lambda: admin.post(f"{SAMPLES}/bulk", json=rows)) as answers:
                try:
                    holder.execute(insert, ("a",))
                    was_undone = True
                except errors.DeadlockDetected:  # it was the other one: once more
                    was_undone = False
                holder.rollback()
        assert answers[0].status_code == 201, answers[0].text
        if was_undone:
            return
    pytest.fail("PostgreSQL never ended the server's statement")


@pytest.mark.slow
def test_a_batch_that_a_deadlock_undid_runs_again(lab: Server, admin: Client, teams: list[str]):
    """It creates a value and changes a record: no order of such batches is without deadlocks."""
    insert = "insert into lab.samples (name, code) values ('x', 'a')"
    body = operations(
        {"op": "create", "entity": "samples", "data": {"name": "x", "code": "a"}},
        change("teams", "a", name="x"),
    )
    for _ in range(5):
        lab.sql("truncate lab.samples cascade")
        with connection(lab) as holder:
            holder.execute(HELD.format(table="lab.teams"), ("a",))
            with waiting(lab, lambda: admin.post(BATCH, json=body)) as answers:
                try:
                    holder.execute(insert)
                    was_undone = True
                except errors.DeadlockDetected:
                    was_undone = False
                holder.rollback()
        assert answers[0].status_code == 200, answers[0].text
        if was_undone:
            return
    pytest.fail("PostgreSQL never ended the server's transaction")


@pytest.mark.parametrize(("then", "result"), [("update", "updated"), ("ignore", "ignored")])
def test_a_key_that_appears_meanwhile_is_met(lab: Server, admin: Client, then: str, result: str):
    """The upsert looked before another one created the record, and finds it at its second try."""
    rows = [{"name": "mine", "code": code} for code in "ab"]
    path = f"{SAMPLES}/bulk?on=code&then={then}"
    with connection(lab) as holder:
        holder.execute("insert into lab.samples (name, code) values ('theirs', 'b')")
        with waiting(lab, lambda: admin.post(path, json=rows)) as answers:
            holder.commit()
    assert answers[0].status_code == 200, answers[0].text
    shown = answers[0].json()["data"]
    assert [each["result"] for each in shown] == ["created", result]
    assert shown[1]["record"]["name"] == ("mine" if then == "update" else "theirs")
