"""Sends the bodies that the REST reference shows, unchanged, and compares the replies."""

import io
import re
import tarfile

import pytest

from kernel.testing import Client, Server
from tests.waiting import eventually

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
USER_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?\+00:00")
RECORD_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
API = "/api/v1"
CRM = f"{API}/apps/crm"
CONTACTS = f"{CRM}/collections/contacts"
ALICE = {
    "username": "alice",
    "password": "Str0ngPass!x",
    "email": "alice@example.com",
    "display_name": "Alice Martin",
}
MANIFEST = {
    "appId": "crm",
    "name": "My CRM",
    "version": "1.0.0",
    "dataContract": [
        {
            "entityName": "contacts",
            "fields": [
                {"name": "first_name", "type": "text", "required": True},
                {"name": "last_name", "type": "text"},
                {"name": "email", "type": "text"},
                {"name": "tags", "type": "[text]"},
            ],
        },
        {"entityName": "deals", "fields": [{"name": "title", "type": "text"}]},
    ],
    "permissions": {},
}
CONTACT = {
    "first_name": "Alice",
    "last_name": "Martin",
    "email": "alice@acme.com",
    "tags": ["vip", "enterprise"],
}
PERMISSIONS = [
    f"{entity}.{action}"
    for entity in ("contacts", "deals")
    for action in ("create", "read", "update", "delete")
]
WORKER = """
from caudex_worker import Worker

worker = Worker()


@worker.rpc
def sendWelcomeEmail(params, ctx):
    if params["contactId"] is None:
        raise RuntimeError("Failed to connect to SMTP server")
    return {"sent": True}


@worker.job("send_report")
def send_report(payload, ctx):
    return {"sent": True}


worker.run()
"""


@pytest.fixture(scope="module")
def alice(server: Server) -> Client:
    answer = server.http.post(f"{API}/auth/register", json=ALICE)
    assert answer.status_code == 201, answer.text
    assert answer.json().keys() == {"user"}
    assert_alice(answer.json()["user"])
    client = server.login("alice")
    answer = client.post(f"{API}/apps", json=MANIFEST)
    assert (answer.status_code, answer.json()) == (200, {"message": "app 'crm' installed"})
    return client


@pytest.fixture(scope="module")
def worker(alice: Client) -> Client:
    """The app with a worker: an archive in the field that the reference names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        code = WORKER.encode()
        entry = tarfile.TarInfo("worker.py")
        entry.size = len(code)
        archive.addfile(entry, io.BytesIO(code))
    files = {"archive": ("crm.tar.gz", packed.getvalue(), "application/gzip")}
    answer = alice.post(f"{CRM}/deploy", files=files)
    assert answer.status_code == 200, answer.text
    return alice


def assert_alice(user: dict) -> None:
    assert UUID.fullmatch(user["id"])
    assert USER_TIME.fullmatch(user["created_at"])
    shown = {name: user[name] for name in ("username", "email", "display_name")}
    assert shown == {name: ALICE[name] for name in shown}


def assert_error(answer, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"]


def test_health(server):
    assert server.http.get("/health").json() == {"status": "ok"}


def test_status(alice):
    status = alice.get(f"{API}/status").json()
    assert status["runtime"].keys() == {"version", "state"}
    assert status["postgres"].keys() == {"state", "port"}
    assert status["forge"] == {"state": "Offline", "port": None}
    assert (status["runtime"]["state"], status["postgres"]["state"]) == ("Online", "Online")


def test_mode_shows_how_to_sign_in(server, alice):
    assert server.http.get(f"{API}/auth/mode").json() == {
        "authRequired": True, "setupRequired": False, "passwordLoginEnabled": True,
        "magicLinkEnabled": False, "providers": [],
    }  # fmt: skip


def test_login_me_and_users(server, alice):
    body = {"username": "alice", "password": "Str0ngPass!x"}
    answer = server.http.post(f"{API}/auth/login", json=body)
    assert answer.status_code == 200
    logged_in = answer.json()
    assert logged_in.keys() == {"accessToken", "refreshToken", "expiresIn", "user"}
    assert logged_in["expiresIn"] == 900
    assert logged_in["accessToken"].startswith("eyJ")
    assert logged_in["refreshToken"].startswith("eyJ")
    assert_alice(logged_in["user"])
    assert alice.get(f"{API}/auth/me").json() == logged_in["user"]
    assert logged_in["user"] in alice.get(f"{API}/users").json()


def test_refresh_and_logout(server, alice):
    session = server.login("alice")
    body = {"refreshToken": session.tokens["refreshToken"]}
    answer = server.http.post(f"{API}/auth/refresh", json=body)
    assert answer.status_code == 200
    assert answer.json()["expiresIn"] == 900
    assert answer.json()["accessToken"].startswith("eyJ")
    answer = server.http.post(f"{API}/auth/logout", json=body)
    assert (answer.status_code, answer.json()) == (200, {"message": "logged out"})
    assert_error(session.get(f"{API}/auth/me"), 401)


def test_an_install_can_be_repeated_and_the_app_is_listed(alice):
    answer = alice.post(f"{API}/apps", json=MANIFEST)
    assert (answer.status_code, answer.json()) == (200, {"message": "app 'crm' installed"})
    (listed,) = alice.get(f"{API}/apps").json()
    assert listed == {
        "id": "crm",
        "name": "My CRM",
        "version": "1.0.0",
        "status": "installed",
        "type": "app",
        "icon": None,
        "hasFrontend": False,
        "url": None,
        "entities": ["contacts", "deals"],
    }


def test_a_record_through_all_five_routes(alice):
    answer = alice.post(CONTACTS, json=CONTACT)
    assert answer.status_code == 201
    made = answer.json()
    assert list(made) == ["id", *CONTACT, "created_at", "updated_at"]
    assert {name: made[name] for name in CONTACT} == CONTACT
    assert UUID.fullmatch(made["id"])
    assert RECORD_TIME.fullmatch(made["created_at"])
    assert made["updated_at"] == made["created_at"]
    assert made in alice.get(CONTACTS).json()
    path = f"{CONTACTS}/{made['id']}"
    assert alice.get(path).json() == made
    changed = alice.patch(path, json={"email": "a@acme.com"}).json()
    assert changed | {"updated_at": "", "email": ""} == made | {"updated_at": "", "email": ""}
    assert changed["email"] == "a@acme.com"
    assert alice.delete(path).json() == {"message": f"record '{made['id']}' deleted"}
    assert_error(alice.get(path), 404)


def test_secrets_are_set_listed_and_deleted(alice):
    path = f"{CRM}/secrets"
    for key in ("STRIPE_SECRET_KEY", "OPENAI_API_KEY", "SMTP_PASSWORD"):
        answer = alice.post(path, json={"key": key, "value": "sk-0123456789"})
        assert (answer.status_code, answer.json()) == (200, {"message": f"secret '{key}' set"})
    assert alice.get(path).json() == ["OPENAI_API_KEY", "SMTP_PASSWORD", "STRIPE_SECRET_KEY"]
    assert alice.delete(f"{path}/SMTP_PASSWORD").status_code == 200
    assert alice.get(path).json() == ["OPENAI_API_KEY", "STRIPE_SECRET_KEY"]


def test_platform_secrets_are_set_listed_and_deleted(alice):
    path = f"{API}/platform/secrets"
    assert alice.post(path, json={"key": "SHARED", "value": "sk-0123456789"}).status_code == 200
    assert alice.get(path).json() == ["SHARED"]
    assert alice.delete(f"{path}/SHARED").status_code == 200
    assert alice.get(path).json() == []


def test_the_admin_holds_every_permission_by_its_name(server, alice):
    bob = server.user("bob")
    body = {"userId": bob.id, "role": "admin"}
    assert alice.post(f"{CRM}/roles/assign", json=body).status_code == 200
    held = {"roles": ["admin"], "permissions": PERMISSIONS}
    assert bob.get(f"{CRM}/permissions").json() == held
    assert alice.get(f"{CRM}/permissions/{bob.id}").json() == held
    listed = [row["key"] for row in bob.get(f"{CRM}/permissions/available").json()]
    assert listed == PERMISSIONS
    assert bob.id in {row["userId"] for row in bob.get(f"{CRM}/roles/assignments").json()}
    assert alice.post(f"{CRM}/roles/revoke", json=body).status_code == 200
    assert bob.get(f"{CRM}/permissions").json() == {"roles": [], "permissions": []}


def test_a_role_through_all_four_routes(alice):
    path = f"{CRM}/roles"
    body = {"name": "sales", "permissions": ["contacts.read"]}
    assert alice.post(path, json=body).json() == {"message": "role 'sales' created"}
    changed = alice.patch(f"{path}/sales", json={"permissions": ["deals.read"]})
    assert changed.json() == {"message": "role 'sales' updated"}
    found = {role["name"]: role["permissions"] for role in alice.get(path).json()}
    assert found == {"admin": ["*"], "sales": ["deals.read"]}
    assert alice.delete(f"{path}/sales").json() == {"message": "role 'sales' deleted"}


def test_the_audit_row_of_a_change(alice):
    made = alice.post(CONTACTS, json=CONTACT | {"email": "alice@old.com"}).json()
    alice.patch(f"{CONTACTS}/{made['id']}", json={"email": "alice@acme.com"})
    asked = {"app_id": "crm", "entity": "contacts", "limit": 100}
    row = alice.get(f"{API}/audit", params=asked).json()[0]
    assert isinstance(row["id"], int)
    assert (row["table_schema"], row["table_name"]) == ("crm", "contacts")
    assert (row["record_id"], row["operation"]) == (made["id"], "UPDATE")
    assert row["old_record"]["email"] == "alice@old.com"
    assert row["new_record"]["email"] == "alice@acme.com"
    assert RECORD_TIME.fullmatch(row["changed_at"])


def test_the_worker_is_running_and_answers(worker):
    status = worker.get(f"{CRM}/worker/status").json()
    assert (status["app_id"], status["status"]) == ("crm", "running")
    body = {"method": "sendWelcomeEmail", "params": {"contactId": "f47ac10b..."}}
    answer = worker.post(f"{CRM}/rpc", json=body)
    assert (answer.status_code, answer.json()) == (200, {"sent": True})
    body["params"] = {"contactId": None}
    answer = worker.post(f"{CRM}/rpc", json=body)
    assert (answer.status_code, answer.json()) == (
        500, {"error": "Failed to connect to SMTP server"},
    )  # fmt: skip


def test_a_job_from_enqueuing_to_its_result(worker):
    payload = {"type": "send_report", "userId": "..."}
    answer = worker.post(f"{CRM}/jobs", json={"payload": payload})
    assert answer.status_code == 201
    job_id = answer.json()["job_id"]
    assert answer.json() == {"job_id": job_id}

    def seen():
        return worker.get(f"{CRM}/jobs/{job_id}").json()

    job = eventually(lambda: (job := seen())["status"] == "completed" and job, 20, seen)
    assert {name: job[name] for name in list(job)[:7]} == {
        "id": job_id,
        "app_id": "crm",
        "status": "completed",
        "payload": payload,
        "result": {"sent": True},
        "error": None,
        "attempts": 1,
    }
    assert job in worker.get(f"{CRM}/jobs", params={"status": "completed"}).json()


def test_errors_have_the_statuses_of_the_table(server, alice):
    http = server.http
    taken = http.post(f"{API}/auth/register", json=ALICE)
    assert_error(taken, 400)
    assert "already taken" in taken.json()["error"]
    assert_error(alice.post(CONTACTS, content=b"{"), 400)
    assert_error(alice.post(CONTACTS, json={"last_name": "Martin"}), 400)
    assert_error(alice.post(f"{API}/apps", json={"appId": "crm"}), 400)
    assert_error(http.get(CONTACTS), 401)
    assert_error(http.get(CONTACTS, headers={"authorization": "Bearer eyJ"}), 401)
    assert_error(server.user().get(CONTACTS), 403)
    assert_error(alice.get(f"{CONTACTS}/f47ac10b-58cc-4372-a567-0e02b2c3d479"), 404)


def test_every_route_of_an_app_refuses_in_one_order(server, alice):
    stranger, checked = server.user(), 0
    filled = {"entity": "contacts", "id": "x", "role": "x", "key": "x", "user_id": "x"}
    for _, route in server.kernel.table.declared():
        if route.needs.kind not in ("entity", "app_user", "app_admin"):
            continue
        path = re.sub(
            r"\{(\w+)\}", lambda name: filled.get(name[1], "{" + name[1] + "}"), route.path
        )
        known, unknown = (path.replace("{app_id}", app_id) for app_id in ("crm", "nope"))
        body = {"content": b"{", "headers": {"content-type": "application/json"}}
        assert_error(server.http.request(route.method, unknown, **body), 401)
        assert_error(stranger.request(route.method, unknown, **body), 404)
        assert_error(alice.request(route.method, unknown, **body), 404)
        assert_error(stranger.request(route.method, known, **body), 403)
        if route.body is not None:
            assert_error(alice.request(route.method, known, **body), 400)
        checked += 1
    assert checked >= 25


def test_only_who_has_a_role_learns_that_an_entity_is_unknown(server, alice):
    path = f"{CRM}/collections/nope"
    for asker, status in ((server.http, 401), (server.user(), 403), (alice, 404)):
        assert_error(asker.get(path), status)
        assert_error(asker.post(path, content=b"{"), status)
        assert_error(asker.post(f"{path}/query", content=b"{"), status)
        assert_error(asker.post(f"{path}/bulk", content=b"{"), status)
        assert_error(asker.patch(f"{path}/x", content=b"{"), status)
        assert_error(asker.delete(f"{path}/x"), status)
