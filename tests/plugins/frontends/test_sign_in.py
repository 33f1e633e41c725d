"""One sign-in for all apps, over HTTP; `test_hostile_page.py` tries it in a browser."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from kernel.testing import PASSWORD, Client, MakeServer, Server
from tests.plugins.frontends.support import SITE, Host, deploy, deployed, install
from tests.waiting import eventually

SIGN_IN = "/api/v1/frontends/sign-in"
SAME = {"sec-fetch-site": "same-origin"}


class Browser:
    """What a browser keeps of an app's host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.cookies: dict[str, str] = {}

    def request(self, method: str, path: str, **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        if self.cookies:
            names["cookie"] = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        answer = self.host.request(method, path, **names)
        for header in answer.headers.get_list("set-cookie"):
            name, _, rest = header.partition("=")
            value = rest.partition(";")[0]
            assert "HttpOnly" in header
            assert "Domain" not in header
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return answer

    def begin(self, return_to: str = "/") -> dict[str, str]:
        """Begin a sign-in; return what the server's page gets."""
        answer = self.request("GET", f"/_auth/sign-in?return_to={return_to}")
        assert answer.status_code == 303, answer.text
        location = answer.headers["location"]
        server = self.host.server.url
        assert location.startswith(f"{server}/console/#/app-sign-in?"), location
        pairs = parse_qs(location.partition("?")[2])
        return {name: texts[0] for name, texts in pairs.items()}

    def finish(self, url: str) -> httpx.Response:
        """Follow the address that the server's page has got."""
        parts = urlsplit(url)
        assert parts.netloc == self.host.name
        return self.request("GET", f"{parts.path}?{parts.query}")

    def sign_in(self, user: Client, return_to: str = "/") -> httpx.Response:
        """Sign in by a session of the server."""
        answer = user.post(SIGN_IN, json=self.begin(return_to))
        assert answer.status_code == 200, answer.text
        return self.finish(answer.json()["url"])

    def session(self, **headers: str) -> httpx.Response:
        sent = headers or {"sec_fetch_site": "same-origin"}
        return self.request("GET", "/_auth/session", **sent)


def test_a_session_of_the_server_goes_on_at_the_apps_host(server: Server) -> None:
    host = deployed(server)
    user = server.user()
    browser = Browser(host)
    assert browser.session().status_code == 401
    back = browser.sign_in(user, "/boards/7%3Fa=b%23c")
    assert (back.status_code, back.headers["location"]) == (303, "/boards/7?a=b#c")
    session = browser.session()
    assert session.status_code == 200
    assert set(session.json()) == {"accessToken", "expiresIn"}
    bearer = f"Bearer {session.json()['accessToken']}"
    me = host.get("/api/v1/auth/me", authorization=bearer)
    assert me.json()["username"] == user.username
    elsewhere = server.http.get("/api/v1/auth/me", headers={"authorization": bearer})
    assert elsewhere.status_code == 401
    sessions = user.get("/api/v1/auth/sessions").json()
    assert [row.get("app") for row in sessions] == [host.app_id, None]

    signed_out = browser.request("POST", "/_auth/sign-out", sec_fetch_site="same-origin")
    assert signed_out.json() == {"message": "signed out"}
    assert browser.session().status_code == 401
    assert host.get("/api/v1/auth/me", authorization=bearer).status_code == 401
    assert user.get("/api/v1/auth/me").status_code == 200


def test_the_cookie_is_half_a_secret(server: Server) -> None:
    host = deployed(server)
    browser = Browser(host)
    browser.sign_in(server.user())
    [value] = [text for name, text in browser.cookies.items() if "session" in name]
    refreshed = host.request("POST", "/api/v1/auth/refresh", cookie="")
    assert refreshed.status_code == 400
    assert "." not in value
    other = Browser(deployed(server))
    other.cookies = dict(browser.cookies)
    assert other.session().status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "same-origin, cross-site"},
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site", "origin": "own"},
        {"accept": "*/*"},
    ],
)
def test_only_pages_of_the_host_get_a_token(server: Server, headers: dict[str, str]) -> None:
    host = deployed(server)
    browser = Browser(host)
    browser.sign_in(server.admin)
    own = f"http://{host.name}"
    sent = {name: own if text == "own" else text for name, text in headers.items()}
    assert browser.session(**sent).status_code == 403
    assert browser.request("POST", "/_auth/sign-out", **sent).status_code == 403
    assert browser.session(origin=own).status_code == 200
    assert browser.session().status_code == 200


def test_a_code_works_once(server: Server) -> None:
    host = deployed(server)
    browser = Browser(host)
    url = server.admin.post(SIGN_IN, json=browser.begin()).json()["url"]
    attempt = dict(browser.cookies)
    assert browser.finish(url).status_code == 303
    again = Browser(host)
    again.cookies = attempt
    assert again.finish(url).status_code == 401
    assert again.session().status_code == 401


def test_a_code_is_for_the_browser_that_began(server: Server) -> None:
    """A link with the code of an attacker's own session signs no user in (login CSRF)."""
    host = deployed(server)
    attacker = Browser(host)
    url = server.user().post(SIGN_IN, json=attacker.begin()).json()["url"]
    victim = Browser(host)
    assert victim.finish(url).status_code == 401
    victim.begin()
    assert victim.finish(url).status_code == 401
    state = url.rpartition("state=")[2]
    own_state = next(text for name, text in victim.cookies.items() if "sign_in" in name)
    swapped = url.replace(state, own_state.partition(".")[0])
    assert victim.finish(swapped).status_code == 401  # the verifier is another one
    assert attacker.finish(url).status_code == 401  # and the code is used up


def test_a_code_is_for_one_host(server: Server) -> None:
    first = Browser(deployed(server))
    second = Browser(deployed(server))
    body = first.begin()
    url = server.admin.post(SIGN_IN, json=body).json()["url"]
    second.cookies = dict(first.cookies)
    moved = url.replace(first.host.name, second.host.name)
    assert second.finish(moved).status_code == 401
    assert first.finish(url).status_code == 401


def test_a_code_ends_after_a_minute_and_with_its_session(server: Server) -> None:
    host = deployed(server)
    browser = Browser(host)
    url = server.admin.post(SIGN_IN, json=browser.begin()).json()["url"]
    server.sql("update caudex_frontends.sign_in_codes set expires_at = now()")
    assert browser.finish(url).status_code == 401

    user = server.user()
    url = user.post(SIGN_IN, json=browser.begin()).json()["url"]
    body = {"refreshToken": user.tokens["refreshToken"]}
    assert server.http.post("/api/v1/auth/logout", json=body).status_code == 200
    assert browser.finish(url).status_code == 401


@pytest.mark.parametrize(
    "return_to",
    [
        "https://evil.test/", "//evil.test", "/\\evil.test", "\\\\evil.test", "javascript:alert(1)",
        "/%0d%0aset-cookie:a=b", "/%09/evil.test", "/_auth/sign-in", "evil", "/" + "a" * 2000, "",
    ],
)  # fmt: skip
def test_it_returns_to_a_path_of_the_host_only(server: Server, return_to: str) -> None:
    browser = Browser(deployed(server))
    back = browser.sign_in(server.admin, return_to)
    assert back.headers["location"] == "/"
    assert "a" not in browser.cookies


def test_who_has_no_session_continues_none(server: Server) -> None:
    browser = Browser(deployed(server))
    body = browser.begin()
    assert server.http.post(SIGN_IN, json=body).status_code == 401
    key = server.admin.post("/api/v1/auth/keys", json={"name": "k"}).json()["key"]
    headers = {"authorization": f"Bearer {key}"}
    assert server.http.post(SIGN_IN, json=body, headers=headers).status_code == 403
    browser.sign_in(server.admin)
    token = browser.session().json()["accessToken"]
    through_app = browser.host.request("POST", SIGN_IN, authorization=f"Bearer {token}")
    assert through_app.status_code == 403
    unknown = server.admin.post(SIGN_IN, json={**body, "app": "nowhere"})
    assert unknown.status_code == 404
    for wrong in ({"challenge": "short"}, {"state": "<script>"}):
        assert server.admin.post(SIGN_IN, json={**body, **wrong}).status_code == 400


def test_the_routes_are_on_apps_hosts_only(server: Server) -> None:
    for path in ("/_auth/sign-in", "/_auth/callback", "/_auth/session"):
        assert server.http.get(path, headers=SAME).status_code == 404
    assert server.http.post("/_auth/sign-out", headers=SAME).status_code == 404


def test_another_user_replaces_the_session(server: Server) -> None:
    host = deployed(server)
    first, second = server.user(), server.user()
    browser = Browser(host)
    browser.sign_in(first)
    old = browser.session().json()["accessToken"]
    browser.sign_in(second)
    assert host.get("/api/v1/auth/me", authorization=f"Bearer {old}").status_code == 401
    token = browser.session().json()["accessToken"]
    me = host.get("/api/v1/auth/me", authorization=f"Bearer {token}").json()
    assert me["username"] == second.username


def test_files_that_are_not_public_are_for_users_with_a_role(server: Server) -> None:
    host = deployed(server, frontend={"public": False})
    browser = Browser(host)
    page = browser.request("GET", "/boards?a=b", sec_fetch_mode="navigate")
    assert page.status_code == 303
    assert page.headers["location"] == "/_auth/sign-in?return_to=%2Fboards%3Fa%3Db"
    assert browser.request("GET", "/logo.png", sec_fetch_mode="no-cors").status_code == 401

    stranger = server.user()
    browser.sign_in(stranger)
    assert browser.request("GET", "/").status_code == 403
    server.grant(stranger, host.app_id, "*")
    eventually(lambda: browser.request("GET", "/").status_code == 200)
    assert browser.request("GET", "/logo.png").status_code == 200
    sessions = stranger.get("/api/v1/auth/sessions").json()
    of_app = next(row["id"] for row in sessions if row.get("app") == host.app_id)
    assert stranger.delete(f"/api/v1/auth/sessions/{of_app}").status_code == 200
    eventually(lambda: browser.request("GET", "/logo.png").status_code == 401)


def test_passwords_can_be_kept_to_the_servers_page(make_server: MakeServer) -> None:
    server = make_server({"plugins": {"frontends": {"own_login": False}}})
    host = deployed(server)
    body = {"username": "admin", "password": PASSWORD}
    server.http.cookies.clear()
    headers = {"host": host.name}
    answer = server.http.post("/api/v1/auth/login", json=body, headers=headers)
    assert answer.status_code == 403
    assert host.get("/api/v1/auth/mode").json()["passwordLoginEnabled"] is False
    assert server.http.get("/api/v1/auth/mode").json()["passwordLoginEnabled"] is True
    browser = Browser(host)
    browser.sign_in(server.admin)
    assert browser.session().status_code == 200


def test_a_second_factor_that_is_demanded_later_is_demanded_on_apps_hosts(
    make_server: MakeServer,
) -> None:
    """The session there is as good as the one that it continues, and no better."""
    server = make_server()
    host = deployed(server)
    user = server.user(permissions={host.app_id: ["*"]})
    browser = Browser(host)
    browser.sign_in(user)
    bearer = f"Bearer {browser.session().json()['accessToken']}"
    assert host.get("/api/v1/apps", authorization=bearer).status_code == 200
    role: dict[str, Any] = {"name": "strict", "permissions": [], "secondFactor": True}
    roles = f"/api/v1/apps/{host.app_id}/roles"
    assert server.admin.post(roles, json=role).status_code == 200
    server.assign(user, host.app_id, "strict")
    eventually(lambda: host.get("/api/v1/apps", authorization=bearer).status_code == 403)
    assert user.post(SIGN_IN, json=browser.begin()).status_code == 403


def test_cookies_on_https_are_of_this_host(make_server: MakeServer) -> None:
    hosts: dict[str, Any] = {"hosts": {"crm.example.test": "crm"}, "server_url": "https://id.test"}
    server = make_server({"plugins": {"frontends": hosts}})
    host = deployed_as(server, "crm")
    host.name = "crm.example.test"
    answer = host.request("GET", "/_auth/sign-in")
    assert answer.headers["location"].startswith("https://id.test/console/#/app-sign-in?app=crm&")
    [cookie] = [text for text in answer.headers.get_list("set-cookie") if "sign_in" in text]
    assert cookie.startswith("__Host-caudex_sign_in=")
    assert re.search(r"; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure$", cookie)
    pairs = parse_qs(answer.headers["location"].partition("?")[2])
    body = {name: texts[0] for name, texts in pairs.items()}
    url = server.admin.post(SIGN_IN, json=body).json()["url"]
    assert url.startswith("https://crm.example.test/_auth/callback?code=")


def deployed_as(server: Server, app_id: str) -> Host:
    """Install an app of this id and deploy its frontend."""
    install(server, app_id)
    assert deploy(server.admin, app_id, SITE).status_code == 200
    return Host(server, app_id)
