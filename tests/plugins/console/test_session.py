"""The cookie of the session: one route reads it, and only for the console's own pages."""

import pytest

from kernel.testing import Server

SESSION = "/api/v1/console/session"
OWN = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def session(server: Server):
    """A client whose cookie holds the session of a new user."""
    user = server.user()
    server.http.cookies.clear()
    opened = server.http.post(
        SESSION, json={"refreshToken": user.tokens["refreshToken"]}, headers=OWN
    )
    assert opened.status_code == 200
    yield server.http
    server.http.cookies.clear()


def test_without_a_cookie_there_is_no_session(server: Server):
    server.http.cookies.clear()
    answer = server.http.post(SESSION, json={}, headers=OWN)
    assert (answer.status_code, answer.json()["accessToken"]) == (200, None)
    assert "set-cookie" not in answer.headers


def test_the_cookie_is_strict(server: Server):
    user = server.user()
    body = {"refreshToken": user.tokens["refreshToken"]}
    cookie = server.http.post(SESSION, json=body, headers=OWN).headers["set-cookie"]
    instance = server.sql("select id from caudex_console.instance")[0][0]
    assert cookie.startswith(f"caudex_{instance}=")
    parts = {part.strip() for part in cookie.split(";")[1:]}
    assert {"HttpOnly", "SameSite=Strict", f"Path={SESSION}"} <= parts
    assert "Secure" not in parts
    server.http.cookies.clear()


def test_on_https_it_is_secure(server: Server):
    body = {"refreshToken": server.user().tokens["refreshToken"]}
    headers = {**OWN, "origin": "https://tools.example.com"}
    answer = server.http.post(SESSION, json=body, headers=headers)
    assert "; Secure" in answer.headers["set-cookie"]


def test_a_reload_continues_the_session(session):
    tokens = {session.post(SESSION, json={}, headers=OWN).json()["accessToken"] for _ in range(3)}
    assert None not in tokens
    for token in tokens:
        me = session.get("/api/v1/auth/me", headers={"authorization": f"Bearer {token}"})
        assert me.status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", None])
def test_other_pages_get_nothing(session, site):
    headers = {"sec-fetch-site": site} if site else {}
    assert session.post(SESSION, json={}, headers=headers).status_code == 403
    assert session.delete(SESSION, headers=headers).status_code == 403


def test_no_other_route_reads_the_cookie(session):
    for path in ("/api/v1/auth/me", "/api/v1/apps", "/api/v1/console/settings"):
        assert session.get(path, headers=OWN).status_code == 401


def test_a_form_cannot_be_sent_to_it(session):
    answer = session.post(SESSION, data={"a": "b"}, headers={**OWN, "origin": "http://evil.test"})
    assert answer.status_code == 400


def test_signing_out_clears_the_cookie_and_ends_the_session(session):
    token = session.post(SESSION, json={}, headers=OWN).json()["accessToken"]
    left = session.delete(SESSION, headers=OWN)
    assert "Max-Age=0" in left.headers["set-cookie"]
    assert session.post(SESSION, json={}, headers=OWN).json()["accessToken"] is None
    me = session.get("/api/v1/auth/me", headers={"authorization": f"Bearer {token}"})
    assert me.status_code == 401


def test_a_revoked_session_is_cleared(session, server: Server):
    server.sql("update caudex_auth.sessions set revoked_at = now()")
    answer = session.post(SESSION, json={}, headers=OWN)
    assert (answer.status_code, answer.json()["accessToken"]) == (200, None)
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_a_wrong_token_is_refused(server: Server):
    answer = server.http.post(SESSION, json={"refreshToken": "x.y.z"}, headers=OWN)
    assert answer.status_code == 401
    server.http.cookies.clear()
    server.http.cookies.set(
        f"caudex_{server.sql('select id from caudex_console.instance')[0][0]}", "bad", path=SESSION
    )
    assert server.http.post(SESSION, json={}, headers=OWN).json()["accessToken"] is None
    server.http.cookies.clear()
