"""What a provider of IDENTITY promises that signs users in by password."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import PASSWORD, Client, Server
from kernel.testing.conformance.identity import USERS, IdentityConformance
from kernel.testing.conformance.kit import SOON, body_of, eventually, refused, unique
from kernel.testing.conformance.tokens import ME, as_bearer, bearer, renew


class SessionsConformance(IdentityConformance):
    """Sign-in by password: registration, login, and sessions that end at once."""

    def test_registration_gives_an_account_and_no_token(self, server: Server) -> None:
        name = unique("new")
        body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
        answer = server.http.post("/api/v1/auth/register", json={**body, "is_admin": True})
        user = body_of(answer, 201)["user"]
        assert (user["username"], user["email"]) == (name, f"{name}@example.com")
        assert "oken" not in answer.text
        assert PASSWORD not in answer.text

    def test_a_name_is_taken_once(self, server: Server, caller: Client) -> None:
        for name in (caller.username, caller.username.upper(), f" {caller.username} "):
            body = {"username": name, "password": PASSWORD}
            answer = server.http.post("/api/v1/auth/register", json=body)
            assert "already taken" in refused(answer, 400)

    @pytest.mark.parametrize(
        "password", ["Sh0rt", "nouppercase1", "NOLOWERCASE1", "NoDigitsHere", "A1a" + "x" * 1022]
    )
    def test_a_weak_password_is_refused(self, server: Server, password: str) -> None:
        body = {"username": unique("weak"), "password": password}
        refused(server.http.post("/api/v1/auth/register", json=body), 400)

    def test_a_failed_login_does_not_say_why(self, server: Server, caller: Client) -> None:
        messages: set[str] = set()
        for name, password in (
            (caller.username, "Wr0ngPass!x"), (caller.username, PASSWORD + "x"),
            ("no such name", PASSWORD),
        ):  # fmt: skip
            body = {"username": name, "password": password}
            messages.add(refused(server.http.post("/api/v1/auth/login", json=body), 401))
        assert len(messages) == 1

    def test_a_refreshed_session_goes_on(self, server: Server, caller: Client) -> None:
        renewed = body_of(renew(server, caller.tokens["refreshToken"]))
        assert renewed["expiresIn"] > 0
        assert body_of(as_bearer(server, renewed["accessToken"]))["id"] == caller.id

    def test_no_token_passes_for_the_other_kind(self, server: Server, caller: Client) -> None:
        refused(as_bearer(server, caller.tokens["refreshToken"]), 401)
        refused(renew(server, caller.tokens["accessToken"]), 401)
        acting = bearer(server, caller.id)["authorization"].removeprefix("Bearer ")
        refused(renew(server, acting), 401)

    def test_logout_ends_this_session_at_once_everywhere(
        self, server: Server, second: Server, caller: Client
    ) -> None:
        other = server.login(caller.username)
        access = caller.tokens["accessToken"]
        refresh = caller.tokens["refreshToken"]
        body_of(as_bearer(second, access))
        body_of(server.http.post("/api/v1/auth/logout", json={"refreshToken": refresh}))
        refused(as_bearer(server, access), 401)
        refused(renew(server, refresh), 401)
        refused(renew(second, refresh), 401)
        eventually(lambda: as_bearer(second, access).status_code == 401, SOON)
        assert body_of(other.get(ME))["id"] == caller.id

    def test_a_new_password_ends_the_tokens_of_workers(
        self, server: Server, second: Server, caller: Client
    ) -> None:
        before = bearer(server, caller.id)
        for one in (server, second):
            body_of(one.http.get(ME, headers=before))
        change = {"current": PASSWORD, "new": f"{PASSWORD}2"}
        body_of(caller.post("/api/v1/auth/password", json=change))
        refused(server.http.get(ME, headers=before), 401)
        eventually(lambda: second.http.get(ME, headers=before).status_code == 401, SOON)
        body_of(server.http.get(ME, headers=bearer(server, caller.id)))

    @pytest.mark.parametrize("body", [{}, {"refreshToken": 5}, {"refreshToken": None}, []])
    def test_a_refresh_without_a_token_is_a_400(self, server: Server, body: Any) -> None:
        refused(server.http.post("/api/v1/auth/refresh", json=body), 400)
        refused(server.http.post("/api/v1/auth/logout", json=body), 400)

    def test_an_account_that_was_disabled_needs_a_new_login(
        self, server: Server, admin: Client, caller: Client
    ) -> None:
        for disabled in (True, False):
            body_of(admin.patch(f"{USERS}/{caller.id}", json={"disabled": disabled}))
        refused(caller.get(ME), 401)
        refused(renew(server, caller.tokens["refreshToken"]), 401)
        body_of(server.login(caller.username).get(ME))

    def test_no_password_and_no_refresh_token_is_stored_in_clear(
        self, server: Server, caller: Client
    ) -> None:
        query = "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname"
        for (table,) in server.sql(f"{query} like 'caudex%'"):
            for secret in (PASSWORD, caller.tokens["refreshToken"].rpartition(".")[2]):
                looked = f"select 1 from {table} t where t::text like %s limit 1"  # noqa: S608 - a name of the catalog
                assert not server.sql(looked, f"%{secret}%"), table
