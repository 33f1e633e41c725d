"""The audit trail over HTTP: what is recorded of apps and of the system, and who reads it."""

import json
import uuid
from typing import Any

import httpx
import pytest

from kernel.testing import PASSWORD, Client, MakeServer, Server
from plugins.audit.models import ROW_OPERATIONS, SYSTEM_OPERATIONS

CONTACTS = "/api/v1/apps/crm/collections/contacts"
MANIFEST: dict[str, Any] = {
    "appId": "crm",
    "name": "CRM",
    "dataContract": [
        {
            "entityName": "contacts",
            "fields": [
                {"name": "first_name", "type": "text", "required": True},
                {"name": "email", "type": "text"},
                {"name": "tags", "type": "[text]"},
                {"name": "data", "type": "json"},
                {"name": "since", "type": "timestamp"},
            ],
        },
        {
            "entityName": "notes",
            "fields": [
                {
                    "name": "contact",
                    "type": "entity_link",
                    "references": {"entity": "contacts"},
                    "on_delete": "cascade",
                }
            ],
        },
    ],
}


@pytest.fixture(scope="module", autouse=True)
def crm(server: Server) -> None:
    """The app is there."""
    assert server.admin.post("/api/v1/apps", json=MANIFEST).status_code == 200


@pytest.fixture(scope="module")
def owner(server: Server) -> Client:
    """An admin of crm that is not an admin of core."""
    user = server.user()
    assign(server, "crm", user, "admin")
    return user


def assign(server: Server, app: str, user: Client, role: str) -> None:
    body = {"userId": user.id, "role": role}
    answer = server.admin.post(f"/api/v1/apps/{app}/roles/assign", json=body)
    assert answer.status_code == 200, answer.text


def audit(client: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/audit", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def create(client: httpx.Client, **values: Any) -> dict[str, Any]:
    answer = client.post(CONTACTS, json={"first_name": "Alice", **values})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_every_change_of_a_record_is_recorded(server: Server, owner: Client) -> None:
    record = create(owner, email="alice@old.com", tags=["vip"], data={"a": [1, None]})
    path = f"{CONTACTS}/{record['id']}"
    assert owner.patch(path, json={"email": "alice@acme.com"}).status_code == 200
    assert owner.delete(path).status_code == 200
    deleted, updated, inserted = audit(server.admin, record_id=record["id"])
    for row, operation in ((inserted, "INSERT"), (updated, "UPDATE"), (deleted, "DELETE")):
        assert (row["table_schema"], row["table_name"]) == ("crm", "contacts")
        assert (row["operation"], row["actor_id"]) == (operation, owner.id)
        assert row["changed_at"].endswith("Z")
    assert (inserted["old_record"], deleted["new_record"]) == (None, None)
    assert updated["old_record"] == inserted["new_record"]
    assert deleted["old_record"] == updated["new_record"]
    assert updated["old_record"]["email"] == "alice@old.com"
    assert updated["new_record"]["email"] == "alice@acme.com"
    assert set(inserted["new_record"]) == set(record)
    assert inserted["new_record"]["data"] == {"a": [1, None]}


def test_the_request_id_of_the_reply_is_in_the_row(server: Server, owner: Client) -> None:
    headers = {"x-request-id": "trace-me.42"}
    answer = owner.post(CONTACTS, json={"first_name": "Bob"}, headers=headers)
    [row] = audit(server.admin, record_id=answer.json()["id"])
    assert row["request_id"] == answer.headers["x-request-id"] == "trace-me.42"


def test_a_bulk_is_a_row_for_each_record(server: Server, owner: Client) -> None:
    answer = owner.post(f"{CONTACTS}/bulk", json=[{"first_name": f"n{n}"} for n in range(50)])
    made = [record["id"] for record in answer.json()]
    rows = audit(server.admin, app_id="crm", entity="contacts", limit=50)
    assert [row["record_id"] for row in reversed(rows)] == made
    assert {row["actor_id"] for row in rows} == {owner.id}


def test_what_a_deletion_takes_with_it_is_recorded(server: Server, owner: Client) -> None:
    contact = create(owner)
    note = owner.post("/api/v1/apps/crm/collections/notes", json={"contact": contact["id"]}).json()
    owner.delete(f"{CONTACTS}/{contact['id']}")
    deleted, _ = audit(server.admin, entity="notes", record_id=note["id"])
    assert (deleted["operation"], deleted["actor_id"]) == ("DELETE", owner.id)


def test_what_is_refused_is_not_recorded(server: Server, owner: Client) -> None:
    newest = audit(server.admin, app_id="crm", limit=1)
    assert owner.post(CONTACTS, json={"first_name": None}).status_code == 400
    bulk = [{"first_name": "fine"}, {"first_name": None}]
    assert owner.post(f"{CONTACTS}/bulk", json=bulk).status_code == 400
    assert owner.patch(f"{CONTACTS}/{uuid.uuid4()}", json={"email": "x"}).status_code == 404
    assert audit(server.admin, app_id="crm", limit=1) == newest


def test_sql_by_hand_is_recorded_without_an_actor(server: Server) -> None:
    server.sql("insert into crm.contacts (first_name) values ('by hand')")
    [row] = audit(server.admin, app_id="crm", limit=1)
    assert row["new_record"]["first_name"] == "by hand"
    assert (row["actor_id"], row["request_id"]) == (None, None)


def test_one_actor_is_not_taken_for_the_next(server: Server, owner: Client) -> None:
    other = server.user()
    assign(server, "crm", other, "admin")
    for _ in range(5):
        for client in (owner, other):
            record = create(client)
            [row] = audit(server.admin, record_id=record["id"])
            assert row["actor_id"] == client.id
        server.sql("insert into crm.contacts (first_name) values ('no one')")
        [row] = audit(server.admin, app_id="crm", limit=1)
        assert row["actor_id"] is None


def test_a_large_value_is_kept_as_length_and_hash(server: Server, owner: Client) -> None:
    record = create(owner, email="x" * 1_500_000)
    [row] = audit(server.admin, record_id=record["id"])
    assert row["new_record"]["email"]["length"] == 1_500_000
    assert len(row["new_record"]["email"]["sha256"]) == 64
    assert row["new_record"]["first_name"] == "Alice"


def test_tables_that_an_update_adds_are_watched(server: Server) -> None:
    entity = {"entityName": "deals", "fields": [{"name": "title", "type": "text"}]}
    manifest = {**MANIFEST, "dataContract": [*MANIFEST["dataContract"], entity]}
    assert server.admin.post("/api/v1/apps", json=manifest).status_code == 200
    server.admin.post("/api/v1/apps/crm/collections/deals", json={"title": "big"})
    [row] = audit(server.admin, app_id="crm", entity="deals")
    assert row["new_record"]["title"] == "big"


def test_rows_outlive_their_app(server: Server) -> None:
    manifest = {
        "appId": "gone",
        "name": "Gone",
        "dataContract": [{"entityName": "things", "fields": [{"name": "a", "type": "text"}]}],
    }
    server.admin.post("/api/v1/apps", json=manifest)
    server.admin.post("/api/v1/apps/gone/collections/things", json={"a": "b"})
    assert server.admin.delete("/api/v1/apps/gone").status_code == 200
    [row] = audit(server.admin, app_id="gone", entity="things")
    assert row["operation"] == "INSERT"


@pytest.mark.slow
def test_who_takes_a_former_apps_name_does_not_read_what_it_did(make_server: MakeServer) -> None:
    server = make_server({"plugins": {"apps": {"install": "any"}}})
    former, owner = server.user(), server.user()
    manifest = {
        "appId": "taken", "name": "Taken",
        "dataContract": [{"entityName": "notes", "fields": [{"name": "text", "type": "text"}]}],
    }  # fmt: skip
    notes = "/api/v1/apps/taken/collections/notes"
    assert former.post("/api/v1/apps", json=manifest).status_code == 200
    old = former.post(notes, json={"text": "private"}).json()
    assert former.delete("/api/v1/apps/taken").status_code == 200
    assert owner.post("/api/v1/apps", json=manifest).status_code == 200
    new = owner.post(notes, json={"text": "mine"}).json()
    assert owner.post("/api/v1/apps", json=manifest).status_code == 200  # a sync begins no life
    for more in ({}, {"entity": "notes"}, {"operation": "INSERT"}, {"current": "false"}):
        found = audit(owner, app_id="taken", **more)
        assert [row["record_id"] for row in found] == [new["id"]], more
    assert audit(owner, app_id="taken", record_id=old["id"]) == []
    assert audit(owner, app_id="taken", actor_id=former.id) == []
    assert len(audit(owner, app_id="taken", record_id=new["id"])) == 1
    everything = [row["record_id"] for row in audit(server.admin, app_id="taken")]
    assert everything == [new["id"], old["id"]]
    current = audit(server.admin, app_id="taken", current="true")
    assert [row["record_id"] for row in current] == [new["id"]]
    for bad in ({"current": "true"}, {"app_id": "taken", "current": "maybe"}):
        assert server.admin.get("/api/v1/audit", params=bad).status_code == 400


def test_who_reads(server: Server, owner: Client) -> None:
    stranger = server.user()
    assert server.http.get("/api/v1/audit").status_code == 401
    for query in ("", "?app_id=crm", "?app_id=core", "?app_id=absent"):
        assert stranger.get(f"/api/v1/audit{query}").status_code == 403
    for query in ("", "?app_id=core", "?entity=contacts", "?app_id=gone"):
        assert owner.get(f"/api/v1/audit{query}").status_code == 403
    rows = audit(owner, app_id="crm", limit=1000)
    assert {row["table_schema"] for row in rows} == {"crm"}
    assert {row["table_schema"] for row in audit(server.admin, limit=1000)} >= {"crm", "core"}


def test_a_role_that_is_not_admin_does_not_read(server: Server) -> None:
    role = {"name": "clerk", "permissions": ["contacts.*", "notes.*"]}
    assert server.admin.post("/api/v1/apps/crm/roles", json=role).status_code == 200
    clerk = server.user()
    assign(server, "crm", clerk, "clerk")
    assert clerk.get(CONTACTS, params={"limit": 1}).status_code == 200
    assert clerk.get("/api/v1/audit?app_id=crm").status_code == 403


def test_the_limit_and_the_cursor(server: Server, owner: Client) -> None:
    for _ in range(7):
        create(owner)
    whole = [row["id"] for row in audit(server.admin, app_id="crm", limit=7)]
    first = [row["id"] for row in audit(server.admin, app_id="crm", limit=4)]
    second = audit(server.admin, app_id="crm", limit=3, before=first[-1])
    assert first + [row["id"] for row in second] == whole


def test_a_page_has_a_hundred_rows_and_at_most_a_thousand(server: Server, owner: Client) -> None:
    for count in (1000, 1):
        body = [{"first_name": "many"}] * count
        assert owner.post(f"{CONTACTS}/bulk", json=body).status_code == 201
    assert len(audit(server.admin)) == 100
    assert len(audit(server.admin, app_id="crm")) == 100
    assert len(audit(server.admin, app_id="crm", limit=1001)) == 1000


def system(server: Server, operation: str) -> dict[str, Any]:
    """The newest row of a system event."""
    [row] = audit(server.admin, app_id="core", operation=operation, limit=1)
    return row


def test_logins_are_recorded(server: Server) -> None:
    user = server.user()
    row = system(server, "LOGIN")
    assert (row["table_schema"], row["actor_id"]) == ("core", user.id)
    body = {"username": user.username, "password": "Wr0ngPassword"}
    assert server.http.post("/api/v1/auth/login", json=body).status_code == 401
    failed = system(server, "LOGIN_FAILED")
    assert user.username in json.dumps(failed)


def test_role_changes_are_recorded(server: Server, owner: Client) -> None:
    user = server.user()
    role = {"name": "auditor", "permissions": ["contacts.read"]}
    assert owner.post("/api/v1/apps/crm/roles", json=role).status_code == 200
    made = system(server, "ROLE_CREATED")
    assert made["actor_id"] == owner.id
    assert "auditor" in json.dumps(made)
    body = {"userId": user.id, "role": "auditor"}
    assert owner.post("/api/v1/apps/crm/roles/assign", json=body).status_code == 200
    assert user.id in json.dumps(system(server, "ROLE_ASSIGNED"))
    assert owner.post("/api/v1/apps/crm/roles/revoke", json=body).status_code == 200
    assert user.id in json.dumps(system(server, "ROLE_REVOKED"))


def test_installs_are_recorded(server: Server) -> None:
    manifest = {"appId": "brief", "name": "Brief"}
    server.admin.post("/api/v1/apps", json=manifest)
    assert "brief" in json.dumps(system(server, "APP_INSTALLED"))
    server.admin.delete("/api/v1/apps/brief")
    row = system(server, "APP_REMOVED")
    assert row["actor_id"] == server.admin.id
    assert "brief" in json.dumps(row)


def test_every_system_event_can_be_asked_for_from_the_start(server: Server) -> None:
    recorded = {name for (name,) in server.sql("select operation from caudex_audit.kinds")}
    assert recorded <= {*ROW_OPERATIONS, *SYSTEM_OPERATIONS}
    for operation in SYSTEM_OPERATIONS:
        audit(server.admin, operation=operation)


def test_no_password_token_or_hash_is_in_the_trail(server: Server) -> None:
    user = server.user()
    answer = server.http.post(
        "/api/v1/auth/refresh", json={"refreshToken": user.tokens["refreshToken"]}
    )
    assert answer.status_code == 200
    changed = {"current": PASSWORD, "new": "An0therPass!x"}
    assert user.post("/api/v1/auth/password", json=changed).status_code in (200, 204)
    server.http.post("/api/v1/auth/logout", json={"refreshToken": user.tokens["refreshToken"]})
    [(trail,)] = server.sql("select string_agg(l::text, ' ') from caudex_audit.log as l")
    [(hashed,)] = server.sql("select password_hash from caudex_auth.users where id = %s", user.id)
    for secret in (PASSWORD, changed["new"], hashed, "$argon2", "eyJ", "password_hash"):
        assert secret not in trail, secret


@pytest.mark.slow
def test_switched_off_it_leaves_no_route_and_writes_go_on(make_server: MakeServer) -> None:
    server = make_server({"plugins": {"audit": {"enabled": False}}})
    assert server.admin.get("/api/v1/audit").status_code == 404
    assert server.admin.post("/api/v1/apps", json=MANIFEST).status_code == 200
    record = create(server.admin)
    assert server.sql("select to_regnamespace('caudex_audit')::text") == [(None,)]
    again = make_server(dsn=server.dsn, data_dir=server.kernel.context.data_dir)
    admin = again.login("admin")
    admin.patch(f"{CONTACTS}/{record['id']}", json={"email": "seen@example.com"})
    [row] = audit(admin, app_id="crm")
    assert (row["operation"], row["record_id"]) == ("UPDATE", record["id"])
