"""What IDENTITY promises, and what sign-in by password and sessions promises beyond it."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from kernel.contracts.access import ACCESS
from kernel.contracts.actor import MAX_DELEGATION, Actor, server_actor
from kernel.contracts.identity import IDENTITY, DelegatingIdentity, Person, User
from kernel.contracts.statements import STATEMENTS
from kernel.errors import BadRequest, Forbidden, NotFound
from kernel.hooks import hookspecs
from kernel.hooks.bus import HOOKS
from kernel.testing import PASSWORD, Client, MakeServer, Server
from kernel.testing.conformance.kit import (
    SOON,
    Conformance,
    at_once,
    eventually,
    merged,
    refused,
    told,
    unique,
)
from kernel.web.http import Request

ACTOR = server_actor("conformance")
ME = "/api/v1/auth/me"
USERS = "/api/v1/users"
GHOST = "00000000-0000-4000-8000-000000000000"
NO_IDS = ["", "nonsense", "\0", "x" * 10_000, GHOST]
CLAIMED = {
    "x-user-id": "admin", "x-run-as": "admin", "x-forwarded-user": "admin",
    "x-remote-user": "admin", "remote-user": "admin", "x-forwarded-email": "admin@example.com",
    "x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1", "cookie": "user=admin",
}  # fmt: skip


class IdentityConformance(Conformance):
    """Accounts: who somebody is, at once everywhere, and nobody else.

    An engine whose users do not sign in with a password says how they do in `sign_in`.
    """

    key = IDENTITY

    @classmethod
    def sign_in(cls, server: Server, name: str) -> Client:
        """A client that is signed in as `name`; its account is made when there is none.

        Raises AssertionError when that is refused.
        """
        body = {"username": name, "password": PASSWORD}
        answer = server.http.post("/api/v1/auth/register", json=body)
        assert answer.status_code == 201 or "already taken" in answer.text, answer.text
        return server.login(name)

    @pytest.fixture(scope="class")
    @classmethod
    def admin(cls, server: Server) -> Client:
        """The first account."""
        return cls.sign_in(server, "admin")

    @pytest.fixture
    def somebody(self, server: Server, admin: Client) -> Client:
        """An account of the test's own, which is not the first."""
        return self.sign_in(server, unique("User-"))

    # Accounts

    def test_the_first_account_is_admin_of_everything_and_no_other(
        self, server: Server, admin: Client, somebody: Client
    ) -> None:
        access = server.services.get(ACCESS)
        assert server.run(access.is_core_admin, admin.id)
        assert not server.run(access.is_core_admin, somebody.id)

    def test_of_many_who_come_first_one_is(self, make_server: MakeServer) -> None:
        # They wait for one another; how long that may take is no promise of an engine.
        patient = {"database": {"lock_timeout": 30.0, "statement_timeout": 60.0}}
        server = make_server(merged(self.configuration(), patient))
        names = [unique("first") for _ in range(6)]
        ids = [client.id for client in at_once(lambda name: self.sign_in(server, name), names)]
        access = server.services.get(ACCESS)
        assert sum(server.run(access.is_core_admin, user_id) for user_id in ids) == 1
        assert len(set(ids)) == len(names)

    def test_an_account_stays_the_same_from_one_sign_in_to_the_next(
        self, server: Server, somebody: Client
    ) -> None:
        assert self.sign_in(server, somebody.username).id == somebody.id

    def test_an_account_is_found_by_its_id(self, server: Server, somebody: Client) -> None:
        identity = server.services.get(IDENTITY)
        for user_id in (somebody.id, somebody.id.upper()):
            found = server.run(identity.user, user_id)
            assert found is not None
            assert (found.id, found.username) == (somebody.id, somebody.username)
            assert not found.disabled

    @pytest.mark.parametrize("user_id", NO_IDS, ids=range(len(NO_IDS)))
    def test_what_is_nobodys_id_is_unknown(self, server: Server, user_id: str) -> None:
        assert server.run(server.services.get(IDENTITY).user, user_id) is None

    def test_an_account_is_found_within_a_transaction(
        self, server: Server, somebody: Client
    ) -> None:
        identity, statements = server.services.get(IDENTITY), server.services.get(STATEMENTS)

        async def look() -> User | None:
            return await statements.run(server_actor(), lambda tx: identity.user(somebody.id, tx))

        found = server.run(look)
        assert found is not None
        assert found.username == somebody.username

    def test_an_account_is_found_by_its_name_without_regard_to_case(
        self, server: Server, somebody: Client
    ) -> None:
        identity = server.services.get(IDENTITY)
        for name in (somebody.username, somebody.username.upper(), somebody.username.lower()):
            found = server.run(identity.find, name)
            assert found is not None
            assert found.id == somebody.id
        for name in ("", "nobody of that name", "x" * 10_000):
            assert server.run(identity.find, name) is None

    def test_accounts_are_listed_by_name(self, server: Server, somebody: Client) -> None:
        users = server.run(server.services.get(IDENTITY).users)
        assert somebody.id in [user.id for user in users]
        folded = [user.username.casefold() for user in users]
        assert folded == sorted(folded)
        assert all(user.created_at.endswith("+00:00") for user in users)

    def test_accounts_over_http_tell_no_secret(
        self, server: Server, admin: Client, somebody: Client
    ) -> None:
        me = told(somebody.get(ME))
        assert (me["id"], me["username"]) == (somebody.id, somebody.username)
        wanted = {"id", "username", "email", "display_name", "created_at"}
        for user in (me, *told(admin.get(USERS))):
            assert wanted <= user.keys()
            assert not any("password" in key or "hash" in key for key in user)
        assert told(server.http.get("/api/v1/auth/mode"))["authRequired"] is True

    def test_an_account_can_be_made_for_somebody_else_to_sign_in_to(
        self, server: Server, admin: Client
    ) -> None:
        identity, name = server.services.get(IDENTITY), unique("Invited-")
        person = Person(username=name, email=f"{name}@Example.com", display_name="Invited")
        user = server.run(identity.add, ACTOR, person)
        assert (user.username, user.email, user.display_name) == (name, person.email, "Invited")
        for found in (
            server.run(identity.find, name.lower()),
            server.run(identity.find_email, f"{name}@example.COM"),
        ):
            assert found == user
        assert server.run(identity.find_email, "nobody@example.com") is None
        assert not server.run(server.services.get(ACCESS).is_core_admin, user.id)
        for again in (person, Person(username=name.upper())):
            with pytest.raises(BadRequest):
                server.run(identity.add, ACTOR, again)

    @pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0b", "\u202e", "x" * 65])
    def test_what_is_no_name_gets_no_account(
        self, server: Server, admin: Client, name: str
    ) -> None:
        with pytest.raises(BadRequest):
            server.run(server.services.get(IDENTITY).add, ACTOR, Person(username=name))

    def test_the_first_account_is_not_made_for_somebody_else(self, make_server: MakeServer) -> None:
        server = make_server(self.configuration())
        with pytest.raises(Forbidden):
            server.run(server.services.get(IDENTITY).add, ACTOR, Person(username="early"))
        assert server.run(server.services.get(IDENTITY).users) == []

    def test_a_new_account_is_in_the_trail(self, admin: Client, somebody: Client) -> None:
        wanted = {"app_id": "core", "entity": "users", "record_id": somebody.id}
        rows = told(admin.get("/api/v1/audit", params=wanted))
        assert "REGISTER" in [row["operation"] for row in rows]

    # Whose request it is

    def test_nobody_gets_in_without_an_identity(self, server: Server) -> None:
        for headers in (
            {}, {"authorization": "Bearer"}, {"authorization": "Bearer x"},
            {"authorization": "Basic YWRtaW46YWRtaW4="}, {"authorization": "Bearer \xff"},
            CLAIMED,
        ):  # fmt: skip
            sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            refused(server.http.get(ME, headers=sent), 401)

    def test_nobody_becomes_another_by_saying_so(self, admin: Client, somebody: Client) -> None:
        for name, value in CLAIMED.items():
            if name not in somebody.headers:
                answer = somebody.get(ME, headers={name: value})
                assert answer.status_code == 401 or told(answer)["id"] == somebody.id, name
        assert admin.id != somebody.id

    def test_a_token_acts_for_its_user(self, server: Server, somebody: Client) -> None:
        assert told(server.http.get(ME, headers=bearer(server, somebody.id)))["id"] == somebody.id

    def test_a_token_ends_with_its_time(self, server: Server, somebody: Client) -> None:
        headers = bearer(server, somebody.id, 1)
        eventually(lambda: server.http.get(ME, headers=headers).status_code == 401)
        assert told(somebody.get(ME))["id"] == somebody.id

    def test_a_token_leads_to_none_that_outlives_it(self, server: Server, somebody: Client) -> None:
        identity = server.services.get(IDENTITY)
        if not isinstance(identity, DelegatingIdentity):
            pytest.skip("this provider knows no delegations")
        assert acting(server, dict(somebody.headers)).delegation is None
        delegation = acting(server, bearer(server, somebody.id, 60)).delegation
        assert delegation is not None
        now = time.time()
        assert delegation.expires <= now + 61
        assert delegation.expires < delegation.ends <= now + MAX_DELEGATION
        shorter = replace(delegation, expires=delegation.expires - 30)
        token = server.run(identity.issue_delegated_token, somebody.id, shorter)
        found = acting(server, {"authorization": f"Bearer {token}"})
        assert (found.user_id, found.delegation) == (somebody.id, shorter)
        token = server.run(
            identity.issue_delegated_token, somebody.id, replace(delegation, expires=now)
        )
        refused(as_bearer(server, token), 401)
        for user_id in NO_IDS:
            with pytest.raises(NotFound):
                server.run(identity.issue_delegated_token, user_id, delegation)

    @pytest.mark.parametrize("user_id", NO_IDS, ids=range(len(NO_IDS)))
    def test_there_is_no_token_for_nobody(self, server: Server, user_id: str) -> None:
        with pytest.raises(NotFound):
            server.run(server.services.get(IDENTITY).token, user_id, 60)

    @pytest.mark.parametrize("forge", ["cut", "flipped", "unsigned", "no algorithm", "doubled"])
    def test_a_forged_token_is_refused(
        self, server: Server, admin: Client, somebody: Client, forge: str
    ) -> None:
        token = bearer(server, somebody.id)["authorization"].removeprefix("Bearer ")
        forged = FORGERIES[forge](token, admin.id)
        assert forged != token
        refused(server.http.get(ME, headers={"authorization": f"Bearer {forged}"}), 401)

    def test_two_tokens_are_none(self, server: Server, admin: Client, somebody: Client) -> None:
        tokens = [bearer(server, user.id)["authorization"] for user in (somebody, admin)]
        refused(server.http.get(ME, headers=[("authorization", token) for token in tokens]), 401)

    # Accounts that end

    def test_a_disabled_account_is_out_at_once_everywhere_and_may_come_back(
        self, server: Server, second: Server, admin: Client, somebody: Client
    ) -> None:
        headers = bearer(server, somebody.id)
        for one in (server, second):
            told(one.http.get(ME, headers=headers))
        told(admin.patch(f"{USERS}/{somebody.id}", json={"disabled": True}))
        assert server.http.get(ME, headers=headers).status_code == 401
        assert somebody.get(ME).status_code == 401
        eventually(lambda: second.http.get(ME, headers=headers).status_code == 401, SOON)
        with pytest.raises(AssertionError):
            self.sign_in(server, somebody.username)
        found = server.run(server.services.get(IDENTITY).user, somebody.id)
        assert found is not None
        assert found.disabled
        told(admin.patch(f"{USERS}/{somebody.id}", json={"disabled": False}))
        eventually(lambda: self._signed_in(server, somebody.username) == somebody.id)

    def test_nothing_is_done_for_a_disabled_account(
        self, server: Server, admin: Client, somebody: Client
    ) -> None:
        told(admin.patch(f"{USERS}/{somebody.id}", json={"disabled": True}))
        try:
            headers = bearer(server, somebody.id)
        except NotFound:
            return
        refused(server.http.get(ME, headers=headers), 401)

    def test_a_deleted_account_is_gone_and_its_name_is_free(
        self, server: Server, admin: Client, somebody: Client
    ) -> None:
        app, headers = install_as(admin), bearer(server, somebody.id)
        told(admin.post(f"/api/v1/apps/{app}/roles", json={"name": "r", "permissions": ["*"]}))
        assignment = {"userId": somebody.id, "role": "r"}
        told(admin.post(f"/api/v1/apps/{app}/roles/assign", json=assignment))
        told(admin.delete(f"{USERS}/{somebody.id}"))
        identity = server.services.get(IDENTITY)
        refused(server.http.get(ME, headers=headers), 401)
        assert server.run(identity.user, somebody.id) is None
        assert server.run(identity.find, somebody.username) is None
        assert somebody.id not in [user.id for user in server.run(identity.users)]
        namesake = self.sign_in(server, somebody.username)
        assert namesake.id != somebody.id
        refused(namesake.get(f"/api/v1/apps/{app}/roles"), 403)

    @pytest.mark.parametrize("way", ["disable", "delete"])
    def test_the_last_admin_of_everything_stays(self, admin: Client, way: str) -> None:
        place = f"{USERS}/{admin.id}"
        end = admin.delete(place) if way == "delete" else admin.patch(place, json=DISABLED)
        refused(end, 400)
        assert told(admin.get(ME))["id"] == admin.id

    def test_accounts_are_ended_by_core_admins_only(self, admin: Client, somebody: Client) -> None:
        for user_id in (admin.id, somebody.id):
            refused(somebody.patch(f"{USERS}/{user_id}", json=DISABLED), 403)
            refused(somebody.delete(f"{USERS}/{user_id}"), 403)
        assert told(somebody.get(ME))["id"] == somebody.id

    @pytest.mark.parametrize(("user_id", "status"), [("nonsense", 400), (GHOST, 404)])
    def test_an_unknown_account_cannot_be_ended(
        self, admin: Client, user_id: str, status: int
    ) -> None:
        refused(admin.patch(f"{USERS}/{user_id}", json=DISABLED), status)
        refused(admin.delete(f"{USERS}/{user_id}"), status)

    @pytest.mark.parametrize("body", [[], {"disabled": "yes"}, {"disabled": None}])
    def test_a_bad_change_is_a_400(self, admin: Client, somebody: Client, body: Any) -> None:
        refused(admin.patch(f"{USERS}/{somebody.id}", json=body), 400)

    # What records may refer to

    def test_records_may_refer_to_accounts(
        self, server: Server, admin: Client, somebody: Client
    ) -> None:
        schema, table = server.services.get(IDENTITY).relation()
        columns = (
            "select data_type from information_schema.columns"
            " where table_schema = %s and table_name = %s and column_name = 'id'"
        )
        assert server.sql(columns, schema, table) == [("uuid",)]
        owner = {"name": "owner", "type": "entity_link", "required": True}
        owner |= {"references": {"entity": "core:users"}, "on_delete": "restrict"}
        app = install_as(admin, dataContract=[{"entityName": "notes", "fields": [owner]}])
        notes = f"/api/v1/apps/{app}/collections/notes"
        told(admin.post(notes, json={"owner": somebody.id}), 201)
        refused(admin.post(notes, json={"owner": str(uuid.uuid4())}), 400)
        refused(admin.delete(f"{USERS}/{somebody.id}"), 400)
        assert told(somebody.get(ME))["id"] == somebody.id

    def _signed_in(self, server: Server, name: str) -> str | None:
        try:
            return self.sign_in(server, name).id
        except AssertionError:
            return None


class SessionsConformance(IdentityConformance):
    """Sign-in by password: registration, login, and sessions that end when they are told to."""

    def test_registration_gives_an_account_and_no_token(self, server: Server) -> None:
        name = unique("new")
        body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
        answer = server.http.post("/api/v1/auth/register", json={**body, "is_admin": True})
        user = told(answer, 201)["user"]
        assert (user["username"], user["email"]) == (name, f"{name}@example.com")
        assert "oken" not in answer.text
        assert PASSWORD not in answer.text

    def test_a_name_is_taken_once(self, server: Server, somebody: Client) -> None:
        for name in (somebody.username, somebody.username.upper(), f" {somebody.username} "):
            body = {"username": name, "password": PASSWORD}
            answer = server.http.post("/api/v1/auth/register", json=body)
            assert "already taken" in refused(answer, 400)

    @pytest.mark.parametrize(
        "password", ["Sh0rt", "nouppercase1", "NOLOWERCASE1", "NoDigitsHere", "A1a" + "x" * 1022]
    )
    def test_a_weak_password_is_refused(self, server: Server, password: str) -> None:
        body = {"username": unique("weak"), "password": password}
        refused(server.http.post("/api/v1/auth/register", json=body), 400)

    def test_a_failed_login_does_not_tell_why(self, server: Server, somebody: Client) -> None:
        said = {
            refused(log_in(server, name, password), 401)
            for name, password in (
                (somebody.username, "Wr0ngPass!x"),
                (somebody.username, PASSWORD + "x"),
                ("nobody of that name", PASSWORD),
            )
        }
        assert len(said) == 1

    def test_a_refreshed_session_goes_on(self, server: Server, somebody: Client) -> None:
        renewed = told(renew(server, somebody.tokens["refreshToken"]))
        assert renewed["expiresIn"] > 0
        assert told(as_bearer(server, renewed["accessToken"]))["id"] == somebody.id

    def test_no_token_passes_for_the_other_kind(self, server: Server, somebody: Client) -> None:
        refused(as_bearer(server, somebody.tokens["refreshToken"]), 401)
        refused(renew(server, somebody.tokens["accessToken"]), 401)
        acting = bearer(server, somebody.id)["authorization"].removeprefix("Bearer ")
        refused(renew(server, acting), 401)

    def test_logout_ends_this_session_at_once_everywhere(
        self, server: Server, second: Server, somebody: Client
    ) -> None:
        other = server.login(somebody.username)
        access, refresh = somebody.tokens["accessToken"], somebody.tokens["refreshToken"]
        told(as_bearer(second, access))
        told(server.http.post("/api/v1/auth/logout", json={"refreshToken": refresh}))
        refused(as_bearer(server, access), 401)
        refused(renew(server, refresh), 401)
        refused(renew(second, refresh), 401)
        eventually(lambda: as_bearer(second, access).status_code == 401, SOON)
        assert told(other.get(ME))["id"] == somebody.id

    def test_a_new_password_ends_the_tokens_of_workers(
        self, server: Server, second: Server, somebody: Client
    ) -> None:
        before = bearer(server, somebody.id)
        for one in (server, second):
            told(one.http.get(ME, headers=before))
        change = {"current": PASSWORD, "new": f"{PASSWORD}2"}
        told(somebody.post("/api/v1/auth/password", json=change))
        refused(server.http.get(ME, headers=before), 401)
        eventually(lambda: second.http.get(ME, headers=before).status_code == 401, SOON)
        told(server.http.get(ME, headers=bearer(server, somebody.id)))

    @pytest.mark.parametrize("body", [{}, {"refreshToken": 5}, {"refreshToken": None}, []])
    def test_a_refresh_without_a_token_is_a_400(self, server: Server, body: Any) -> None:
        refused(server.http.post("/api/v1/auth/refresh", json=body), 400)
        refused(server.http.post("/api/v1/auth/logout", json=body), 400)

    def test_an_account_that_was_disabled_needs_a_new_login(
        self, server: Server, admin: Client, somebody: Client
    ) -> None:
        for disabled in (True, False):
            told(admin.patch(f"{USERS}/{somebody.id}", json={"disabled": disabled}))
        refused(somebody.get(ME), 401)
        refused(renew(server, somebody.tokens["refreshToken"]), 401)
        told(server.login(somebody.username).get(ME))

    def test_no_password_and_no_refresh_token_lies_anywhere_in_clear(
        self, server: Server, somebody: Client
    ) -> None:
        query = "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname"
        for (table,) in server.sql(f"{query} like 'caudex%'"):
            for secret in (PASSWORD, somebody.tokens["refreshToken"].rpartition(".")[2]):
                looked = f"select 1 from {table} t where t::text like %s limit 1"  # noqa: S608 - a name of the catalog
                assert not server.sql(looked, f"%{secret}%"), table


DISABLED = {"disabled": True}


def install_as(admin: Client, **manifest: Any) -> str:
    """Install an app as the first account and return its id."""
    app_id = unique("app")
    told(admin.post("/api/v1/apps", json={"appId": app_id, "name": app_id, **manifest}))
    return app_id


def bearer(server: Server, user_id: str, seconds: float = 60) -> dict[str, str]:
    """The header that acts for a user. Raises NotFound."""
    token = server.run(server.services.get(IDENTITY).token, user_id, seconds)
    return {"authorization": f"Bearer {token}"}


def acting(server: Server, headers: Mapping[str, str]) -> Actor:
    """Whom the server takes for the sender of a request. Raises Unauthenticated."""
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": ME, "headers": sent,
             "client": ("127.0.0.1", 5000), "server": ("10.0.0.1", 9100),
             "caudex.request_id": "conformance", "caudex.address": "127.0.0.1"}  # fmt: skip

    async def ask() -> Actor | None:
        hooks = server.services.get(HOOKS)
        return await hooks.first(hookspecs.authenticate, request=Request(scope))

    actor = server.run(ask)
    assert actor is not None
    return actor


def as_bearer(server: Server, token: str) -> httpx.Response:
    """Ask who a token is."""
    return server.http.get(ME, headers={"authorization": f"Bearer {token}"})


def renew(server: Server, token: str) -> httpx.Response:
    """Refresh a session."""
    return server.http.post("/api/v1/auth/refresh", json={"refreshToken": token})


def log_in(server: Server, name: str, password: str) -> httpx.Response:
    """Log in."""
    body = {"username": name, "password": password}
    return server.http.post("/api/v1/auth/login", json=body)


def _no_algorithm(token: str, victim: str) -> str:
    """Say that the token needs no signature, and be somebody else."""
    claims = _claims(token) | {"sub": victim}
    return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}."


def _unsigned(token: str, victim: str) -> str:
    """Be somebody else under the old signature."""
    head, _, signature = token.split(".")
    return f"{head}.{_part(_claims(token) | {'sub': victim})}.{signature}"


def _claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def _part(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


def _flipped(token: str, _: str) -> str:
    """Change one character in the middle of the signature."""
    at = len(token) - 10
    return token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]


FORGERIES: Mapping[str, Callable[[str, str], str]] = {
    "cut": lambda token, _: token[:-1],
    "flipped": _flipped,
    "unsigned": _unsigned,
    "no algorithm": _no_algorithm,
    "doubled": lambda token, _: f"{token}.{token}",
}
