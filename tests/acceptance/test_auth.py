"""Accounts, logins and tokens, as clients meet them."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.waiting import eventually

PASSWORD = "Str0ngPass!x"
USER_KEYS = {
    "id", "username", "email", "display_name", "created_at", "displayName", "createdAt", "kind"
}  # fmt: skip
AUTH = "/api/v1/auth"


@pytest.fixture(scope="module", autouse=True)
def admin(server):
    """The first to register is the admin, before any test registers someone."""
    return server.admin


def register(server, **body):
    return server.http.post(f"{AUTH}/register", json={"password": PASSWORD, **body})


def login(server, username, password=PASSWORD, **more):
    body = {"username": username, "password": password}
    return server.http.post(f"{AUTH}/login", json=body, **more)


def refresh(server, token):
    return server.http.post(f"{AUTH}/refresh", json={"refreshToken": token})


def logout(server, token):
    return server.http.post(f"{AUTH}/logout", json={"refreshToken": token})


def me(server, access):
    return server.http.get(f"{AUTH}/me", headers={"authorization": f"Bearer {access}"})


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    for word in words:
        assert word in answer.json()["error"]


# Registration


@pytest.mark.slow
def test_mode_says_that_setup_is_required_until_someone_has_registered(make_server):
    server = make_server()
    assert server.http.get(f"{AUTH}/mode").json()["setupRequired"] is True
    assert server.admin.username == "admin"
    assert server.http.get(f"{AUTH}/mode").json()["setupRequired"] is False


def test_a_registration_answers_with_the_user_and_no_tokens(server):
    answer = register(
        server, username="  carla ", email="carla@example.com", display_name="Carla Martin"
    )
    assert answer.status_code == 201
    assert set(answer.json()) == {"user"}
    user = answer.json()["user"]
    assert set(user) == USER_KEYS
    assert user["username"] == "carla"
    assert user["email"] == "carla@example.com"
    assert user["display_name"] == user["displayName"] == "Carla Martin"
    assert user["created_at"] == user["createdAt"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", user["created_at"])


def test_display_name_may_be_written_in_camel_case(server):
    user = register(server, username="camel", displayName="Camel Case").json()["user"]
    assert user["display_name"] == "Camel Case"


def test_optional_members_are_null(server):
    user = register(server, username="plain").json()["user"]
    assert user["email"] is user["display_name"] is user["displayName"] is None


def test_where_only_an_email_is_given_it_is_the_username(server):
    user = register(server, email="only@example.com").json()["user"]
    assert user["username"] == user["email"] == "only@example.com"
    assert login(server, "ONLY@example.com").status_code == 200


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"username": "taken"}, "username"),
        ({"username": " TAKEN "}, "username"),
        ({"username": "other", "email": "Taken@Example.com"}, "email"),
        ({"username": "taken@example.com"}, "username"),
        ({"email": "taken@example.com"}, "email"),
    ],
)
def test_a_duplicate_names_the_right_field(server, body, word):
    register(server, username="taken", email="taken@example.com")
    refused(register(server, **body), 400, "already taken", word)


def test_an_email_that_is_another_accounts_username_is_a_duplicate(server):
    register(server, username="name@example.com")
    refused(register(server, username="z1", email="name@example.com"), 400, "email", "taken")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": ""},
        {"username": "   "},
        {"username": "x" * 65},
        {"username": "a\u202eb"},
        {"username": "a\nb"},
        {"username": "nul\0"},
        {"username": 1},
        {"username": ["a"]},
        {"username": {"$ne": ""}},
        {"username": "e1", "email": "nonsense"},
        {"username": "e2", "email": 5},
        {"username": "p1", "password": None},
        {"username": "p2", "password": "short"},
        {"username": "p3", "password": "alllowercase1"},
        {"username": "p4", "password": "ALLUPPERCASE1"},
        {"username": "p5", "password": "NoDigitsHere"},
        {"username": "p6", "password": "Aa1" * 400},
        {"username": "Passw0rdName", "password": "Passw0rdName"},
        {"username": "d1", "display_name": "a\u202eb"},
    ],
)
def test_a_bad_registration_is_a_clear_400(server, body):
    refused(register(server, **body), 400)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b'{"username": "\xff"}', b'{"username": "\\ud800"}', b"[" * 9999],
)
@pytest.mark.parametrize("path", ["register", "login", "refresh", "logout"])
def test_a_body_that_is_no_json_object_is_a_clear_400(server, path, raw):
    headers = {"content-type": "application/json"}
    refused(server.http.post(f"{AUTH}/{path}", content=raw, headers=headers), 400)


@pytest.mark.parametrize("path", ["register", "login", "refresh", "logout"])
def test_a_body_over_64_kilobytes_is_refused(server, path):
    body = {"username": "big", "password": "A" * 70_000, "refreshToken": "x"}
    refused(server.http.post(f"{AUTH}/{path}", json=body), 413)


def test_members_that_only_the_server_sets_are_dropped(server):
    wish = {
        "id": "00000000-0000-4000-8000-000000000000",
        "is_admin": True,
        "role": "admin",
        "created_at": "2000-01-01T00:00:00+00:00",
        "disabled": True,
        "password_hash": "x",
    }
    user = register(server, username="modest", **wish).json()["user"]
    assert user["id"] != wish["id"]
    assert not user["created_at"].startswith("2000")
    assert server.login("modest").patch(f"/api/v1/users/{user['id']}", json={}).status_code == 403


@pytest.mark.slow
def test_of_many_who_register_at_once_exactly_one_is_admin(make_server):
    from kernel.public import ACCESS

    server = make_server()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: register(server, username=f"racer{n}"), range(20)))
    assert [answer.status_code for answer in answers] == [201] * 20
    access = server.services.get(ACCESS)
    ids = [answer.json()["user"]["id"] for answer in answers]
    assert [server.run(access.is_core_admin, user_id) for user_id in ids].count(True) == 1


def test_of_many_who_want_one_name_exactly_one_gets_it(server):
    def attempt(number):
        # Half of them want it as an email.
        name = "race@example.com"
        body = {"username": name} if number % 2 else {"username": f"r{number}", "email": name}
        return register(server, **body).status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(attempt, range(12)))
    assert sorted(statuses) == [201] + [400] * 11


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["closed", "first-user"])
def test_closed_registration_lets_core_admins_register_others(make_server, mode):
    server = make_server({"plugins": {"auth": {"registration": mode}}})
    if mode == "closed":
        refused(register(server, username="early"), 403, "closed")
        opened = make_server(dsn=server.dsn, data_dir=server.kernel.context.data_dir)
        opened.admin.close()
        admin = server.login("admin")
        # That someone is admin is news here: he was registered at the other server.
        assignments = "/api/v1/apps/core/roles/assignments"
        eventually(lambda: admin.get(assignments).status_code == 200)
    else:
        admin = server.admin
    refused(register(server, username="late"), 403, "closed")
    body = {"username": "guest", "password": PASSWORD}
    assert admin.post(f"{AUTH}/register", json=body).status_code == 201
    guest = server.login("guest")  # with a password that the admin has set
    change = {"current": PASSWORD, "new": f"{PASSWORD}2"}
    assert guest.post(f"{AUTH}/password", json=change).status_code == 200
    body["username"] = "friend"
    refused(guest.post(f"{AUTH}/register", json=body), 403, "closed")
    bad = {"authorization": "Bearer nonsense"}
    refused(server.http.post(f"{AUTH}/register", json=body, headers=bad), 401)


def test_an_old_token_does_not_prevent_a_registration(server):
    body = {"username": "stale", "password": PASSWORD}
    bad = {"authorization": "Bearer nonsense"}
    assert server.http.post(f"{AUTH}/register", json=body, headers=bad).status_code == 201


# Login


def test_a_login_answers_as_the_contract_says(server):
    registered = register(server, username="dora", email="dora@example.com").json()["user"]
    answer = login(server, "dora")
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"accessToken", "refreshToken", "expiresIn", "user"}
    assert body["expiresIn"] == 900
    assert body["user"] == registered
    assert me(server, body["accessToken"]).json() == registered
    assert answer.headers["cache-control"] == "no-store"


def test_a_login_takes_the_email_in_place_of_the_username(server):
    register(server, username="Emil", email="emil@example.com")
    for body in ({"email": "EMIL@example.com"}, {"username": "emil@example.com"},
                 {"username": " eMIL "}):  # fmt: skip
        answer = server.http.post(f"{AUTH}/login", json={"password": PASSWORD, **body})
        assert answer.status_code == 200, body
    refused(server.http.post(f"{AUTH}/login", json={"password": PASSWORD}), 400, "username")


def test_every_failed_login_says_the_same(server):
    user = server.user()
    closed = server.user()
    server.admin.patch(f"/api/v1/users/{closed.id}", json={"disabled": True})
    answers = [
        login(server, user.username, "Wr0ngPass!xyz"),
        login(server, user.username, PASSWORD + " "),
        login(server, user.username, PASSWORD.swapcase()),
        login(server, user.username, ""),
        login(server, user.username, "A" * 5000),
        login(server, "no-such-user"),
        login(server, "x" * 500),
        login(server, "' or 1=1 --"),
        login(server, closed.username),
    ]
    assert {(a.status_code, a.text) for a in answers} == {(401, '{"error":"invalid credentials"}')}


@pytest.mark.parametrize(
    "body", [{"username": {"$gt": ""}}, {"username": None}, {"username": ["admin"]},
             {"username": "admin", "password": None}, {"username": "admin", "password": 1}]
)  # fmt: skip
def test_credentials_of_the_wrong_type_are_a_400(server, body):
    refused(server.http.post(f"{AUTH}/login", json={"password": PASSWORD, **body}), 400)


def test_an_old_hash_is_upgraded_at_login(dear_hashes, server):
    from nacl.pwhash import argon2id

    user = server.user()
    weak = argon2id.str(PASSWORD.encode(), opslimit=1, memlimit=8192 * 1024).decode()
    server.sql("update caudex_auth.users set password_hash = %s where id = %s", weak, user.id)
    assert login(server, user.username).status_code == 200
    [(phc,)] = server.sql("select password_hash from caudex_auth.users where id = %s", user.id)
    assert phc.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert login(server, user.username).status_code == 200


# Tokens on protected routes


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Basic YTpi", "bearer {}", "Bearer {} {}", "Bearer {},", "{}",
     "Bearer  {}"],
)  # fmt: skip
def test_only_one_exact_bearer_token_is_taken(server, header):
    user = server.user()
    sent = {"authorization": header.replace("{}", user.tokens["accessToken"])}
    refused(server.http.get(f"{AUTH}/me", headers=sent), 401)


def test_two_authorization_headers_are_none(server):
    token = f"Bearer {server.user().tokens['accessToken']}"
    headers = [("authorization", token), ("authorization", token)]
    refused(server.http.get(f"{AUTH}/me", headers=headers), 401)


def test_a_token_elsewhere_is_no_token(server):
    user = server.user()
    token = user.tokens["accessToken"]
    refused(server.http.get(f"{AUTH}/me", params={"access_token": token}), 401)
    refused(server.http.get(f"{AUTH}/me", headers={"cookie": f"accessToken={token}"}), 401)
    refused(server.http.get(f"{AUTH}/me", headers={"x-user-id": user.id}), 401)


def test_the_kinds_of_token_do_not_pass_for_each_other(server):
    tokens = server.user().tokens
    refused(me(server, tokens["refreshToken"]), 401)
    refused(refresh(server, tokens["accessToken"]), 401)
    refused(logout(server, tokens["accessToken"]), 401)


def test_a_huge_token_is_refused(server):
    refused(me(server, "a." * 5000 + "b"), 401)
    refused(refresh(server, "a" * 60_000), 401)


def test_a_token_of_another_key_is_refused(server, make_server):
    other = make_server()
    refused(me(server, other.admin.tokens["accessToken"]), 401)


# Refresh and logout


def test_a_refresh_needs_no_bearer_and_brings_a_successor(server):
    user = server.user()
    answer = refresh(server, user.tokens["refreshToken"])
    assert answer.status_code == 200
    assert set(answer.json()) == {"accessToken", "expiresIn", "refreshToken"}
    assert answer.json()["expiresIn"] == 900
    assert answer.json()["refreshToken"] != user.tokens["refreshToken"]
    assert me(server, answer.json()["accessToken"]).json()["id"] == user.id


def test_a_client_that_ignores_the_successor_goes_on_working(server):
    token = server.user().tokens["refreshToken"]
    for _ in range(5):
        assert refresh(server, token).status_code == 200


def test_a_client_that_rotates_goes_on_working(server):
    token = server.user().tokens["refreshToken"]
    for _ in range(6):
        token = refresh(server, token).json()["refreshToken"]
    assert refresh(server, token).status_code == 200


def test_the_parent_answers_for_thirty_seconds_after_its_successor_was_used(server):
    user = server.user()
    first = user.tokens["refreshToken"]
    second = refresh(server, first).json()["refreshToken"]
    assert refresh(server, second).status_code == 200
    late = refresh(server, first)
    assert late.status_code == 200
    assert refresh(server, late.json()["refreshToken"]).status_code == 200
    _age(server, user, 20)  # and some seconds may have passed already
    assert refresh(server, first).status_code == 200
    _age(server, user, 11)
    refused(refresh(server, first), 401, "session revoked")
    refused(refresh(server, second), 401, "session revoked")
    refused(me(server, user.tokens["accessToken"]), 401)


def _age(server, user, seconds):
    server.sql(
        "update caudex_auth.sessions set advanced_at = advanced_at - make_interval(secs => %s)"
        " where user_id = %s", seconds, user.id
    )  # fmt: skip


def test_a_grandparent_ends_the_whole_family_at_once(server):
    user = server.user()
    first = user.tokens["refreshToken"]
    second = refresh(server, first).json()["refreshToken"]
    third = refresh(server, second).json()["refreshToken"]
    assert refresh(server, third).status_code == 200
    refused(refresh(server, first), 401, "session revoked")
    refused(refresh(server, third), 401, "session revoked")
    other = server.login(user.username)
    assert me(server, other.tokens["accessToken"]).status_code == 200


def test_parallel_refreshes_of_one_token_all_succeed(server):
    token = server.user().tokens["refreshToken"]
    for _ in range(3):
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda _, t=token: refresh(server, t), range(10)))
        assert [answer.status_code for answer in answers] == [200] * 10
        token = answers[-1].json()["refreshToken"]


def test_two_tabs_that_race_through_a_chain_stay_signed_in(server):
    token = server.user().tokens["refreshToken"]

    def tab(_):
        mine = token
        for _ in range(5):
            answer = refresh(server, mine)
            if answer.status_code == 200:
                mine = answer.json()["refreshToken"]
            yield answer.status_code

    # In step, as tabs with one timer are.
    assert {status for pair in zip(tab(0), tab(1), strict=True) for status in pair} == {200}


def test_rotation_can_be_switched_off(make_server):
    server = make_server({"plugins": {"auth": {"rotate_refresh": False}}})
    token = server.admin.tokens["refreshToken"]
    for _ in range(3):
        answer = refresh(server, token)
        assert set(answer.json()) == {"accessToken", "expiresIn"}


def test_logout_ends_refresh_and_access_at_once(server):
    user = server.user()
    answer = logout(server, user.tokens["refreshToken"])
    assert (answer.status_code, answer.json()) == (200, {"message": "logged out"})
    refused(me(server, user.tokens["accessToken"]), 401)
    refused(refresh(server, user.tokens["refreshToken"]), 401, "session revoked")
    refused(logout(server, user.tokens["refreshToken"]), 401, "session revoked")


def test_logout_ends_no_other_session(server):
    user = server.user()
    other = server.login(user.username)
    logout(server, user.tokens["refreshToken"])
    assert me(server, other.tokens["accessToken"]).status_code == 200
    assert refresh(server, other.tokens["refreshToken"]).status_code == 200


def test_a_session_that_has_expired_says_so(server):
    user = server.user()
    server.sql("update caudex_auth.sessions set expires_at = now() where user_id = %s", user.id)
    refused(refresh(server, user.tokens["refreshToken"]), 401, "expired")


@pytest.mark.slow
def test_logout_reaches_every_server_process_within_a_second(make_server):
    here = make_server()
    there = make_server(dsn=here.dsn, data_dir=here.kernel.context.data_dir)

    def seconds():
        user = here.user()
        access = user.tokens["accessToken"]
        assert me(there, access).status_code == 200  # and is remembered there now
        logout(here, user.tokens["refreshToken"])
        refused(me(here, access), 401)
        return _seconds_until(lambda: me(there, access).status_code == 401)

    assert min(seconds() for _ in range(3)) < 1  # a machine may be busy once


@pytest.mark.slow
def test_a_disabled_user_is_out_everywhere_within_a_second(make_server):
    here = make_server()
    there = make_server(dsn=here.dsn, data_dir=here.kernel.context.data_dir)

    def seconds():
        user = here.user()
        access = user.tokens["accessToken"]
        assert me(there, access).status_code == 200
        here.admin.patch(f"/api/v1/users/{user.id}", json={"disabled": True})
        took = _seconds_until(lambda: me(there, access).status_code == 401)
        here.admin.patch(f"/api/v1/users/{user.id}", json={"disabled": False})
        refused(refresh(there, user.tokens["refreshToken"]), 401, "session revoked")
        assert login(there, user.username).status_code == 200
        return took

    assert min(seconds() for _ in range(3)) < 1


def _seconds_until(happened):
    began = time.monotonic()
    eventually(happened, 20)
    return time.monotonic() - began


# One's own account


def test_me_is_the_bare_user(server):
    user = server.user()
    assert set(user.get(f"{AUTH}/me").json()) == USER_KEYS


def test_sessions_are_listed_and_ended_one_by_one(server):
    user = server.user()
    login(server, user.username, headers={"user-agent": "Browser/1.0"})
    first, second = user.get(f"{AUTH}/sessions").json()
    assert set(first) == {
        "id", "created_at", "last_used_at", "address", "user_agent", "current"
    }  # fmt: skip
    assert (first["user_agent"], first["current"], second["current"]) == (
        "Browser/1.0",
        False,
        True,
    )
    assert first["address"] == "127.0.0.1"
    assert user.delete(f"{AUTH}/sessions/{first['id']}").status_code == 200
    refused(user.delete(f"{AUTH}/sessions/{first['id']}"), 404)
    assert [s["id"] for s in user.get(f"{AUTH}/sessions").json()] == [second["id"]]
    assert user.delete(f"{AUTH}/sessions/{second['id']}").status_code == 200
    refused(user.get(f"{AUTH}/sessions"), 401, "session revoked")


def test_anothers_session_does_not_exist(server):
    user, other = server.user(), server.user()
    [session] = other.get(f"{AUTH}/sessions").json()
    refused(user.delete(f"{AUTH}/sessions/{session['id']}"), 404)
    refused(user.delete(f"{AUTH}/sessions/nonsense"), 400, "must be a UUID")
    assert other.get(f"{AUTH}/me").status_code == 200


def test_a_new_password_ends_the_other_sessions(server):
    user = server.user()
    other = server.login(user.username)
    change = {"current": PASSWORD, "new": "N3wPassword!"}
    refused(user.post(f"{AUTH}/password", json=change | {"current": "Wr0ngPass!x"}), 400, "current")
    refused(user.post(f"{AUTH}/password", json=change | {"new": "weak"}), 400, "password")
    assert user.post(f"{AUTH}/password", json=change).status_code == 200
    assert user.get(f"{AUTH}/me").status_code == 200
    assert refresh(server, user.tokens["refreshToken"]).status_code == 200
    refused(other.get(f"{AUTH}/me"), 401)
    refused(refresh(server, other.tokens["refreshToken"]), 401, "session revoked")
    refused(login(server, user.username), 401)
    assert login(server, user.username, "N3wPassword!").status_code == 200


# Users


def test_any_user_may_list_the_users_by_username(server):
    user = server.user()
    server.user("Zzz")
    users = user.get("/api/v1/users").json()
    names = [u["username"].lower() for u in users]
    assert names == sorted(names)
    assert user.username in names
    assert all(set(u) - {"disabled"} == USER_KEYS for u in users)
    assert "argon2" not in json.dumps(users)


def test_core_admins_change_accounts(server):
    user = server.user()
    path = f"/api/v1/users/{user.id}"
    answer = server.admin.patch(path, json={"displayName": "New Name", "email": "new@example.com"})
    assert answer.status_code == 200
    assert answer.json()["display_name"] == "New Name"
    assert answer.json()["email"] == "new@example.com"
    assert server.admin.patch(path, json={"email": None}).json()["email"] is None
    assert user.get(f"{AUTH}/me").json()["display_name"] == "New Name"
    assert server.admin.patch(path, json={"password": "Adm1nSetThis"}).status_code == 200
    refused(user.get(f"{AUTH}/me"), 401)
    assert login(server, user.username, "Adm1nSetThis").status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"username": "other"}, {"email": "nonsense"}, {"password": "weak"}, {"password": None},
     {"disabled": None}, {"disabled": "yes"}, {"display_name": 5},
     {"display_name": "x", "disable": True}],
)  # fmt: skip
def test_a_bad_change_is_a_clear_400(server, body):
    user = server.user()
    refused(server.admin.patch(f"/api/v1/users/{user.id}", json=body), 400)


def test_a_change_to_a_name_that_is_taken_is_refused(server):
    user, other = server.user(), server.user("holder@example.com")
    path = f"/api/v1/users/{user.id}"
    refused(server.admin.patch(path, json={"email": other.username}), 400, "email", "already taken")


def test_unknown_users_are_not_found(server):
    for name, status in (("00000000-0000-4000-8000-000000000000", 404), ("nonsense", 400)):
        path = f"/api/v1/users/{name}"
        refused(server.admin.patch(path, json={"disabled": True}), status)
        refused(server.admin.delete(path), status)


def test_other_users_change_no_account(server):
    user = server.user()
    path = f"/api/v1/users/{user.id}"
    refused(user.patch(path, json={"disabled": True}), 403)
    refused(user.delete(path), 403)
    refused(server.http.delete(path), 401)


def test_a_deleted_user_is_out_and_the_name_is_free(server):
    user = server.user()
    assert server.admin.delete(f"/api/v1/users/{user.id}").status_code == 200
    refused(user.get(f"{AUTH}/me"), 401)
    refused(refresh(server, user.tokens["refreshToken"]), 401, "session revoked")
    assert register(server, username=user.username).status_code == 201


def test_a_user_whom_records_need_is_not_deleted_but_disabled(server):
    user = server.user()
    link = {
        "name": "owner",
        "type": "entity_link",
        "required": True,
        "on_delete": "restrict",
        "references": {"entity": "core:users", "field": "id"},
    }
    manifest = {
        "appId": "needy",
        "name": "Needy",
        "dataContract": [{"entityName": "things", "fields": [link]}],
    }
    installed = server.admin.post("/api/v1/apps", json=manifest)
    assert installed.status_code == 200, installed.text
    records = "/api/v1/apps/needy/collections/things"
    assert server.admin.post(records, json={"owner": user.id}).status_code == 201
    path = f"/api/v1/users/{user.id}"
    refused(server.admin.delete(path), 400, "refer")
    assert user.get(f"{AUTH}/me").status_code == 200
    assert server.admin.patch(path, json={"disabled": True}).status_code == 200
    refused(user.get(f"{AUTH}/me"), 401)


def test_logins_and_failures_stand_in_the_audit_trail(server):
    user = server.user()
    login(server, user.username, "Wr0ngPass!xyz")
    rows = server.admin.get("/api/v1/audit", params={"app_id": "core", "limit": 20}).json()
    reported = {row["operation"] for row in rows}
    assert {"REGISTER", "LOGIN", "LOGIN_FAILED"} <= reported
    for secret in ("argon2", "eyJ", PASSWORD, "Wr0ngPass"):
        assert secret not in json.dumps(rows)


def test_the_last_core_admin_stays(server):
    path = f"/api/v1/users/{server.admin.id}"
    refused(server.admin.patch(path, json={"disabled": True}), 400)
    refused(server.admin.delete(path), 400)
    assert server.admin.get(f"{AUTH}/me").status_code == 200


def test_every_route_but_the_public_ones_needs_a_token(server):
    public = {"register", "login", "refresh", "logout", "mode", "show", "accept"}  # of an invite
    for _, route in server.kernel.routes:
        if route.path.startswith((AUTH, "/api/v1/users")):
            name = route.path.rsplit("/", 1)[-1]
            answer = server.http.request(route.method, route.path.replace("{id}", "x"))
            assert (answer.status_code == 401) == (name not in public), route
