"""The own profile, accounts as core admins see them, and sessions that an admin ends."""

import time

import pyotp
import pytest

from kernel.testing import running_server
from tests.waiting import eventually

PASSWORD = "Str0ngPass!x"
PROFILE = "/api/v1/auth/profile"
ACCOUNTS = "/api/v1/users/accounts"
TOTP = "/api/v1/auth/totp"


def account(server, user_id):
    [row] = [row for row in server.admin.get(ACCOUNTS).json() if row["id"] == user_id]
    return row


# --- the own profile


def test_a_user_changes_the_own_name_and_with_the_password_the_email(server):
    user = server.user()
    answer = user.patch(PROFILE, json={"display_name": " Ada "})
    assert answer.json()["displayName"] == "Ada"
    assert user.patch(PROFILE, json={"displayName": None}).json()["displayName"] is None
    email = {"email": "ada@example.org"}
    assert user.patch(PROFILE, json=email).status_code == 400
    wrong = user.patch(PROFILE, json=email | {"password": "Wr0ngPass!xyz"})
    assert (wrong.status_code, wrong.json()) == (400, {"error": "the current password is wrong"})
    right = user.patch(PROFILE, json=email | {"password": PASSWORD})
    assert right.json()["email"] == "ada@example.org"
    assert user.get("/api/v1/auth/me").json()["email"] == "ada@example.org"
    login = {"email": "ada@example.org", "password": PASSWORD}
    assert server.http.post("/api/v1/auth/login", json=login).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "x", "password": PASSWORD},
        {"username": "root"},
        {"disabled": False},
        {"password": "N3wPassword!x"},
        {"display_name": "x" * 201},
        {"display_name": "a\u202eb"},
    ],
)
def test_a_bad_change_of_the_profile_is_refused(server, body):
    user = server.user()
    assert user.patch(PROFILE, json=body).status_code == 400
    assert server.login(user.username).get("/api/v1/auth/me").status_code == 200


def test_an_email_of_another_is_refused(server):
    server.admin.patch(
        f"/api/v1/users/{server.admin.id}", json={"email": "root@example.org"}
    ).raise_for_status()
    body = {"email": "ROOT@example.org", "password": PASSWORD}
    assert server.user().patch(PROFILE, json=body).status_code == 400


def test_a_key_changes_no_profile(server):
    user = server.user()
    key = user.post("/api/v1/auth/keys", json={"name": "script"}).json()["key"]
    headers = {"authorization": f"Bearer {key}"}
    assert (
        server.http.patch(PROFILE, json={"display_name": "x"}, headers=headers).status_code == 403
    )


def test_where_admins_make_accounts_they_change_emails(make_server):
    server = make_server({"plugins": {"auth": {"registration": "first-user"}}})
    body = {"email": "boss@example.org", "password": PASSWORD}
    assert server.admin.patch(PROFILE, json=body).status_code == 403
    assert server.admin.patch(PROFILE, json={"display_name": "Root"}).status_code == 200
    allowed = make_server({"plugins": {"auth": {"registration": "first-user", "own_email": True}}})
    assert allowed.admin.patch(PROFILE, json=body).status_code == 200


def test_guesses_of_the_password_are_counted(postgres):
    config = {"plugins": {"auth": {"rate_limit_logins": True}}}
    with running_server(postgres, config) as server:
        body = {"email": "x@example.org", "password": "Wr0ngPass!xyz"}
        codes = [server.admin.patch(PROFILE, json=body).status_code for _ in range(8)]
        assert codes[:5] == [400] * 5
        assert codes[-1] == 429


# --- accounts


def test_accounts_show_the_last_sign_in_and_what_secures_them(server):
    user = server.user()
    row = account(server, user.id)
    assert row["last_sign_in"] is not None
    assert (row["sessions"], row["keys"], row["second_factor"]) == (1, 0, False)
    user.post("/api/v1/auth/keys", json={"name": "script"}).raise_for_status()
    secret = user.post(TOTP).json()["secret"]
    user.post(f"{TOTP}/confirm", json={"code": pyotp.TOTP(secret).now()}).raise_for_status()
    row = account(server, user.id)
    assert (row["keys"], row["second_factor"]) == (1, True)

    body = {"username": "never", "password": PASSWORD}
    made = server.http.post("/api/v1/auth/register", json=body).json()["user"]
    row = account(server, made["id"])
    assert (row["last_sign_in"], row["sessions"]) == (None, 0)


def test_the_last_sign_in_moves_with_a_later_login(server):
    user = server.user()
    server.sql("update caudex_auth.sign_ins set at = now() - interval '1 day' where user_id = %s",
               user.id)  # fmt: skip
    before = account(server, user.id)["last_sign_in"]
    failed = {"username": user.username, "password": "Wr0ngPass!xyz"}
    assert server.http.post("/api/v1/auth/login", json=failed).status_code == 401
    assert account(server, user.id)["last_sign_in"] == before
    server.login(user.username)
    assert account(server, user.id)["last_sign_in"] > before


def test_accounts_come_in_pages_and_for_core_admins_only(server):
    user = server.user()
    assert user.get(ACCOUNTS).status_code == 403
    assert server.http.get(ACCOUNTS).status_code == 401
    names = [row["username"] for row in server.admin.get(ACCOUNTS).json()]
    pages, path = [], f"{ACCOUNTS}?limit=3"
    while path:
        answer = server.admin.get(path)
        pages += [row["username"] for row in answer.json()]
        path = answer.links.get("next", {}).get("url")
    assert pages == names
    for query in ("limit=0", "after=x", "after=00000000-0000-0000-0000-000000000000"):
        assert server.admin.get(f"{ACCOUNTS}?{query}").status_code == 400


# --- sessions of others


def test_an_admin_ends_all_sessions_of_a_user(server):
    user = server.user()
    again = server.login(user.username)
    path = f"/api/v1/users/{user.id}/sessions"
    assert user.delete(path).status_code == 403
    assert server.admin.delete(path).json() == {"ended": 2}
    eventually(lambda: user.get("/api/v1/auth/me").status_code == 401)
    assert again.get("/api/v1/auth/me").status_code == 401
    refresh = {"refreshToken": user.tokens["refreshToken"]}
    assert server.http.post("/api/v1/auth/refresh", json=refresh).status_code == 401
    assert server.login(user.username).get("/api/v1/auth/me").status_code == 200
    assert server.admin.delete("/api/v1/users/x/sessions").status_code == 400
    unknown = "/api/v1/users/00000000-0000-0000-0000-000000000000/sessions"
    assert server.admin.delete(unknown).status_code == 404


def test_an_admin_keeps_the_present_session(server):
    other = server.login("admin")
    assert server.admin.delete(f"/api/v1/users/{server.admin.id}/sessions").status_code == 200
    assert server.admin.get("/api/v1/auth/me").status_code == 200
    eventually(lambda: other.get("/api/v1/auth/me").status_code == 401)


# --- the second factor


def enrol(client):
    secret = client.post(TOTP).json()["secret"]
    answer = client.post(f"{TOTP}/confirm", json={"code": pyotp.TOTP(secret).now()})
    return secret, answer.json()["recoveryCodes"]


def test_the_state_of_the_second_factor_is_shown(server):
    user = server.user()
    assert user.get(TOTP).json() == {"enabled": False, "recoveryCodes": 0}
    user.post(TOTP)
    assert user.get(TOTP).json() == {"enabled": False, "recoveryCodes": 0}
    enrol(user)
    assert user.get(TOTP).json() == {"enabled": True, "recoveryCodes": 10}
    assert server.http.get(TOTP).status_code == 401


def test_recovery_codes_are_renewed_by_a_code(server):
    user = server.user()
    path = f"{TOTP}/recovery-codes"
    assert user.post(path, json={"code": "123456"}).status_code == 404
    secret, codes = enrol(user)
    assert user.post(path, json={"code": "000000"}).status_code == 401
    assert user.post(path, json={"code": ""}).status_code == 401
    answer = user.post(path, json={"code": codes[0]})
    assert answer.status_code == 200
    new_codes = answer.json()["recoveryCodes"]
    assert len(new_codes) == 10
    assert not set(new_codes) & set(codes)
    login = {"username": user.username, "password": PASSWORD}
    refused = server.http.post("/api/v1/auth/login", json=login | {"code": codes[1]})
    assert refused.status_code == 401
    accepted = server.http.post("/api/v1/auth/login", json=login | {"code": new_codes[0]})
    assert accepted.status_code == 200
    used = pyotp.TOTP(secret).at(int(time.time()))
    server.sql("update caudex_auth.totp set last_step = 0 where user_id = %s", user.id)
    assert user.post(path, json={"code": used}).status_code == 200
    assert user.post(path, json={"code": used}).status_code == 401


# --- assignments of several apps


def test_assignments_are_shown_of_the_apps_that_a_caller_administers(server):
    for app_id in ("one", "two"):
        server.install({"appId": app_id, "name": app_id.title()})
    admin = server.user(roles={"one": ["admin"]})
    plain = server.user()
    path = "/api/v1/permissions/assignments"
    assert plain.get(path).json() == []
    assert {(row["app"], row["role"]) for row in admin.get(path).json()} == {("one", "admin")}
    assert {row["app"] for row in server.admin.get(path).json()} >= {"core", "one", "two"}
    held = [row for row in server.admin.get(path).json() if row["userId"] == admin.id]
    assert [(row["app"], row["role"]) for row in held] == [("one", "admin")]
    assert server.http.get(path).status_code == 401
