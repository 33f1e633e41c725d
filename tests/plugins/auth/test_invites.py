"""Invites: made by core admins, used once, for a role, and worth nothing to who guesses."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from kernel.public import STATEMENTS, Plugin, hookimpl
from kernel.testing import running_server
from plugins.auth.maintenance import remove_expired

PASSWORD = "Str0ngPass!x"
INVITES = "/api/v1/users/invites"
SHOW = "/api/v1/auth/invites/show"
ACCEPT = "/api/v1/auth/invites/accept"
REFUSAL = {"error": "the invite is not valid: it was used, has ended or was withdrawn"}
CRM = {
    "appId": "crm",
    "name": "CRM",
    "dataContract": [{"entityName": "notes", "fields": [{"name": "body", "type": "text"}]}],
}
CLOSED = {"plugins": {"auth": {"registration": "first-user"}}}


class MailerPlugin(Plugin):
    """Sends invites, or fails to."""

    name = "mailer"
    sent: ClassVar[list] = []
    answer: object = True

    @hookimpl(optionalhook=True)
    async def invite_created(self, invitation):
        if isinstance(self.answer, Exception):
            raise self.answer
        self.sent.append(invitation)
        return self.answer


@pytest.fixture
def app(server):
    server.install(CRM)
    yield "crm"
    server.admin.delete("/api/v1/apps/crm").raise_for_status()


def invite(client, **body):
    answer = client.post(INVITES, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def accept(server, token, name=None, **more):
    username = name or f"guest-{token[:8].lower()}"
    body = {"token": token, "username": username, "password": PASSWORD, **more}
    return server.http.post(ACCEPT, json=body)


def show(server, token):
    return server.http.post(SHOW, json={"token": token})


def refused(answer):
    assert (answer.status_code, answer.json()) == (403, REFUSAL)


def states(server):
    return {row["id"]: row["state"] for row in server.admin.get(INVITES).json()}


# --- what an invite is good for


def test_a_link_makes_one_account_with_a_role(server, app):
    made = invite(server.admin, app=app, role="admin")
    assert made["link"] == f"{server.url}/console/#invite={made['token']}"
    assert made["sent"] is False
    assert states(server)[made["id"]] == "open"
    shown = show(server, made["token"]).json()
    assert shown == {
        "app": "crm", "role": "admin", "email": None, "expires": made["expires"], "by": "admin",
    }  # fmt: skip

    answer = accept(server, made["token"], "grace", display_name="Grace")
    assert answer.status_code == 201
    assert answer.json()["user"]["displayName"] == "Grace"
    grace = server.login("grace")
    assert grace.get("/api/v1/apps/crm/permissions").json()["roles"] == ["admin"]
    assert grace.get("/api/v1/apps/core/permissions").json()["roles"] == []

    refused(accept(server, made["token"], "heidi"))
    refused(show(server, made["token"]))
    [row] = [row for row in server.admin.get(INVITES).json() if row["id"] == made["id"]]
    assert (row["state"], row["used_by"], row["by"]) == ("used", "grace", "admin")


def test_an_invite_without_a_role_makes_a_plain_account(server):
    made = invite(server.admin, email="ivan@example.org")
    refused_email = accept(server, made["token"], "ivan", email="other@example.org")
    assert refused_email.status_code == 400
    answer = accept(server, made["token"], "ivan")
    assert answer.json()["user"]["email"] == "ivan@example.org"


def test_the_username_may_be_the_email_of_the_invite(server):
    made = invite(server.admin, email="judy@example.org")
    body = {"token": made["token"], "password": PASSWORD}
    assert server.http.post(ACCEPT, json=body).json()["user"]["username"] == "judy@example.org"


def test_it_works_where_registration_is_closed(make_server):
    server = make_server(CLOSED)
    made = invite(server.admin)
    assert accept(server, made["token"], "kim").status_code == 201
    assert server.login("kim").get("/api/v1/auth/me").status_code == 200
    body = {"username": "leo", "password": PASSWORD}
    assert server.http.post("/api/v1/auth/register", json=body).status_code == 403


def test_a_refused_acceptance_leaves_the_invite_open(server):
    made = invite(server.admin)
    server.user("taken")
    for body in ({"name": "taken"}, {"name": " "}, {"password": "short"}, {"email": "no email"}):
        answer = accept(server, made["token"], **body)
        assert answer.status_code == 400, answer.text
    assert accept(server, made["token"], "mallory").status_code == 201


def test_of_many_at_once_one_makes_the_account(server):
    made = invite(server.admin)
    with ThreadPoolExecutor(6) as pool:
        names = [f"racer{number}" for number in range(6)]
        answers = list(pool.map(lambda name: accept(server, made["token"], name), names))
    assert sorted(answer.status_code for answer in answers) == [201, 403, 403, 403, 403, 403]
    assert server.sql("select count(*) from caudex_auth.users where username like 'racer%%'") == [
        (1,)
    ]


# --- when it ends


def test_an_expired_or_withdrawn_invite_is_refused(server):
    expired = invite(server.admin)
    server.sql("update caudex_auth.invites set expires_at = now() where id = %s", expired["id"])
    withdrawn = invite(server.admin)
    assert server.admin.delete(f"{INVITES}/{withdrawn['id']}").status_code == 200
    assert server.admin.delete(f"{INVITES}/{withdrawn['id']}").status_code == 404
    for made in (expired, withdrawn):
        refused(show(server, made["token"]))
        refused(accept(server, made["token"]))
    assert states(server)[expired["id"]] == "expired"


def test_a_used_invite_cannot_be_withdrawn(server):
    made = invite(server.admin)
    accept(server, made["token"])
    assert server.admin.delete(f"{INVITES}/{made['id']}").status_code == 404


def test_an_invite_ends_with_the_rights_of_who_made_it(server):
    boss = server.user("boss1", roles={"core": ["admin"]})
    first = invite(boss)
    body = {"userId": boss.id, "role": "admin"}
    server.admin.post("/api/v1/apps/core/roles/revoke", json=body).raise_for_status()
    refused(accept(server, first["token"]))
    server.admin.post("/api/v1/apps/core/roles/assign", json=body).raise_for_status()
    assert show(server, first["token"]).status_code == 200

    path = f"/api/v1/users/{boss.id}"
    server.admin.patch(path, json={"disabled": True}).raise_for_status()
    refused(accept(server, first["token"]))
    server.admin.patch(path, json={"disabled": False}).raise_for_status()
    refused(accept(server, first["token"]))


def test_an_invite_is_not_for_a_later_app_of_the_name(server):
    server.install(CRM)
    made = invite(server.admin, app="crm", role="admin")
    server.admin.delete("/api/v1/apps/crm").raise_for_status()
    refused(accept(server, made["token"]))
    server.install(CRM)
    refused(accept(server, made["token"]))
    server.admin.delete("/api/v1/apps/crm").raise_for_status()


def test_a_role_that_is_gone_makes_no_account(server, app):
    role = {"name": "editor", "permissions": ["notes.read"]}
    server.admin.post("/api/v1/apps/crm/roles", json=role).raise_for_status()
    made = invite(server.admin, app="crm", role="editor")
    server.admin.delete("/api/v1/apps/crm/roles/editor").raise_for_status()
    answer = accept(server, made["token"], "norole")
    assert answer.status_code == 400
    assert "editor" in answer.json()["error"]
    assert server.sql("select count(*) from caudex_auth.users where username = 'norole'") == [(0,)]
    assert states(server)[made["id"]] == "open"


# --- who may


def test_only_core_admins_invite_and_never_by_a_key(server, app):
    user = server.user(roles={"crm": ["admin"]})
    assert user.post(INVITES, json={}).status_code == 403
    assert user.get(INVITES).status_code == 403
    assert server.http.post(INVITES, json={}).status_code == 401
    key = server.admin.post("/api/v1/auth/keys", json={"name": "script"}).json()["key"]
    headers = {"authorization": f"Bearer {key}"}
    assert server.http.post(INVITES, json={}, headers=headers).status_code == 403
    made = invite(server.admin)
    path = f"{INVITES}/{made['id']}"
    assert server.http.delete(path, headers=headers).status_code == 403
    assert user.delete(path).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"app": "crm"},
        {"role": "admin"},
        {"app": "crm", "role": "nobody"},
        {"email": "no email"},
        {"expires": "yesterday"},
        {"expires": "2020-01-01T00:00:00Z"},
        {"expires": (datetime.now(UTC) + timedelta(days=31)).isoformat()},
        {"unknown": 1},
    ],
)
def test_a_bad_invite_is_refused(server, app, body):
    answer = server.admin.post(INVITES, json=body)
    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}


def test_an_unknown_app_and_a_taken_email_are_refused(server):
    assert server.admin.post(INVITES, json={"app": "gone", "role": "x"}).status_code == 404
    user = server.user()
    changes = {"email": "oscar@example.org"}
    server.admin.patch(f"/api/v1/users/{user.id}", json=changes).raise_for_status()
    assert server.admin.post(INVITES, json={"email": "OSCAR@example.org"}).status_code == 400


# --- who guesses


def test_the_database_and_the_trail_hold_no_token(server):
    made = invite(server.admin)
    [(stored,)] = server.sql("select hash from caudex_auth.invites where id = %s", made["id"])
    assert stored == hashlib.sha256(made["token"].encode()).hexdigest()
    accept(server, made["token"], "peggy")
    [(trail,)] = server.sql("select string_agg(l::text, ' ') from caudex_audit.log as l")
    assert made["token"] not in trail
    assert stored not in trail
    operations = {
        row["operation"]: row
        for row in server.admin.get("/api/v1/audit?entity=invites&app_id=core").json()
        if row["record_id"] == made["id"]
    }
    assert operations.keys() == {"INVITE_CREATED", "INVITE_USED"}


def test_every_wrong_token_gets_the_same_answer(server):
    made = invite(server.admin)
    tokens = ("", "x", made["token"][:-1], made["token"] + "x", made["token"].lower(), "é" * 50,
              "a" * 100_0, made["id"],)  # fmt: skip
    for token in tokens:
        refused(show(server, token))
        refused(accept(server, token, "taken"))
    for body in ({}, {"token": None}, {"token": 7}, {"token": "x", "more": 1}):
        assert server.http.post(SHOW, json=body).status_code == 400


def test_who_has_no_token_learns_no_names(server):
    """The name of an account, a bad password and a bad name are shown to holders only."""
    server.user("quentin")
    for body in ({"name": "quentin"}, {"name": ""}, {"password": "x"}):
        refused(accept(server, "guess", **body))


def test_guesses_from_a_network_are_blocked(postgres):
    config = {"plugins": {"auth": {"rate_limit_logins": True}}}
    with running_server(postgres, config) as server:
        made = invite(server.admin)
        codes = [show(server, f"guess{number}").status_code for number in range(40)]
        assert codes[:30] == [403] * 30
        assert codes[30:] == [429] * 10
        answer = accept(server, made["token"])
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        # Guessing invites locks no user out who signs in.
        assert server.login("admin").get("/api/v1/auth/me").status_code == 200
        server.sql("delete from caudex_auth.throttle")
        assert accept(server, made["token"]).status_code == 201


def test_acceptances_are_counted_as_registrations(postgres):
    config = {"plugins": {"auth": {"rate_limit_logins": True}}}
    with running_server(postgres, config) as server:
        made = invite(server.admin)
        codes = [accept(server, made["token"], "admin").status_code for _ in range(32)]
        assert set(codes[:29]) == {400}
        assert codes[-1] == 429


# --- mail


def test_a_plugin_sends_the_link(make_server):
    server = make_server(plugins=[MailerPlugin])
    MailerPlugin.sent.clear()
    MailerPlugin.answer = True
    made = invite(server.admin, email="rupert@example.org")
    assert made["sent"] is True
    [invitation] = MailerPlugin.sent
    assert invitation.link == made["link"]
    assert (invitation.email, invitation.by) == ("rupert@example.org", "admin")

    MailerPlugin.answer = RuntimeError("no mail server")
    unsent = invite(server.admin)
    assert unsent["sent"] is False
    assert accept(server, unsent["token"]).status_code == 201


def test_a_link_begins_with_the_configured_address(make_server):
    config = {"plugins": {"auth": {"url": "https://desk.example.com"}}}
    server = make_server(config)
    assert invite(server.admin)["link"].startswith("https://desk.example.com/console/#invite=")


def test_old_invites_are_removed(server):
    made = invite(server.admin)
    server.sql(
        "update caudex_auth.invites set expires_at = now() - interval '31 days' where id = %s",
        made["id"],
    )
    server.run(remove_expired, server.services.get(STATEMENTS))
    assert made["id"] not in states(server)
