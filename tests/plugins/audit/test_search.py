"""Reading the trail: who may, and what is asked."""

from typing import Any

import httpx
import pytest

from kernel.contracts.statements import POOL
from kernel.public import Actor, Event, server_actor
from kernel.testing import Server
from plugins.audit import store
from tests.plugins.audit.conftest import install
from tests.plugins.audit.stand_in import ROOT

ABSENT = "99999999-9999-4999-8999-999999999999"
OTHER = "88888888-8888-4888-8888-888888888888"
"""Who makes what single tests add: the others count the rows of the module."""


@pytest.fixture(scope="module", autouse=True)
def rows(trail: Server) -> None:
    """Rows of three tables, and one of the system's."""
    install(trail, "hr", "people")
    install(trail, "crm", "deals")
    for table in ("crm.contacts", "crm.deals", "hr.people"):
        trail.sql(f"insert into {table} (name) select 'n' || i from generate_series(1, 5) as i")
        trail.sql(f"update {table} set name = 'changed' where name = 'n3'")
    record(trail, Event(app_id="core", entity="users", operation="LOGIN", actor=actor()))


def actor(**changes: Any) -> Actor:
    return Actor(**{"user_id": ROOT, "request_id": "r-7", **changes})


def record(trail: Server, event: Event) -> None:
    trail.run(trail.services.get(POOL).run, event.actor, lambda tx: tx.record(event))


def get(client: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/audit", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_rows_have_the_shape_of_the_contract(root: httpx.Client) -> None:
    [row] = get(root, app_id="crm", entity="contacts", operation="UPDATE", limit=1)
    assert list(row) == [
        "id", "table_schema", "table_name", "record_id", "operation",
        "old_record", "new_record", "changed_at", "actor_id", "request_id",
    ]  # fmt: skip
    assert isinstance(row["id"], int)
    assert row["changed_at"].endswith("Z")
    assert row["old_record"]["name"] == "n3"


def test_the_newest_come_first(root: httpx.Client) -> None:
    for params in ({}, {"app_id": "crm"}, {"entity": "people"}, {"operation": "INSERT"}):
        ids = [row["id"] for row in get(root, **params)]
        assert len(ids) > 4
        assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({"app_id": "crm"}, 12),
        ({"app_id": "crm", "entity": "deals"}, 6),
        ({"app_id": "crm", "entity": "deals", "operation": "UPDATE"}, 1),
        ({"entity": "people"}, 6),
        ({"operation": "DELETE"}, 0),
        ({"operation": "LOGIN"}, 1),
        ({"app_id": "hr", "entity": "deals"}, 0),
        ({"app_id": "nothing"}, 0),
        ({"actor_id": ROOT}, 1),
        ({"actor_id": ROOT.upper()}, 1),
        ({"actor_id": ABSENT}, 0),
        ({"actor_id": ROOT, "app_id": "crm"}, 0),
        ({"record_id": "absent"}, 0),
        ({"record_id": "' or 1 = 1 --"}, 0),
    ],
)
def test_filters_narrow_what_is_found(
    root: httpx.Client, params: dict[str, str], count: int
) -> None:
    assert len(get(root, **params)) == count


def test_everything_of_one_request_is_found(root: httpx.Client) -> None:
    [row] = get(root, request_id="r-7")
    assert row["request_id"] == "r-7"
    kind = {"app_id": row["table_schema"], "operation": row["operation"]}
    assert get(root, request_id="r-7", **kind) == [row]
    assert get(root, request_id="r-7", entity="absent") == []
    assert get(root, request_id="r-7", before=row["id"]) == []
    assert get(root, request_id="no such request") == []


def test_the_history_of_one_record(root: httpx.Client) -> None:
    [update] = get(root, app_id="crm", entity="deals", operation="UPDATE")
    history = get(root, record_id=update["record_id"])
    assert [row["operation"] for row in history] == ["UPDATE", "INSERT"]
    assert history[0]["old_record"] == history[1]["new_record"]


def test_a_uuid_is_found_in_capitals_and_as_it_was_written(
    trail: Server, root: httpx.Client
) -> None:
    lower, upper = "abcdefab-0000-4000-8000-000000000001", "ABCDEFAB-0000-4000-8000-000000000001"
    ids = [lower, upper, "Kim", "kim", lower]
    other = actor(user_id=OTHER, request_id="r-8")
    for record_id in ids:
        event = Event(
            app_id="core", entity="users", operation="LOGOUT", actor=other, record_id=record_id
        )
        record(trail, event)
    assert [row["record_id"] for row in get(root, record_id=upper)] == [lower, upper, lower]
    newest = get(root, record_id=upper, limit=1, app_id="core", operation="LOGOUT")
    assert [row["record_id"] for row in newest] == [lower]
    before = get(root, record_id=upper, before=newest[0]["id"], actor_id=OTHER)
    assert [row["record_id"] for row in before] == [upper, lower]
    assert get(root, record_id=upper, app_id="crm") == []
    # What is no UUID, and what is written as PostgreSQL writes one, is compared as it is.
    for record_id in (lower, "Kim", "kim"):
        assert {row["record_id"] for row in get(root, record_id=record_id)} == {record_id}


@pytest.mark.parametrize(
    "params", [{}, {"app_id": "crm"}, {"entity": "people"}, {"operation": "INSERT", "app_id": "hr"}]
)
def test_a_cursor_reads_everything_once(root: httpx.Client, params: dict[str, Any]) -> None:
    whole = [row["id"] for row in get(root, **params, limit=1000)]
    pages: list[int] = []
    before: dict[str, int] = {}
    while page := get(root, **params, **before, limit=4):
        pages += [row["id"] for row in page]
        before = {"before": pages[-1]}
    assert pages == whole


def test_a_cursor_works_with_a_record_and_an_actor(root: httpx.Client) -> None:
    [update] = get(root, app_id="hr", operation="UPDATE")
    [insert] = get(root, record_id=update["record_id"], before=update["id"])
    assert insert["operation"] == "INSERT"
    assert get(root, actor_id=ROOT, before=1) == []


def test_a_limit_above_the_maximum_is_the_maximum(root: httpx.Client) -> None:
    assert len(get(root, limit=100_000)) == len(get(root, limit=1000))


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=-1", "limit=ten", "limit=1.5", "limit=",
        "before=x", "before=-3", "before=", "actor_id=alice", "actor_id=",
        "operation=EXPLODE", "operation=insert", "operation=", "app_id=", "app_id=CRM",
        "app_id=a%27b", "entity=", "entity=a.b", "record_id=", "record_id=%00",
        "entity=%FF", "colour=red", "app_id=crm&app_id=hr", "offset=1",
    ],
)  # fmt: skip
def test_bad_values_are_refused(root: httpx.Client, query: str) -> None:
    answer = root.get(f"/api/v1/audit?{query}")
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]


def test_a_misspelt_parameter_is_named(root: httpx.Client) -> None:
    said = root.get("/api/v1/audit?aktor_id=x").json()["error"]
    assert "'aktor_id'" in said
    assert "'actor_id'" in said


def test_without_a_token_it_is_401(trail: Server) -> None:
    assert trail.http.get("/api/v1/audit?app_id=crm&limit=x").status_code == 401


def test_an_app_admin_reads_what_is_its_apps(clerk: httpx.Client) -> None:
    assert {row["table_schema"] for row in get(clerk, app_id="crm")} == {"crm"}


@pytest.mark.parametrize("query", ["", "?app_id=hr", "?app_id=core", "?entity=deals", "?app_id="])
def test_an_app_admin_reads_nothing_else(clerk: httpx.Client, query: str) -> None:
    assert clerk.get(f"/api/v1/audit{query}").status_code == 403


def test_access_is_decided_before_values(clerk: httpx.Client) -> None:
    assert clerk.get("/api/v1/audit?limit=x").status_code == 403
    assert clerk.get("/api/v1/audit?limit=x&app_id=crm").status_code == 400


def test_a_user_without_a_role_reads_nothing(trail: Server) -> None:
    headers = {"x-user": ABSENT}
    for query in ("", "?app_id=crm"):
        assert trail.http.get(f"/api/v1/audit{query}", headers=headers).status_code == 403


def test_system_events_are_rows_of_core(trail: Server, root: httpx.Client) -> None:
    event = Event(
        app_id="core", entity="roles", operation="ROLE_CREATED", record_id="crm/sales",
        actor=actor(user_id=OTHER, request_id="r-9"), new=b'{"name": "sales"}',
    )  # fmt: skip
    record(trail, event)
    [row] = get(root, app_id="core", operation="ROLE_CREATED")
    assert (row["table_schema"], row["table_name"]) == ("core", "roles")
    assert (row["record_id"], row["old_record"]) == ("crm/sales", None)
    assert row["new_record"] == {"name": "sales"}
    assert (row["actor_id"], row["request_id"]) == (OTHER, "r-9")
    stored = "select app_key, owner_id, xid > '0' from caudex_audit.log where id = %s"
    assert trail.sql(stored, row["id"]) == [(0, None, True)]


def test_the_server_itself_has_no_actor(trail: Server, root: httpx.Client) -> None:
    what = Event(app_id="core", entity="jobs", operation="PURGED", actor=server_actor())
    record(trail, what)
    [row] = get(root, operation="PURGED")
    assert (row["actor_id"], row["request_id"]) == (None, None)


def test_events_of_records_are_left_to_the_triggers(trail: Server, root: httpx.Client) -> None:
    newest = get(root, limit=1)
    record(trail, Event(app_id="crm", entity="deals", operation="INSERT", actor=actor()))
    assert get(root, limit=1) == newest


def test_a_page_of_large_rows_ends_early_and_is_never_empty(
    trail: Server, root: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_PAGE_BYTES", 50_000)
    install(trail, "archive", "files")
    large = "insert into archive.files (name) select repeat('x', 20000) from generate_series(1, 6)"
    trail.sql(large)
    trail.sql("insert into archive.files (name) values (repeat('x', 60000))")
    pages: list[int] = []
    before: dict[str, int] = {}
    while page := get(root, app_id="archive", entity="files", **before):
        pages.append(len(page))
        before = {"before": page[-1]["id"]}
    assert pages == [1, 2, 2, 2]
