"""API keys and service accounts, over HTTP."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyotp
import pytest

from kernel.config.log import mask
from kernel.testing import Client, Postgres, Server, running_server
from tests.waiting import eventually

KEYS = "/api/v1/auth/keys"
ME = "/api/v1/auth/me"
APPS = "/api/v1/apps"
FIELDS = [
    {"name": "title", "type": "text"},
    {"name": "amount", "type": "number", "access": {"read": ["boss"], "write": ["boss"]}},
]
LIMITED = {"error": "the API key does not allow this"}
NOT_HELD = {
    "error": "apps and permissions must name what the owner of the key has now, at least one each"
}
NOT_BY_KEY = {"error": "an API key may not do this: sign in"}


OPENED: list[httpx.Client] = []
"""Clients that are closed at the end."""


@pytest.fixture(scope="module")
def server(postgres: Postgres):
    with running_server(postgres) as running:
        for app in ("crm", "shop"):
            contract = [{"entityName": name, "fields": FIELDS} for name in ("deals", "notes")]
            running.install({"appId": app, "name": app, "dataContract": contract})
        yield running
    for client in OPENED:
        client.close()


def make(client: Client, **members: Any) -> dict[str, Any]:
    """Make a key of a caller."""
    answer = client.post(KEYS, json={"name": "script", **members})
    assert answer.status_code == 201, answer.text
    return answer.json()


def using(server: Server, key: str | dict[str, Any]) -> httpx.Client:
    """A client that sends a key as a bearer token."""
    text = key if isinstance(key, str) else key["key"]
    client = httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {text}"})
    OPENED.append(client)
    return client


def key_of(server: Server, client: Client, **members: Any) -> httpx.Client:
    """A client that sends a new key of a caller."""
    return using(server, make(client, **members))


def seller(server: Server, *keys: str) -> Client:
    """A user with a role on crm."""
    user = server.user()
    server.grant(user, "crm", *keys)
    return user


def records(app: str = "crm", entity: str = "deals") -> str:
    return f"{APPS}/{app}/collections/{entity}"


def basic(key: str, name: str = "reader") -> str:
    return "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()


# --- making, listing, deleting


def test_a_key_is_shown_once(server: Server):
    user = server.user()
    made = make(user, expires="2100-01-01T00:00:00Z", name=" sheets ")
    assert made.keys() == {"id", "name", "key", "prefix", "created_at", "expires"}
    assert re.fullmatch(r"cdx_[0-9A-Za-z]{49}", made["key"])
    assert made["key"].startswith(made["prefix"])
    assert made["name"] == "sheets"
    assert made["expires"] == "2100-01-01T00:00:00+00:00"
    rows = user.get(KEYS).json()
    assert rows == [
        {
            "id": made["id"], "name": "sheets", "prefix": made["prefix"], "apps": None,
            "permissions": None, "created_at": made["created_at"], "expires": made["expires"],
            "last_used_at": None, "last_address": None,
        }
    ]  # fmt: skip
    stored = server.sql("select * from caudex_auth.keys where id = %s", made["id"])
    assert made["key"] not in str(stored)


@pytest.mark.parametrize(
    "members",
    [
        {"name": ""}, {"name": "  "}, {"name": "x" * 101}, {"name": "a\nb"}, {"name": None},
        {"expires": "2001-01-01T00:00:00Z"}, {"expires": "tomorrow"}, {"unknown": 1},
    ],
)  # fmt: skip
def test_bad_members_are_400(server: Server, members: dict[str, Any]):
    answer = server.user().post(KEYS, json={"name": "script", **members})
    assert answer.status_code == 400


def test_a_user_has_a_hundred_keys_at_most(server: Server):
    user = server.user()
    for _ in range(100):
        make(user)
    answer = user.post(KEYS, json={"name": "one more"})
    assert (answer.status_code, "at most 100" in answer.text) == (400, True)


def test_the_key_of_another_is_404(server: Server):
    key = make(server.user())
    for other in (server.user(), server.admin):
        for answer in (
            other.delete(f"{KEYS}/{key['id']}"),
            other.post(f"{KEYS}/{key['id']}/rotate", json={}),
        ):
            assert answer.status_code == 404
    assert using(server, key).get(ME).status_code == 200
    assert server.admin.delete(f"{KEYS}/nothing").status_code == 400


def test_core_admins_list_the_keys_of_a_user(server: Server):
    user, other = server.user(), server.user()
    made = make(user)
    rows = server.admin.get(KEYS, params={"user": user.id}).json()
    assert [row["id"] for row in rows] == [made["id"]]
    assert user.get(KEYS, params={"user": user.id}).json() == rows
    assert other.get(KEYS, params={"user": user.id}).status_code == 403
    assert server.admin.get(KEYS, params={"user": other.id[:-4] + "0000"}).status_code == 404


# --- bearer


def test_a_key_is_taken_like_a_token(server: Server):
    user = seller(server, "deals.*")
    key = key_of(server, user)
    assert key.get(ME).json() == user.get(ME).json()
    made = key.post(records(), json={"title": "x"})
    assert made.status_code == 201
    assert key.get(f"{records()}/{made.json()['id']}").status_code == 200
    assert key.get(f"{records('shop')}").status_code == 403


@pytest.mark.parametrize("text", ["cdx_", "cdx_" + "a" * 49, "cdx_" + "a" * 60, "cdx_ä"])
def test_what_is_no_key_is_401(server: Server, text: str):
    headers = {"authorization": f"Bearer {text}".encode()}
    assert server.http.get(ME, headers=headers).status_code == 401


def test_a_well_formed_key_that_is_unknown_is_401(server: Server):
    key = make(server.user())
    server.sql("delete from caudex_auth.keys where id = %s", key["id"])
    assert using(server, key).get(ME).json() == {"error": "the API key is not valid"}


def test_the_last_use_is_noted(server: Server):
    user = server.user()
    using(server, make(user)).get(ME)
    eventually(lambda: user.get(KEYS).json()[0]["last_used_at"] is not None)
    row = user.get(KEYS).json()[0]
    used = datetime.fromisoformat(row["last_used_at"])
    assert abs(datetime.now(UTC) - used) < timedelta(minutes=1)
    assert row["last_address"] == "127.0.0.1"


def test_a_revoked_key_ends_on_every_server(server: Server, postgres: Postgres):
    user = server.user()
    with running_server(
        postgres, dsn=server.dsn, data_dir=server.kernel.context.data_dir
    ) as second:
        revoke_on_both(user, server, second)
    assert user.get(KEYS).json() == []


@pytest.mark.slow
def test_a_revoked_key_ends_within_a_second_on_every_server(server: Server, postgres: Postgres):
    user = server.user()
    with running_server(
        postgres, dsn=server.dsn, data_dir=server.kernel.context.data_dir
    ) as second:
        assert min(revoke_on_both(user, server, second) for _ in range(3)) < 1


def revoke_on_both(user: Client, server: Server, second: Server) -> float:
    """Revoke a key at one server; return the seconds until the other one refuses it."""
    made = make(user)
    keys = [using(server, made), using(second, made)]
    assert [key.get(ME).status_code for key in keys] == [200, 200]
    began = time.monotonic()
    answer = user.delete(f"{KEYS}/{made['id']}")
    assert answer.json() == {"message": f"key '{made['id']}' revoked"}
    assert keys[0].get(ME).status_code == 401
    eventually(lambda: keys[1].get(ME).status_code == 401)
    return time.monotonic() - began


def test_an_expired_key_ends(server: Server):
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    user = server.user()
    key = key_of(server, user, expires=soon.isoformat())
    is_accepted = key.get(ME).status_code == 200
    assert is_accepted or datetime.now(UTC) > soon
    eventually(lambda: key.get(ME).status_code == 401)


def test_an_open_stream_ends_with_the_key(server: Server):
    user = server.user()
    server.assign(user, "crm", "admin")
    made = make(user)
    with using(server, made).stream("GET", f"{APPS}/crm/logs") as stream:
        assert stream.status_code == 200
        user.delete(f"{KEYS}/{made['id']}")
        for _ in stream.iter_raw():
            pass


def test_keys_outlive_a_password_and_sessions(server: Server):
    user = server.user()
    key = key_of(server, user)
    body = {"current": user.password, "new": "An0therPass!y"}
    assert user.post("/api/v1/auth/password", json=body).is_success
    assert key.get(ME).status_code == 200


def test_keys_end_with_their_account(server: Server):
    user = server.user()
    key = key_of(server, user)
    assert key.get(ME).status_code == 200
    path = f"/api/v1/users/{user.id}"
    assert server.admin.patch(path, json={"disabled": True}).is_success
    assert key.get(ME).status_code == 401
    assert server.admin.patch(path, json={"disabled": False}).is_success
    assert key.get(ME).status_code == 401
    other = server.user()
    key = key_of(server, other)
    assert server.admin.delete(f"/api/v1/users/{other.id}").is_success
    assert key.get(ME).status_code == 401


# --- rotation


def test_a_rotated_key_keeps_its_id(server: Server):
    user = server.user()
    made = make(user)
    path = f"{KEYS}/{made['id']}/rotate"
    answer = user.post(path, json={"overlap": 3600})
    assert answer.status_code == 201
    again = answer.json()
    assert again.keys() == made.keys()
    assert (again["id"], again["created_at"]) == (made["id"], made["created_at"])
    assert using(server, made).get(ME).status_code == 200
    assert using(server, again).get(ME).status_code == 200
    third = user.post(path).json()
    assert using(server, again).get(ME).status_code == 401
    assert using(server, made).get(ME).status_code == 401
    assert using(server, third).get(ME).status_code == 200
    for overlap in (-1, 604_801, "1"):
        assert user.post(path, json={"overlap": overlap}).status_code == 400


def test_the_overlap_ends(server: Server):
    user = server.user()
    made = make(user)
    assert user.post(f"{KEYS}/{made['id']}/rotate", json={"overlap": 1}).status_code == 201
    end = datetime.now(UTC) + timedelta(seconds=1)
    old = using(server, made)
    is_accepted = old.get(ME).status_code == 200
    assert is_accepted or datetime.now(UTC) > end - timedelta(seconds=0.2)
    eventually(lambda: old.get(ME).status_code == 401)


# --- what no key does


def test_a_key_makes_no_keys_and_changes_no_account(server: Server):
    made = make(server.admin)
    key = using(server, made)
    session = server.admin.get("/api/v1/auth/sessions").json()[0]["id"]
    user = server.user()
    totp = "/api/v1/auth/totp"
    body = {"current": "x", "new": "An0therPass!y"}
    for answer in (
        key.post(KEYS, json={"name": "x"}),
        key.post(f"{KEYS}/{made['id']}/rotate", json={}),
        key.post("/api/v1/auth/password", json=body),
        key.post(totp),
        key.post(f"{totp}/confirm", json={"code": "123456"}),
        key.request("DELETE", totp, json={"password": "x"}),
        key.delete(f"/api/v1/auth/sessions/{session}"),
        key.delete(f"/api/v1/users/{user.id}/totp"),
        key.patch(f"/api/v1/users/{user.id}", json={"password": "An0therPass!y"}),
    ):
        assert answer.status_code == 403, answer.request.url
    assert key.patch(f"/api/v1/users/{user.id}", json={"display_name": "U"}).is_success


# --- in an address


@pytest.mark.parametrize("path", [ME, "/health", "/nowhere"])
@pytest.mark.parametrize("spell", [str, lambda key: "%63" + key[1:]])
def test_a_key_in_a_query_is_400_before_authentication(
    server: Server, path: str, spell: Callable[[str], str], capsys: Any
):
    made = make(server.user())
    answer = server.http.get(f"{path}?a=1&api_key={spell(made['key'])}")
    assert (answer.status_code, "must not be part of an address" in answer.text) == (400, True)
    printed = capsys.readouterr().out
    assert f"key={made['id']}" in printed
    assert made["key"] not in printed


def test_a_key_in_a_path_is_masked_in_the_log(server: Server):
    key = make(server.user())["key"]
    assert mask(f"/api/v1/apps/{key}/x") == "/api/v1/apps/[hidden]/x"


def test_a_refusal_is_logged_with_the_key(server: Server, capsys: Any):
    made = make(server.user())
    assert using(server, made).get(records()).status_code == 403
    assert f"key={made['id']}" in capsys.readouterr().out


def test_a_text_like_a_key_is_served(server: Server):
    user = server.user()
    assert user.get(f"{ME}?a=cdx_{'a' * 49}").status_code == 200


# --- basic


def test_basic_takes_a_key_as_its_password(server: Server):
    user = seller(server, "deals.*")
    key = make(user)["key"]
    for name in ("", "reader", "name@example.com"):
        answer = server.http.get(ME, headers={"authorization": basic(key, name)})
        assert answer.json()["id"] == user.id
    headers = {"authorization": basic(key), "accept": "text/csv"}
    answer = server.http.get(records(), headers=headers)
    assert answer.status_code == 200


def test_basic_takes_nothing_else(server: Server):
    user = server.user()
    texts = [
        basic(user.password, user.username),
        basic(user.tokens["accessToken"]),
        "Basic",
        "Basic x",
        "Basic é",
    ]
    for text in texts:
        answer = server.http.get(ME, headers={"authorization": text.encode()})
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("site", "status"),
    [("none", 200), ("same-origin", 401), ("cross-site", 401), ("same-site", 401)],
)
def test_basic_is_never_taken_from_a_page(server: Server, site: str, status: int):
    key = make(server.user())["key"]
    headers = {"authorization": basic(key), "sec-fetch-site": site}
    assert server.http.get(ME, headers=headers).status_code == status


def test_only_a_get_of_a_program_learns_of_basic(server: Server):
    def challenge(method: str, path: str, **headers: str) -> str:
        answer = server.http.request(method, path, headers=headers)
        assert answer.status_code == 401
        return answer.headers["www-authenticate"]

    assert challenge("GET", records()) == 'Bearer, Basic realm="Caudex", charset="UTF-8"'
    assert challenge("GET", records(), authorization="Basic x").startswith("Bearer, Basic")
    assert challenge("GET", records(), **{"sec-fetch-mode": "cors"}) == "Bearer"
    assert challenge("POST", records()) == "Bearer"


# --- narrowing


@pytest.mark.parametrize(
    "members",
    [
        {"apps": []}, {"permissions": []}, {"apps": ["nothing"]}, {"apps": ["shop"]},
        {"apps": ["crm", "shop"]}, {"apps": ["core"]}, {"apps": [""]}, {"apps": ["crm:deals"]},
        {"permissions": ["crm"]}, {"permissions": ["crm:"]}, {"permissions": ["deals.read"]},
        {"permissions": ["crm:deals.delete"]}, {"permissions": ["crm:notes.read"]},
        {"permissions": ["crm:notes.*"]}, {"permissions": ["crm:nothing.read"]},
        {"permissions": ["crm:*.delete"]}, {"permissions": ["shop:*"]},
        {"permissions": ["shop:rpc"]}, {"permissions": ["crm:mail"]},
        {"permissions": ["crm:deals.read", "crm:deals.delete"]}, {"permissions": ["core:*"]},
        {"permissions": ["crm:deals.amount.read"]}, {"permissions": ["crm:deals.read.own.own"]},
        {"permissions": ["crm:core:jobs.read"]}, {"apps": ["crm"], "permissions": []},
    ],
)  # fmt: skip
def test_names_that_the_owner_does_not_hold_are_400_in_the_same_words(
    server: Server, members: dict[str, Any]
):
    user = seller(server, "deals.read", "deals.update.own")
    answer = user.post(KEYS, json={"name": "x", **members})
    assert (answer.status_code, answer.json()) == (400, NOT_HELD)


@pytest.mark.parametrize(
    "permission",
    ["deals.read", "deals.read.own", "deals.update", "deals.*", "deals.*.own", "*.read", "*.*",
     "*.update.own", "rpc", "jobs", "*"],
)  # fmt: skip
def test_names_that_the_owner_holds_are_taken(server: Server, permission: str):
    user = seller(server, "deals.read", "deals.update.own")
    make(user, apps=["crm"], permissions=[f"crm:{permission}"])


def test_a_key_for_apps_reaches_these(server: Server):
    key = key_of(server, server.admin, apps=["crm"])
    assert key.get(records()).status_code == 200
    assert key.get(f"{APPS}/crm/roles/assignments").status_code == 200
    assert key.get(ME).json()["id"] == server.admin.id
    assert [app["id"] for app in key.get(APPS).json()] == ["crm"]
    for path in (
        records("shop"), f"{APPS}/shop", f"{APPS}/shop/permissions", f"{APPS}/core/roles",
        f"{APPS}/shop/roles/assignments", "/api/v1/users", "/api/v1/status", "/api/v1/plugins",
        "/api/v1/audit", "/api/v1/audit?app_id=shop", "/api/v1/console/settings", KEYS,
        f"/api/v1/permissions/explain?user={server.admin.id}&app=crm&action=deals.read",
    ):  # fmt: skip
        assert key.get(path).status_code == 403, path
    manifest = {"appId": "crm", "name": "crm", "dataContract": []}
    assert key.post(APPS, json=manifest).status_code == 403
    assert key.post("/api/v1/users/service", json={"username": "x"}).status_code == 403
    assert key.patch(f"/api/v1/users/{server.admin.id}", json={"email": None}).status_code == 403


def test_a_key_for_core_reaches_routes_without_an_app(server: Server):
    key = key_of(server, server.admin, apps=["core"])
    for path in ("/api/v1/users", "/api/v1/status", "/api/v1/plugins", KEYS):
        assert key.get(path).status_code == 200, path
    assert key.get(APPS).json() == []
    assert key.get(records()).status_code == 403
    assert key.get("/api/v1/audit?app_id=crm").status_code == 403
    assert key.get("/api/v1/audit?app_id=core").status_code == 200
    manifest = {"appId": "crm", "name": "crm", "dataContract": []}
    assert key.post(APPS, json=manifest).status_code == 403


def test_a_key_for_permissions_has_these(server: Server):
    key = key_of(server, server.admin, permissions=["crm:deals.read", "crm:notes.*"])
    assert key.get(records()).status_code == 200
    assert key.post(records(), json={"title": "x"}).json() == LIMITED
    assert key.post(records(entity="notes"), json={"title": "x"}).status_code == 201
    shown = key.get(f"{APPS}/crm/permissions").json()
    assert shown["roles"] == []
    notes = [f"notes.{action}" for action in ("create", "read", "update", "delete")]
    assert {"deals.read", *notes} <= {*shown["permissions"]}
    assert "deals.amount.read" not in shown["permissions"]
    assert key.get(records("shop")).status_code == 403
    for path in (f"{APPS}/crm/roles/assignments", f"{APPS}/crm/jobs", f"{APPS}/crm/manifest"):
        assert key.get(path).status_code == 403, path
    assert key.post(f"{APPS}/crm/rpc", json={"method": "x"}).json() == LIMITED
    assert key.delete(f"{APPS}/crm").status_code == 403


def test_apps_and_permissions_must_both_allow(server: Server):
    permissions = ["crm:deals.read", "shop:deals.read"]
    key = key_of(server, server.admin, apps=["shop"], permissions=permissions)
    assert key.get(records("shop")).status_code == 200
    assert key.get(records()).status_code == 403
    assert [app["id"] for app in key.get(APPS).json()] == ["shop"]


def test_everything_of_an_app_includes_its_administration(server: Server):
    key = key_of(server, server.admin, permissions=["crm:*"])
    assert key.get(f"{APPS}/crm/roles/assignments").status_code == 200
    assert key.get(f"{APPS}/crm/jobs").status_code == 200
    assert key.get("/api/v1/users").status_code == 403


def test_words_open_jobs(server: Server):
    key = key_of(server, server.admin, permissions=["crm:jobs"])
    assert key.get(f"{APPS}/crm/jobs").status_code == 200
    assert key.get(records()).status_code == 403
    assert key.post(f"{APPS}/crm/rpc", json={"method": "x"}).json() == LIMITED


def test_own_rows(server: Server):
    first = server.admin.post(records(), json={"title": "of admin"}).json()["id"]
    user = seller(server, "deals.create", "deals.read")
    second = user.post(records(), json={"title": "of user"}).json()["id"]
    key = key_of(server, user, permissions=["crm:deals.read.own"])
    assert key.get(f"{records()}/{first}").status_code == 404
    assert key.get(f"{records()}/{second}").status_code == 200
    narrow = seller(server, "deals.read.own")
    key = key_of(server, narrow, permissions=["crm:deals.read"])
    assert key.get(f"{records()}/{first}").status_code == 404


def test_fields_with_permissions_of_their_own(server: Server):
    admin = server.admin
    record = admin.post(records(), json={"title": "x", "amount": 3}).json()["id"]
    path = f"{records()}/{record}"
    plain = key_of(server, admin, permissions=["crm:deals.read", "crm:deals.update"])
    assert "amount" not in plain.get(path).json()
    assert plain.patch(path, json={"amount": 4}).status_code == 400
    reading = ["crm:deals.read", "crm:deals.amount.read"]
    assert key_of(server, admin, permissions=reading).get(path).json()["amount"] == 3
    every = ["crm:*.read", "crm:*.amount.read"]
    assert key_of(server, admin, permissions=every).get(path).json()["amount"] == 3
    assert key_of(server, admin, permissions=["crm:deals.*"]).get(path).json()["amount"] == 3


def test_a_key_is_never_wider_than_its_owner(server: Server):
    user = seller(server, "deals.read", "deals.delete")
    key = key_of(server, user, permissions=["crm:deals.*"])
    record = server.admin.post(records(), json={"title": "x"}).json()["id"]
    assert key.get(f"{records()}/{record}").status_code == 200
    assert key.patch(f"{records()}/{record}", json={"title": "y"}).status_code == 403
    server.grant(user, "crm", "deals.update")
    assert key.patch(f"{records()}/{record}", json={"title": "y"}).status_code == 200
    for assignment in server.admin.get(f"{APPS}/crm/roles/assignments").json():
        if assignment["userId"] == user.id:
            body = {"userId": user.id, "role": assignment["role"]}
            assert server.admin.post(f"{APPS}/crm/roles/revoke", json=body).is_success
    assert key.get(f"{records()}/{record}").status_code == 403


# --- audit


def test_the_audit_trail_has_the_key(server: Server):
    made = make(server.admin)
    key = using(server, made)
    record = key.post(records(), json={"title": "x"}).json()["id"]
    assert key.patch(f"{records()}/{record}", json={"title": "y"}).is_success
    assert key.patch(f"/api/v1/users/{server.user().id}", json={"display_name": "z"}).is_success
    rows = server.admin.get("/api/v1/audit", params={"record_id": record}).json()
    assert [(row["operation"], row["key"]) for row in rows] == [
        ("UPDATE", made["id"]), ("INSERT", made["id"])
    ]  # fmt: skip
    assert {row["actor_id"] for row in rows} == {server.admin.id}
    updated = server.admin.get("/api/v1/audit?operation=USER_UPDATED&limit=1").json()
    assert updated[0]["key"] == made["id"]
    by_token = server.admin.post(records(), json={"title": "x"}).json()["id"]
    rows = server.admin.get("/api/v1/audit", params={"record_id": by_token}).json()
    assert "key" not in rows[0]
    created = server.admin.get("/api/v1/audit", params={"record_id": made["id"]}).json()
    assert created[0]["operation"] == "KEY_CREATED"
    assert made["key"] not in str(created)


def test_idempotency_is_for_each_key(server: Server):
    user = seller(server, "deals.*")
    clients = [key_of(server, user), key_of(server, user), user]
    headers = {"idempotency-key": "same"}
    ids = set[str]()
    for client in clients:
        first = client.post(records(), json={"title": "x"}, headers=headers).json()
        again = client.post(records(), json={"title": "x"}, headers=headers).json()
        assert first == again
        ids.add(first["id"])
    assert len(ids) == 3


# --- service accounts


def service(server: Server) -> dict[str, Any]:
    number = len(server.admin.get("/api/v1/users").json())
    body = {"username": f"robot{number}", "display_name": "Robot"}
    answer = server.admin.post("/api/v1/users/service", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["user"]


def test_a_service_account_is_listed_with_its_kind(server: Server):
    robot = service(server)
    assert (robot["kind"], robot["display_name"]) == ("service", "Robot")
    kinds = {user["id"]: user["kind"] for user in server.admin.get("/api/v1/users").json()}
    assert kinds[robot["id"]] == "service"
    assert kinds[server.admin.id] == "person"
    assert server.user().post("/api/v1/users/service", json={"username": "x"}).status_code == 403
    again = server.admin.post("/api/v1/users/service", json={"username": robot["username"]})
    assert again.status_code == 400


def test_a_service_account_cannot_sign_in(server: Server):
    robot = service(server)
    body = {"username": robot["username"], "password": "Str0ngPass!x"}
    answer = server.http.post("/api/v1/auth/login", json=body)
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid credentials"})
    path = f"/api/v1/users/{robot['id']}"
    assert server.admin.patch(path, json={"password": "Str0ngPass!x"}).status_code == 400
    assert server.admin.delete(f"{path}/totp").status_code == 400


def test_core_admins_make_and_end_keys_of_service_accounts(server: Server):
    robot = service(server)
    server.admin.post(
        f"{APPS}/crm/roles/assign", json={"userId": robot["id"], "role": "admin"}
    ).raise_for_status()
    made = make(server.admin, user=robot["id"], apps=["crm"])
    key = using(server, made)
    assert key.get(ME).json()["id"] == robot["id"]
    assert key.get(records()).status_code == 200
    rows = server.admin.get(KEYS, params={"user": robot["id"]}).json()
    assert [row["id"] for row in rows] == [made["id"]]
    again = server.admin.post(f"{KEYS}/{made['id']}/rotate", json={})
    assert again.status_code == 201
    assert key.get(ME).status_code == 401
    assert server.user().delete(f"{KEYS}/{made['id']}").status_code == 404
    assert server.admin.delete(f"{KEYS}/{made['id']}").is_success
    assert using(server, again.json()).get(ME).status_code == 401
    user = server.user()
    assert server.admin.post(KEYS, json={"name": "x", "user": user.id}).status_code == 400
    body = {"name": "x", "user": robot["id"]}
    assert user.post(KEYS, json=body).status_code == 403


def test_a_service_account_is_never_the_last_core_admin(server: Server):
    robot = service(server)
    roles = f"{APPS}/core/roles"
    body = {"userId": robot["id"], "role": "admin"}
    assert server.admin.post(f"{roles}/assign", json=body).is_success
    mine = {"userId": server.admin.id, "role": "admin"}
    assert server.admin.post(f"{roles}/revoke", json=mine).status_code == 400
    assert server.admin.delete(f"/api/v1/users/{server.admin.id}").status_code == 400
    assert server.admin.post(f"{roles}/revoke", json=body).is_success


# --- second factor


def test_a_person_with_a_second_factor_sends_a_code(server: Server):
    user = server.user()
    totp = "/api/v1/auth/totp"
    secret = user.post(totp).json()["secret"]
    now = datetime.now(UTC).timestamp()
    codes = user.post(f"{totp}/confirm", json={"code": pyotp.TOTP(secret).at(int(now))}).json()
    answer = user.post(KEYS, json={"name": "x"})
    assert (answer.status_code, answer.json()["secondFactor"]) == (401, True)
    assert user.post(KEYS, json={"name": "x", "code": "000000"}).status_code == 401
    made = make(user, code=codes["recoveryCodes"][0])
    assert using(server, made).get(ME).status_code == 200
    used = {"name": "x", "code": codes["recoveryCodes"][0]}
    assert user.post(KEYS, json=used).status_code == 401


def test_where_a_role_demands_a_factor_a_key_needs_one(server: Server):
    user = seller(server, "deals.read")
    key = key_of(server, user)
    role = {"name": "strict", "permissions": ["deals.read"], "secondFactor": True}
    assert server.admin.post(f"{APPS}/crm/roles", json=role).is_success
    server.assign(user, "crm", "strict")
    answer = key.get(records())
    assert (answer.status_code, answer.json()) == (403, {"error": "second factor must be set up"})
    assert user.post(KEYS, json={"name": "x"}).status_code == 403
    robot = service(server)
    made = make(server.admin, user=robot["id"])
    body = {"userId": robot["id"], "role": "strict"}
    assert server.admin.post(f"{APPS}/crm/roles/assign", json=body).is_success
    assert using(server, made).get(records()).status_code == 200
