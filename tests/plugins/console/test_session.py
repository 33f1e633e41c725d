"""The cookie of the session: one route reads it, only for the console's own pages, with its key.

A cookie goes to every port of a host. `screens/test_other_ports.py` captures it with a browser.
"""

from __future__ import annotations

import httpx
import pytest

from kernel.testing import Server

SESSION = "/api/v1/console/session"
REFRESH = "/api/v1/auth/refresh"
LOGOUT = "/api/v1/auth/logout"
OWN = {"sec-fetch-site": "same-origin"}


class Browser:
    """A client whose cookie holds the session of a new user, with the key of the cookie."""

    def __init__(self, server: Server) -> None:
        self.http = server.http
        self.http.cookies.clear()
        self.name = f"caudex_{server.sql('select id from caudex_console.instance')[0][0]}"
        opened = self.open(server.user().tokens["refreshToken"])
        assert opened.status_code == 200
        self.key: str = opened.json()["key"]

    @property
    def cookie(self) -> str | None:
        """The value of the cookie, as every port of the host gets it."""
        return self.http.cookies.get(self.name)

    @cookie.setter
    def cookie(self, value: str) -> None:
        self.http.cookies.clear()
        self.http.cookies.set(self.name, value, path=SESSION)

    def open(self, refresh_token: str) -> httpx.Response:
        """Keep the session of a refresh token."""
        return self.http.post(SESSION, json={"refreshToken": refresh_token}, headers=OWN)

    def renew(self, key: str | None = None, headers: dict[str, str] = OWN) -> httpx.Response:
        """Continue the session of the cookie."""
        body = {"key": self.key if key is None else key}
        return self.http.post(SESSION, json=body, headers=headers)

    def leave(self, key: str | None = None, headers: dict[str, str] = OWN) -> httpx.Response:
        """Sign out."""
        body = {"key": self.key if key is None else key}
        return self.http.request("DELETE", SESSION, json=body, headers=headers)


@pytest.fixture
def session(server: Server):
    """A browser with the session of a new user."""
    yield Browser(server)
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


def test_a_reload_continues_the_session(session: Browser):
    tokens = {session.renew().json()["accessToken"] for _ in range(3)}
    assert None not in tokens
    for token in tokens:
        me = session.http.get("/api/v1/auth/me", headers={"authorization": f"Bearer {token}"})
        assert me.status_code == 200


def test_who_has_the_cookie_alone_has_nothing(session: Browser):
    captured = session.cookie
    assert captured
    for text in (captured, captured.rstrip("=")):
        bearer = {"authorization": f"Bearer {text}"}
        assert session.http.post(REFRESH, json={"refreshToken": text}).status_code == 401
        assert session.http.post(LOGOUT, json={"refreshToken": text}).status_code == 401
        assert session.http.get("/api/v1/auth/me", headers=bearer).status_code == 401
        assert session.open(text).status_code == 401
    for key in ("", "0" * 64, captured):
        session.cookie = captured
        assert session.renew(key).json()["accessToken"] is None
        session.cookie = captured
        session.leave(key)
    session.cookie = captured
    assert session.renew().json()["accessToken"]  # it did not end the session either


def test_the_key_alone_is_useless(session: Browser, server: Server):
    session.http.cookies.clear()
    assert session.renew().json()["accessToken"] is None
    other = Browser(server)
    assert other.renew(session.key).json()["accessToken"] is None


def test_each_sign_in_has_a_key_of_its_own(session: Browser, server: Server):
    assert Browser(server).key != session.key


def test_a_cookie_of_an_earlier_version_ends_its_session(session: Browser, server: Server):
    """Up to 0.2 it was the refresh token itself, and other ports may have read it."""
    former = server.user().tokens["refreshToken"]
    session.cookie = former
    answer = session.renew("")
    assert answer.json()["accessToken"] is None
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert session.http.post(REFRESH, json={"refreshToken": former}).status_code == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", None])
def test_other_pages_get_nothing(session: Browser, site: str | None):
    headers = {"sec-fetch-site": site} if site else {}
    assert session.renew(headers=headers).status_code == 403
    assert session.leave(headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://{host}", 200),
        ("https://{host}", 403),
        ("http://{host}0", 403),
        ("http://127.0.0.1", 403),
        ("http://evil.test", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_on_http_a_browser_names_only_the_origin(session: Browser, origin: str, status: int):
    """`Sec-Fetch-Site` is sent on https and on loopback only."""
    host = session.http.base_url.netloc.decode()
    headers = {"origin": origin.replace("{host}", host)}
    assert session.renew(headers=headers).status_code == status
    assert session.leave(headers=headers).status_code == status


def test_no_other_route_reads_the_cookie(session: Browser):
    for path in ("/api/v1/auth/me", "/api/v1/apps", "/api/v1/console/settings"):
        assert session.http.get(path, headers=OWN).status_code == 401


def test_a_form_cannot_be_sent_to_it(session: Browser):
    headers = {**OWN, "origin": "http://evil.test"}
    answer = session.http.post(SESSION, data={"a": "b"}, headers=headers)
    assert answer.status_code == 400


def test_signing_out_clears_the_cookie_and_ends_the_session(session: Browser):
    token = session.renew().json()["accessToken"]
    left = session.leave()
    assert "Max-Age=0" in left.headers["set-cookie"]
    assert session.renew().json()["accessToken"] is None
    me = session.http.get("/api/v1/auth/me", headers={"authorization": f"Bearer {token}"})
    assert me.status_code == 401


def test_a_revoked_session_is_cleared(session: Browser, server: Server):
    server.sql("update caudex_auth.sessions set revoked_at = now()")
    answer = session.renew()
    assert (answer.status_code, answer.json()["accessToken"]) == (200, None)
    assert "Max-Age=0" in answer.headers["set-cookie"]


@pytest.mark.parametrize("value", ["bad", "x.y.z", "=", "%", "a" * 4000, '"\\303"', "é"])
def test_a_wrong_token_is_refused(session: Browser, value: str):
    assert session.open(value).status_code == 401
    header = f"other=1; {session.name}={value}; last".encode()
    answer = session.http.post(SESSION, json={}, headers={**OWN, "cookie": header})
    assert answer.json()["accessToken"] is None
