"""What IDENTITY promises."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from msgspec.structs import replace

from kernel.contracts.access import ACCESS
from kernel.contracts.base import MAX_DELEGATION, Limits, server_actor
from kernel.contracts.identity import IDENTITY, Person, User
from kernel.contracts.statements import STATEMENTS
from kernel.errors import BadRequest, Forbidden, NotFound
from kernel.testing import PASSWORD, Client, MakeServer, Server
from kernel.testing.conformance.kit import (
    SOON,
    Conformance,
    at_once,
    body_of,
    eventually,
    install,
    merged,
    refused,
    unique,
)
from kernel.testing.conformance.tokens import APP, FORGERIES, ME, acting, as_bearer, bearer

ACTOR = server_actor("conformance")
USERS = "/api/v1/users"
GHOST = "00000000-0000-4000-8000-000000000000"
NO_IDS = ["", "nonsense", "\0", "x" * 10_000, GHOST]
CLAIMED = {
    "x-user-id": "admin", "x-run-as": "admin", "x-forwarded-user": "admin",
    "x-remote-user": "admin", "remote-user": "admin", "x-forwarded-email": "admin@example.com",
    "x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1", "cookie": "user=admin",
}  # fmt: skip
DISABLED = {"disabled": True}


class IdentityConformance(Conformance):
    """Accounts: each caller is its own user, and a change takes effect on every server at once.

    An engine whose users do not sign in with a password says how they do in `sign_in`.
    """

    key = IDENTITY

    @classmethod
    def sign_in(cls, server: Server, name: str) -> Client:
        """Return a client that is signed in as `name`; create a missing account.

        Raises AssertionError when that is refused.
        """
        body = {"username": name, "password": PASSWORD}
        answer = server.http.post("/api/v1/auth/register", json=body)
        assert answer.status_code == 201 or "already taken" in answer.text, answer.text
        return server.login(name)

    @pytest.fixture(scope="class")
    @classmethod
    def admin(cls, server: Server) -> Client:
        """Sign the first account in."""
        return cls.sign_in(server, "admin")

    @pytest.fixture
    def caller(self, server: Server, admin: Client) -> Client:
        """Sign in an account of the test, which is not the first."""
        return self.sign_in(server, unique("User-"))

    # Accounts

    def test_the_first_account_is_admin_of_everything_and_no_other(
        self, server: Server, admin: Client, caller: Client
    ) -> None:
        access = server.services.get(ACCESS)
        assert server.run(access.is_core_admin, admin.id)
        assert not server.run(access.is_core_admin, caller.id)

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
        self, server: Server, caller: Client
    ) -> None:
        assert self.sign_in(server, caller.username).id == caller.id

    def test_an_account_is_found_by_its_id(self, server: Server, caller: Client) -> None:
        identity = server.services.get(IDENTITY)
        for user_id in (caller.id, caller.id.upper()):
            user = server.run(identity.user, user_id)
            assert user is not None
            assert (user.id, user.username) == (caller.id, caller.username)
            assert not user.disabled

    @pytest.mark.parametrize("user_id", NO_IDS, ids=range(len(NO_IDS)))
    def test_an_id_without_an_account_is_unknown(self, server: Server, user_id: str) -> None:
        assert server.run(server.services.get(IDENTITY).user, user_id) is None

    def test_an_account_is_found_within_a_transaction(self, server: Server, caller: Client) -> None:
        identity = server.services.get(IDENTITY)
        statements = server.services.get(STATEMENTS)

        async def look() -> User | None:
            return await statements.run(server_actor(), lambda tx: identity.user(caller.id, tx))

        user = server.run(look)
        assert user is not None
        assert user.username == caller.username

    def test_an_account_is_found_by_its_name_without_regard_to_case(
        self, server: Server, caller: Client
    ) -> None:
        identity = server.services.get(IDENTITY)
        for name in (caller.username, caller.username.upper(), caller.username.lower()):
            user = server.run(identity.find, name)
            assert user is not None
            assert user.id == caller.id
        for name in ("", "no such name", "x" * 10_000):
            assert server.run(identity.find, name) is None

    def test_accounts_are_listed_by_name(self, server: Server, caller: Client) -> None:
        users = server.run(server.services.get(IDENTITY).users)
        assert caller.id in [user.id for user in users]
        folded = [user.username.casefold() for user in users]
        assert folded == sorted(folded)
        assert all(user.created_at.endswith("+00:00") for user in users)

    def test_accounts_over_http_show_no_secret(
        self, server: Server, admin: Client, caller: Client
    ) -> None:
        me = body_of(caller.get(ME))
        assert (me["id"], me["username"]) == (caller.id, caller.username)
        expected = {"id", "username", "email", "display_name", "created_at"}
        for user in (me, *body_of(admin.get(USERS))):
            assert expected <= user.keys()
            assert not any("password" in key or "hash" in key for key in user)
        assert body_of(server.http.get("/api/v1/auth/mode"))["authRequired"] is True

    def test_an_account_can_be_created_for_another_user(
        self, server: Server, admin: Client
    ) -> None:
        identity = server.services.get(IDENTITY)
        name = unique("Invited-")
        person = Person(username=name, email=f"{name}@Example.com", display_name="Invited")
        user = server.run(identity.add, ACTOR, person)
        assert (user.username, user.email, user.display_name) == (name, person.email, "Invited")
        assert server.run(identity.find, name.lower()) == user
        assert server.run(identity.find_email, f"{name}@example.COM") == user
        assert server.run(identity.find_email, "unknown@example.com") is None
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

    def test_the_first_account_is_not_created_for_another_user(
        self, make_server: MakeServer
    ) -> None:
        server = make_server(self.configuration())
        with pytest.raises(Forbidden):
            server.run(server.services.get(IDENTITY).add, ACTOR, Person(username="early"))
        assert server.run(server.services.get(IDENTITY).users) == []

    def test_a_new_account_is_in_the_trail(self, admin: Client, caller: Client) -> None:
        criteria = {"app_id": "core", "entity": "users", "record_id": caller.id}
        rows = body_of(admin.get("/api/v1/audit", params=criteria))
        assert "REGISTER" in [row["operation"] for row in rows]

    # Whose request it is

    def test_a_request_without_an_identity_is_refused(self, server: Server) -> None:
        for headers in (
            {}, {"authorization": "Bearer"}, {"authorization": "Bearer x"},
            {"authorization": "Basic YWRtaW46YWRtaW4="}, {"authorization": "Bearer \xff"},
            CLAIMED,
        ):  # fmt: skip
            sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            refused(server.http.get(ME, headers=sent), 401)

    def test_a_header_does_not_make_a_caller_another_user(
        self, admin: Client, caller: Client
    ) -> None:
        for name, value in CLAIMED.items():
            if name not in caller.headers:
                answer = caller.get(ME, headers={name: value})
                assert answer.status_code == 401 or body_of(answer)["id"] == caller.id, name
        assert admin.id != caller.id

    def test_a_token_acts_for_its_user(self, server: Server, caller: Client) -> None:
        assert body_of(server.http.get(ME, headers=bearer(server, caller.id)))["id"] == caller.id

    def test_a_token_is_refused_elsewhere(self, server: Server, admin: Client) -> None:
        refused(server.http.get("/api/v1/apps", headers=bearer(server, admin.id)), 403)

    def test_a_token_ends_with_its_time(self, server: Server, caller: Client) -> None:
        headers = bearer(server, caller.id, 1)
        eventually(lambda: server.http.get(ME, headers=headers).status_code == 401)
        assert body_of(caller.get(ME))["id"] == caller.id

    def test_a_token_leads_to_none_that_outlives_it(self, server: Server, caller: Client) -> None:
        identity = server.services.get(IDENTITY)
        assert acting(server, dict(caller.headers)).delegation is None
        delegation = acting(server, bearer(server, caller.id, 60)).delegation
        assert delegation is not None
        assert delegation.app_id == APP
        now = time.time()
        assert delegation.expires <= now + 61
        assert delegation.expires < delegation.ends <= now + MAX_DELEGATION
        shorter = replace(delegation, expires=delegation.expires - 30)
        token = server.run(identity.issue_delegated_token, caller.id, shorter)
        actor = acting(server, {"authorization": f"Bearer {token}"})
        assert (actor.user_id, actor.delegation) == (caller.id, shorter)
        token = server.run(
            identity.issue_delegated_token, caller.id, replace(delegation, expires=now)
        )
        refused(as_bearer(server, token), 401)
        for user_id in NO_IDS:
            with pytest.raises(NotFound):
                server.run(identity.issue_delegated_token, user_id, delegation)

    def test_a_token_has_the_limits_that_it_was_issued_with(
        self, server: Server, caller: Client
    ) -> None:
        identity = server.services.get(IDENTITY)
        delegation = acting(server, bearer(server, caller.id, 60)).delegation
        assert delegation is not None
        limits = Limits(apps=(APP,), permissions=(f"{APP}:*",))
        token = server.run(identity.issue_delegated_token, caller.id, delegation, limits)
        assert acting(server, {"authorization": f"Bearer {token}"}).limits == limits

    @pytest.mark.parametrize("user_id", NO_IDS, ids=range(len(NO_IDS)))
    def test_an_unknown_user_gets_no_token(self, server: Server, user_id: str) -> None:
        with pytest.raises(NotFound):
            bearer(server, user_id)

    @pytest.mark.parametrize("forge", ["cut", "flipped", "unsigned", "no algorithm", "doubled"])
    def test_a_forged_token_is_refused(
        self, server: Server, admin: Client, caller: Client, forge: str
    ) -> None:
        token = bearer(server, caller.id)["authorization"].removeprefix("Bearer ")
        forged = FORGERIES[forge](token, admin.id)
        assert forged != token
        refused(server.http.get(ME, headers={"authorization": f"Bearer {forged}"}), 401)

    def test_two_tokens_are_none(self, server: Server, admin: Client, caller: Client) -> None:
        tokens = [bearer(server, user.id)["authorization"] for user in (caller, admin)]
        refused(server.http.get(ME, headers=[("authorization", token) for token in tokens]), 401)

    # Accounts that end

    def test_a_disabled_account_is_out_at_once_everywhere_and_may_come_back(
        self, server: Server, second: Server, admin: Client, caller: Client
    ) -> None:
        headers = bearer(server, caller.id)
        for one in (server, second):
            body_of(one.http.get(ME, headers=headers))
        body_of(admin.patch(f"{USERS}/{caller.id}", json={"disabled": True}))
        assert server.http.get(ME, headers=headers).status_code == 401
        assert caller.get(ME).status_code == 401
        eventually(lambda: second.http.get(ME, headers=headers).status_code == 401, SOON)
        with pytest.raises(AssertionError):
            self.sign_in(server, caller.username)
        user = server.run(server.services.get(IDENTITY).user, caller.id)
        assert user is not None
        assert user.disabled
        body_of(admin.patch(f"{USERS}/{caller.id}", json={"disabled": False}))
        eventually(lambda: self._signed_in(server, caller.username) == caller.id)

    def test_nothing_is_done_for_a_disabled_account(
        self, server: Server, admin: Client, caller: Client
    ) -> None:
        body_of(admin.patch(f"{USERS}/{caller.id}", json={"disabled": True}))
        try:
            headers = bearer(server, caller.id)
        except NotFound:
            return
        refused(server.http.get(ME, headers=headers), 401)

    def test_a_deleted_account_is_gone_and_its_name_is_free(
        self, server: Server, admin: Client, caller: Client
    ) -> None:
        app = install(admin)
        headers = bearer(server, caller.id)
        body_of(admin.post(f"/api/v1/apps/{app}/roles", json={"name": "r", "permissions": ["*"]}))
        assignment = {"userId": caller.id, "role": "r"}
        body_of(admin.post(f"/api/v1/apps/{app}/roles/assign", json=assignment))
        body_of(admin.delete(f"{USERS}/{caller.id}"))
        identity = server.services.get(IDENTITY)
        refused(server.http.get(ME, headers=headers), 401)
        assert server.run(identity.user, caller.id) is None
        assert server.run(identity.find, caller.username) is None
        assert caller.id not in [user.id for user in server.run(identity.users)]
        namesake = self.sign_in(server, caller.username)
        assert namesake.id != caller.id
        refused(namesake.get(f"/api/v1/apps/{app}/roles"), 403)

    @pytest.mark.parametrize("way", ["disable", "delete"])
    def test_the_last_admin_of_everything_stays(self, admin: Client, way: str) -> None:
        place = f"{USERS}/{admin.id}"
        answer = admin.delete(place) if way == "delete" else admin.patch(place, json=DISABLED)
        refused(answer, 400)
        assert body_of(admin.get(ME))["id"] == admin.id

    def test_accounts_are_ended_by_core_admins_only(self, admin: Client, caller: Client) -> None:
        for user_id in (admin.id, caller.id):
            refused(caller.patch(f"{USERS}/{user_id}", json=DISABLED), 403)
            refused(caller.delete(f"{USERS}/{user_id}"), 403)
        assert body_of(caller.get(ME))["id"] == caller.id

    @pytest.mark.parametrize(("user_id", "status"), [("nonsense", 400), (GHOST, 404)])
    def test_an_unknown_account_cannot_be_ended(
        self, admin: Client, user_id: str, status: int
    ) -> None:
        refused(admin.patch(f"{USERS}/{user_id}", json=DISABLED), status)
        refused(admin.delete(f"{USERS}/{user_id}"), status)

    @pytest.mark.parametrize("body", [[], {"disabled": "yes"}, {"disabled": None}])
    def test_a_bad_change_is_a_400(self, admin: Client, caller: Client, body: Any) -> None:
        refused(admin.patch(f"{USERS}/{caller.id}", json=body), 400)

    # What records may refer to

    def test_records_may_refer_to_accounts(
        self, server: Server, admin: Client, caller: Client
    ) -> None:
        schema, table = server.services.get(IDENTITY).relation()
        columns = (
            "select data_type from information_schema.columns"
            " where table_schema = %s and table_name = %s and column_name = 'id'"
        )
        assert server.sql(columns, schema, table) == [("uuid",)]
        owner = {"name": "owner", "type": "entity_link", "required": True}
        owner |= {"references": {"entity": "core:users"}, "on_delete": "restrict"}
        app = install(admin, dataContract=[{"entityName": "notes", "fields": [owner]}])
        notes = f"/api/v1/apps/{app}/collections/notes"
        body_of(admin.post(notes, json={"owner": caller.id}), 201)
        refused(admin.post(notes, json={"owner": str(uuid.uuid4())}), 400)
        refused(admin.delete(f"{USERS}/{caller.id}"), 400)
        assert body_of(caller.get(ME))["id"] == caller.id

    def _signed_in(self, server: Server, name: str) -> str | None:
        try:
            return self.sign_in(server, name).id
        except AssertionError:
            return None
