"""A page that an app's admin wrote, and that a core admin opens while signed in at the console.

It tries what pages can. Each attempt says what it got. All of it runs twice: as it is, and with a
browser that ignores content security policies, so that nothing rests on them alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from kernel.testing import Client, Server
from tests.plugins.console.browser import Pages, chromium, needs_browser
from tests.plugins.frontends.support import Host, deployed
from tests.plugins.frontends.test_sign_in import SIGN_IN, Browser

pytestmark = [needs_browser, pytest.mark.slow]

SITE = {
    "index.html": "<!doctype html><title>app</title><p>a page of an app",
    "sw.js": "self.addEventListener('fetch', () => {});",
}
TRY = """async ([source, argument]) => {
    const attempt = eval(source);
    try {
        const got = await Promise.race([
            attempt(argument),
            new Promise((_, refuse) => setTimeout(() => refuse(new Error('no answer')), 5000)),
        ]);
        return got;
    } catch (error) {
        return `${error.name}`;
    }
}"""
FETCH = """async ({url, method = 'GET', body, token, credentials = 'include', mode = 'cors'}) => {
    const headers = {};
    if (body) headers['content-type'] = 'application/json';
    if (token) headers.authorization = `Bearer ${token}`;
    const answer = await fetch(url, {method, body, headers, credentials, mode});
    if (answer.type === 'opaque') return 'opaque';
    return `${answer.status}`;
}"""
FRAME = """async (url) => {
    const frame = document.createElement('iframe');
    frame.src = url;
    const loaded = new Promise((done) => { frame.onload = done; });
    document.body.append(frame);
    await loaded;
    return frame.contentDocument ? frame.contentDocument.body.innerText : 'unreadable';
}"""
POPUP = """async (url) => {
    const popup = window.open(url);
    await new Promise((done) => setTimeout(done, 1500));
    const got = [popup.closed ? 'severed' : 'held'];
    for (const read of [() => popup.document.title, () => popup.localStorage['caudex.key']]) {
        try { got.push(`${read()}`); } catch (error) { got.push(error.name); }
    }
    return got.join(' ');
}"""
REGISTER = """async (scope) => {
    const done = await navigator.serviceWorker.register('/sw.js', {scope});
    return done.scope;
}"""
FORM = """async ({url, text}) => {
    const form = document.createElement('form');
    form.action = url; form.method = 'post'; form.enctype = 'text/plain'; form.target = 'sink';
    const field = document.createElement('input');
    const at = text.indexOf('=');
    field.name = text.slice(0, at); field.value = text.slice(at + 1);
    form.append(field);
    const sink = document.createElement('iframe');
    sink.name = 'sink';
    document.body.append(sink, form);
    form.submit();
    await new Promise((done) => setTimeout(done, 1000));
    try { return sink.contentDocument.body.innerText; } catch (error) { return error.name; }
}"""
ADMIN_ROUTES = [
    ("POST", "/api/v1/apps", '{"appId": "evil", "name": "evil", "dataContract": []}'),
    ("DELETE", "/api/v1/apps/{app}", None),
    ("GET", "/api/v1/apps/{app}/manifest", None),
    ("POST", "/api/v1/apps/{app}/deploy", "{}"),
    ("POST", "/api/v1/apps/{app}/frontend", "{}"),
    ("POST", "/api/v1/apps/{app}/worker/start", None),
    ("POST", "/api/v1/apps/{app}/schema/prune", "{}"),
    ("POST", "/api/v1/apps/{app}/roles", '{"name": "x", "permissions": ["*"]}'),
    ("POST", "/api/v1/apps/{app}/roles/assign", '{"userId": "x", "role": "admin"}'),
    ("POST", "/api/v1/apps/{app}/grants", '{"app": "core", "permissions": ["*"]}'),
    ("GET", "/api/v1/apps/{app}/secrets", None),
    ("POST", "/api/v1/auth/keys", '{"name": "x"}'),
    ("POST", "/api/v1/auth/password", '{"current": "x", "new": "y"}'),
    ("POST", "/api/v1/auth/totp", None),
    ("GET", "/api/v1/auth/sessions", None),
    ("GET", "/api/v1/audit", None),
    ("GET", "/api/v1/status", None),
    ("GET", "/api/v1/plugins", None),
    ("GET", "/api/v1/console/settings", None),
    ("POST", "/api/v1/frontends/sign-in", '{"app": "x", "challenge": "x", "state": "x"}'),
    ("GET", "/api/v1/apps/{other}", None),
    ("GET", "/api/v1/apps/{other}/permissions", None),
]


class Scene(NamedTuple):
    """A browser in which a core admin is signed in at the console and in two apps."""

    server: Server
    page: Any
    host: Host
    other: Host

    def attempt(self, source: str, argument: Any = None) -> Any:
        """Run a function in the page; return what it got, or the name of its error."""
        return self.page.evaluate(TRY, [source, argument])

    def fetch(self, url: str, **more: Any) -> str:
        return self.attempt(FETCH, {"url": url, **more})


def sign_in_at_console(page: Any, server: Server, user: Client) -> None:
    """Keep a session in the cookie and its key, as the console does."""
    tokens = server.login(user.username).tokens
    answer = page.request.post(
        f"{server.url}/api/v1/console/session",
        data={"refreshToken": tokens["refreshToken"]},
        headers={"Sec-Fetch-Site": "same-origin"},
    )
    assert answer.ok, answer.text()
    page.goto(f"{server.url}/health")
    page.evaluate("(key) => { localStorage['caudex.key'] = key; }", answer.json()["key"])


def sign_in_at_app(page: Any, host: Host, return_to: str = "/") -> None:
    """Pass the server's sign-in page, which asks for nothing."""
    page.goto(f"http://{host.name}/_auth/sign-in?return_to={return_to}")
    page.wait_for_url(f"http://{host.name}/**", timeout=20_000)
    page.wait_for_selector("text=a page of an app")


@pytest.fixture(params=[False, True], ids=["with-policy", "without-policy"])
def scene(request: pytest.FixtureRequest, server: Server) -> Generator[Scene]:
    host = deployed(server, SITE)
    other = deployed(server, SITE)
    with chromium() as browser:
        page = Pages(browser).new(bypass_csp=request.param)
        page.set_default_timeout(20_000)
        sign_in_at_console(page, server, server.admin)
        sign_in_at_app(page, other)
        sign_in_at_app(page, host)
        yield Scene(server, page, host, other)
        page.context.close()


def test_a_hostile_page_gets_nothing_but_its_own_app(scene: Scene) -> None:
    server, page, host, other, *_ = scene
    own = f"http://{host.name}"
    apps_before = server.admin.get("/api/v1/apps").json()

    # Its own session is there: that is what the sign-in is for.
    got = page.evaluate("fetch('/_auth/session').then((answer) => answer.json())")
    token = got["accessToken"]
    assert scene.fetch("/api/v1/auth/me", token=token) == "200"

    # Cookies and storage.
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("Object.keys(localStorage)") == []
    assert scene.fetch(f"{server.url}/api/v1/console/session", method="POST", body="{}") == (
        "TypeError"
    )
    assert scene.fetch("/api/v1/console/session", method="POST", body="{}") == "404"
    assert scene.fetch("/console/") == "404"
    assert scene.fetch("/api/v1/auth/refresh", method="POST", body="{}") == "400"

    # Routes of admins, with the token of a core admin at the app's host, and elsewhere.
    for method, path, body in ADMIN_ROUTES:
        route = path.format(app=host.app_id, other=other.app_id)
        through_door = scene.fetch(route, method=method, body=body, token=token)
        assert through_door == "403", f"{method} {route}: {through_door}"
        assert scene.fetch(route, method=method, body=body) == "401", route
        at_server = scene.fetch(f"{server.url}{route}", method=method, body=body, token=token)
        assert at_server == "TypeError", f"{method} {route}: {at_server}"
        bearer = {"authorization": f"Bearer {token}"}
        assert server.http.request(method, route, headers=bearer).status_code == 401
    assert scene.fetch(f"{server.url}/api/v1/apps", mode="no-cors") in ("opaque", "TypeError")

    # Other apps.
    session = f"http://{other.name}/_auth/session"
    assert scene.fetch(session) == "TypeError"
    assert scene.fetch(session, mode="no-cors") in ("opaque", "TypeError")
    assert scene.fetch(f"http://{other.name}/", credentials="omit") == "TypeError"

    # Frames and windows.
    assert scene.attempt(FRAME, f"{server.url}/console/") == "unreadable"
    assert scene.attempt(FRAME, f"http://{other.name}/") == "unreadable"
    frames = [frame.url for frame in page.frames[1:]]
    assert all(url.startswith("chrome-error:") for url in frames), frames
    popup = scene.attempt(POPUP, f"{server.url}/console/")
    assert popup in ("severed SecurityError SecurityError", "TypeError"), popup
    console = next(each for each in page.context.pages if each is not page)
    console.wait_for_load_state()
    assert console.evaluate("window.opener") is None
    console.close()

    # Service workers of other origins, and forms.
    assert scene.attempt(REGISTER, f"{server.url}/") == "SecurityError"
    assert scene.attempt(REGISTER, f"http://{other.name}/") == "SecurityError"
    install = '{"appId": "evil", "name": "=", "dataContract": []}'
    form = scene.attempt(FORM, {"url": f"{server.url}/api/v1/apps", "text": install})
    assert form in ("", "SecurityError", "TypeError"), form
    sign_out = {"url": f"{server.url}/api/v1/console/session", "text": '{"key": "="}'}
    scene.attempt(FORM, sign_out)
    scene.attempt(FORM, {"url": f"http://{other.name}/_auth/sign-out", "text": "a=b"})

    # Nothing of it had an effect.
    assert server.admin.get("/api/v1/apps").json() == apps_before
    page.goto(f"{server.url}/console/")
    page.wait_for_selector("nav.side")
    page.goto(f"http://{other.name}/")
    assert scene.fetch("/_auth/session") == "200"
    assert page.evaluate("fetch('/_auth/session').then((a) => a.status)") == 200
    assert own != page.url


def test_the_sign_in_cannot_be_turned_around(scene: Scene) -> None:
    server, page, host, *_ = scene
    for return_to in ("https://evil.test/", "//evil.test/", "/%5Cevil.test", "javascript:alert(1)"):
        sign_in_at_app(page, host, return_to)
        assert page.url == f"http://{host.name}/"

    # A code is used once.
    callbacks: list[str] = []

    def note(sent: Any) -> None:
        if "/_auth/callback" in sent.url:
            callbacks.append(sent.url)

    page.on("request", note)
    sign_in_at_app(page, host)
    assert page.goto(callbacks[0]).status == 401

    # The code of the attacker's own session signs no user in.
    attacker = server.user()
    prepared = Browser(host)
    url = attacker.post(SIGN_IN, json=prepared.begin()).json()["url"]
    assert page.goto(url).status == 401
    page.goto(f"http://{host.name}/")
    got = page.evaluate("fetch('/_auth/session').then((answer) => answer.json())")
    bearer = f"Bearer {got['accessToken']}"
    me = host.get("/api/v1/auth/me", authorization=bearer).json()
    assert me["username"] == server.admin.username

    # What a page makes up for the server's page leads to its own host only, and to no session.
    made_up = f"app={host.app_id}&challenge={'a' * 43}&state={'b' * 20}&url=https://evil.test"
    page.goto("about:blank")
    page.goto(f"{server.url}/console/#/app-sign-in?{made_up}")
    page.wait_for_url(f"http://{host.name}/_auth/callback?**")
    assert "sign-in has expired" in page.inner_text("body")


def test_a_page_of_another_port_gets_nothing(scene: Scene, serve_page: Callable[[], int]) -> None:
    """As a worker may serve one, under any name of this machine."""
    server, page, host, *_ = scene
    port = serve_page()
    for name in ("127.0.0.1", "localhost", host.name.partition(":")[0]):
        page.goto(f"http://{name}:{port}/")
        assert page.evaluate("document.cookie") == ""
        assert page.evaluate("Object.keys(localStorage)") == []
        for origin in (server.url, f"http://{host.name}"):
            assert scene.fetch(f"{origin}/_auth/session") == "TypeError"
            body = {"method": "POST", "body": "{}"}
            assert scene.fetch(f"{origin}/_auth/sign-out", **body) == "TypeError"
            assert scene.fetch(f"{origin}/api/v1/console/session", **body) == "TypeError"
    page.goto(f"http://{host.name}/")
    assert scene.fetch("/_auth/session") == "200"


@pytest.fixture
def serve_page() -> Generator[Callable[[], int]]:
    """Serve an empty page on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>worker</title>")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - of the base
            """Say nothing."""

    started = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=started.serve_forever)
    thread.start()
    yield lambda: started.server_address[1]
    started.shutdown()
    thread.join()
    started.server_close()
