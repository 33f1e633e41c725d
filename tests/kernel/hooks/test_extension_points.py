"""Every extension point, used by a plugin, over real HTTP."""

from collections.abc import Callable, Generator
from typing import Any

import httpx
import pytest

from kernel.contracts import hookspecs
from kernel.testing import Client, Postgres, Server, running_server
from tests.kernel.points import HEARD
from tests.waiting import eventually

TEXT = {"type": "text"}
MANIFEST: dict[str, Any] = {
    "appId": "tenants",
    "name": "Tenants",
    "dataContract": [
        {"entityName": name, "fields": [{"name": "title", **TEXT}, {"name": "tenant", **TEXT}]}
        for name in ("notes", "ledger")
    ],
}
NOTES = "/api/v1/apps/tenants/collections/notes"
LEDGER = "/api/v1/apps/tenants/collections/ledger"


@pytest.fixture(scope="module")
def points(postgres: Postgres) -> Generator[Server]:
    """A server with the plugin, its journal and the app `tenants`, open to everyone."""
    module = {"module": "tests.kernel.points:PointsPlugin"}
    with running_server(postgres, {"plugins": {"points": module}}) as running:
        running.sql("create table public.journal (operation text, record text, title text)")
        assert running.admin.post("/api/v1/apps", json=MANIFEST).status_code == 200
        role = {"name": "member", "permissions": ["notes.*", "ledger.*"]}
        assert running.admin.post("/api/v1/apps/tenants/roles", json=role).status_code == 200
        yield running


Member = Callable[[str], Client]


@pytest.fixture(scope="module")
def member(points: Server) -> Member:
    """A user of a tenant; the same one for the same name."""
    known: dict[str, Client] = {}

    def get(name: str) -> Client:
        if name not in known:
            known[name] = points.user(name)
            body = {"userId": known[name].id, "role": "member"}
            answer = points.admin.post("/api/v1/apps/tenants/roles/assign", json=body)
            assert answer.status_code == 200, answer.text
        return known[name]

    return get


def create(client: httpx.Client, title: str, path: str = NOTES) -> dict[str, Any]:
    answer = client.post(path, json={"title": title})
    assert answer.status_code == 201, answer.text
    return answer.json()


def titles(client: httpx.Client, path: str = NOTES) -> set[str]:
    return {record["title"] for record in client.get(path).json()}


def test_a_scope_shows_each_tenant_its_own(points: Server, member: Member) -> None:
    red, blue = member("red_rita"), member("blue_bob")
    create(red, "roses")
    create(blue, "cornflowers")
    assert "Cornflowers" not in titles(red)
    assert "Roses" not in titles(blue)
    assert {"Roses", "Cornflowers"} <= titles(points.admin)


def test_a_scope_holds_for_every_way_of_reading(member: Member) -> None:
    red, blue = member("red_rita"), member("blue_bob")
    theirs = create(blue, "secret")
    query = red.post(f"{NOTES}/query", json={"where": {"title": "Secret"}}).json()
    assert (query["data"], query["total"]) == ([], 0)
    assert red.get(f"{NOTES}/{theirs['id']}").status_code == 404
    assert red.get(NOTES, params={"limit": 1000, "title": "Secret"}).json() == []
    assert red.post(f"{NOTES}/query", json={"where": {"$or": [{"title": "Secret"}]}}).json() == {
        "data": [],
        "total": 0,
    }


def test_a_scope_holds_for_writing(points: Server, member: Member) -> None:
    red, blue = member("red_rita"), member("blue_bob")
    path = f"{NOTES}/{create(blue, 'kept')['id']}"
    assert red.patch(path, json={"title": "stolen"}).status_code == 404
    assert red.delete(path).status_code == 404
    assert blue.get(path).json()["title"] == "Kept"
    assert points.admin.patch(path, json={"title": "kept by admin"}).status_code == 200


def test_a_write_is_changed_before_it_is_made(member: Member) -> None:
    record = create(member("red_rita"), "  a title ")
    assert (record["title"], record["tenant"]) == ("A title", "red")
    path = f"{NOTES}/{record['id']}"
    answer = member("red_rita").patch(path, json={"title": " another"})
    assert answer.json()["title"] == "Another"


def test_every_record_of_a_bulk_is_changed(member: Member) -> None:
    body = [{"title": "one"}, {"title": "two", "tenant": "blue"}]
    made = member("red_rita").post(f"{NOTES}/bulk", json=body).json()
    assert [(r["title"], r["tenant"]) for r in made] == [("One", "red"), ("Two", "red")]


def test_a_write_is_refused(points: Server, member: Member) -> None:
    before = points.sql("select count(*) from tenants.notes")
    answer = member("red_rita").post(NOTES, json={"title": "forbidden"})
    assert (answer.status_code, answer.json()) == (403, {"error": "this title is taken"})
    bulk = [{"title": "fine"}, {"title": "forbidden"}]
    assert member("red_rita").post(f"{NOTES}/bulk", json=bulk).status_code == 403
    assert points.sql("select count(*) from tenants.notes") == before


def test_a_deletion_is_refused(member: Member) -> None:
    entry = create(member("red_rita"), "entry", LEDGER)
    answer = member("red_rita").delete(f"{LEDGER}/{entry['id']}")
    assert (answer.status_code, answer.json()) == (400, {"error": "a ledger keeps its entries"})
    assert member("red_rita").get(f"{LEDGER}/{entry['id']}").status_code == 200


def test_an_event_writes_a_table_of_its_own(points: Server, member: Member) -> None:
    red = member("red_rita")
    note = create(red, "journalled")
    red.patch(f"{NOTES}/{note['id']}", json={"title": "changed"})
    red.delete(f"{NOTES}/{note['id']}")
    rows = points.sql("select operation, title from public.journal where record = %s", note["id"])
    assert rows == [("INSERT", "Journalled"), ("UPDATE", "Changed"), ("DELETE", "Changed")]


def test_an_event_aborts_what_it_is_about(points: Server, member: Member) -> None:
    answer = member("red_rita").post(NOTES, json={"title": "abort"})
    assert (answer.status_code, answer.json()) == (400, {"error": "the journal is closed"})
    for table in ("tenants.notes", "public.journal"):
        assert points.sql(f"select count(*) from {table} where title = 'Abort'") == [(0,)]
    rows = points.sql("select count(*) from caudex_audit.log where new_record->>'title' = 'Abort'")
    assert rows == [(0,)]


def test_an_observer_that_fails_does_not_fail_the_request(points: Server, member: Member) -> None:
    [implementation] = points.kernel.bus.implementations(hookspecs.event_committed)
    failed = implementation.statistics.errors
    assert create(member("red_rita"), "failing")["title"] == "Failing"
    eventually(lambda: implementation.statistics.errors != failed)
    assert implementation.statistics.errors == failed + 1
    assert "RuntimeError at " in implementation.statistics.last_error
    assert "points.py:" in implementation.statistics.last_error


def test_an_observer_hears_what_concerns_it_once_it_is_in(points: Server, member: Member) -> None:
    create(member("red_rita"), "unheard", LEDGER)
    create(member("red_rita"), "heard")
    assert ("tenants.notes", "INSERT") in HEARD
    assert "tenants.ledger" not in {subject for subject, _ in HEARD}
    assert any(subject.startswith("core.") for subject, _ in HEARD)


def test_an_install_is_refused_whole(points: Server) -> None:
    manifest = {**MANIFEST, "appId": "nameless", "name": "Untitled"}
    answer = points.admin.post("/api/v1/apps", json=manifest)
    assert (answer.status_code, answer.json()) == (400, {"error": "give the app a name"})
    assert "nameless" not in {app["id"] for app in points.admin.get("/api/v1/apps").json()}
    assert points.sql("select to_regnamespace('nameless')::text") == [(None,)]


def test_an_update_that_is_refused_leaves_the_app_as_it_was(points: Server) -> None:
    grown = {"entityName": "extra", "fields": [{"name": "title", **TEXT}]}
    contract = [*MANIFEST["dataContract"], grown]
    manifest = {**MANIFEST, "name": "Untitled", "dataContract": contract}
    assert points.admin.post("/api/v1/apps", json=manifest).status_code == 400
    assert points.sql("select to_regclass('tenants.extra')::text") == [(None,)]
    assert points.admin.get("/api/v1/apps/tenants/collections/extra").status_code == 404
