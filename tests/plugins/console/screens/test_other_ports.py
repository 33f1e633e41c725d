"""What another port of the host gets: a browser sends cookies to each, and runs its pages.

An app's worker, or any account of the machine, may listen on a port of it.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from kernel.testing import Server
from kernel.testing.servers import PASSWORD
from tests.plugins.console.browser import Tab, needs_browser, until

pytestmark = needs_browser

SESSION = "/api/v1/console/session"
PAGE = b"""<!doctype html><title>Stock</title><script>
fetch('/api/v1/console/session', {method: 'POST'}).then(() => { document.title = 'captured'; });
</script>"""


class Listener(ThreadingHTTPServer):
    """A server on another port, which keeps the cookies that a browser sends it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cookies: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_GET(self) -> None:
        if cookie := self.headers.get("cookie"):
            self.server.cookies.append(cookie)
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@pytest.fixture
def listener() -> Generator[Listener]:
    with Listener() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()


def sign_in(tab: Tab, username: str) -> None:
    """Sign in by the form, and wait until the cookie is there."""
    tab.page.goto(f"{tab.url}/console/")
    tab.page.fill("[name=username]", username)
    tab.page.fill("[name=password]", PASSWORD)
    with tab.page.expect_response(lambda reply: reply.url.endswith(SESSION)) as kept:
        tab.page.click("button:has-text('Sign in')")
    assert kept.value.ok
    tab.page.wait_for_selector(".who")


@pytest.mark.parametrize("host", ["127.0.0.1", "tools"])
def test_a_captured_cookie_gives_nothing(crm: Server, new_tab, listener: Listener, host: str):
    user = crm.user()
    tab = new_tab(fresh=True).by_name(host)
    sign_in(tab, user.username)
    hostile = tab.page.context.new_page()
    hostile.goto(f"http://{host}:{listener.server_port}/")
    until(hostile, "document.title === 'captured'")
    assert listener.cookies  # the browser does send it
    for cookie in listener.cookies:
        for pair in cookie.split(";"):
            _try_everything(crm.url, pair.strip())
    tab.page.reload()  # and nothing of that has ended the session
    tab.page.wait_for_selector(".who")


def _try_everything(url: str, pair: str) -> None:
    name, _, value = pair.partition("=")
    own = {"sec-fetch-site": "same-origin", "cookie": pair}
    bodies: list[dict[str, str]] = [{}, {"key": ""}, {"key": value}, {"key": name}]
    with httpx.Client(base_url=url) as attacker:
        for text in (value, value.rstrip("=")):
            for path in ("refresh", "logout"):
                answer = attacker.post(f"/api/v1/auth/{path}", json={"refreshToken": text})
                assert answer.status_code == 401, path
            bearer = {"authorization": f"Bearer {text}"}
            assert attacker.get("/api/v1/auth/me", headers=bearer).status_code == 401
            bodies.append({"refreshToken": text})
        for body in bodies:
            answer = attacker.post(SESSION, json=body, headers=own)
            assert answer.status_code == 401 or answer.json()["accessToken"] is None, body
            attacker.request("DELETE", SESSION, json=body, headers=own)
        assert attacker.get("/api/v1/auth/me", headers=own).status_code == 401


def test_a_page_of_another_port_cannot_use_the_session(crm: Server, new_tab, listener: Listener):
    tab = new_tab(fresh=True).allow(0, 401, 403)
    sign_in(tab, crm.user().username)
    hostile = tab.page.context.new_page()
    hostile.goto(f"http://127.0.0.1:{listener.server_port}/")
    answers = hostile.evaluate(
        """async (url) => {
            const tries = [['POST', {}], ['POST', {key: ''}], ['DELETE', {}]].map(
                async ([method, body]) => {
                    const options = {method, credentials: 'include', body: JSON.stringify(body)};
                    for (const mode of ['cors', 'no-cors']) {
                        const answer = await fetch(url, {...options, mode}).catch(() => null);
                        if (answer?.ok) return await answer.text();
                    }
                    return '';
                });
            return [...await Promise.all(tries), JSON.stringify({...localStorage})];
        }""",
        f"{crm.url}{SESSION}",
    )
    assert answers == ["", "", "", "{}"]
    tab.page.reload()
    tab.page.wait_for_selector(".who")


def test_reloads_and_other_tabs_continue_until_the_user_signs_out(crm: Server, new_tab):
    tab = new_tab(fresh=True)
    sign_in(tab, crm.user().username)
    second = tab.page.context.new_page()
    second.goto(f"{tab.url}/console/")
    second.wait_for_selector(".who")
    tab.page.reload()
    tab.page.wait_for_selector(".who")
    second.click(".who")
    second.click("text=Sign out")
    second.wait_for_selector("[name=password]")
    assert second.evaluate("localStorage.getItem('caudex.key')") is None
    tab.allow(401).page.reload()
    tab.page.wait_for_selector("[name=password]")
    sign_in(tab, crm.user().username)
    second.reload()
    second.wait_for_selector(".who")


@pytest.mark.parametrize("host", ["127.0.0.1", "tools"])
def test_links_of_manifests_lead_to_other_hosts_only(crm: Server, new_tab, host: str):
    """An app's admin writes the text of its pages, and the core admin reads it."""
    names = ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "0",
             "127.9.9.9", "localhost", "LOCALHOST.", "a.localhost", "[::1]", "[::]",
             "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "me@127.0.0.1", "example.com:pw@localhost",
             "evil@example.com", "%6cocalhost", "\uff4cocalhost"]  # fmt: skip
    if host == "tools":
        names += ["tools", "TOOLS", "tools.", "tools.."]
    refused = [f"http://{name}:40000/" for name in names]
    refused += ["//127.0.0.1:40000/", "http:\\\\127.1:40000", "http:127.1:40000", "/console/", "x"]
    refused += ["javascript:alert(1)", "data:text/html,x", "ftp://example.com/", "http://"]
    links = [f"[Refused]({address})" for address in refused]
    links += ["[http://good.test](https://example.com/a?b#c)", "[Docs](http://EXAMPLE.org)"]
    app = {"appId": "linked", "name": "Linked", "type": "app"}
    pages = [{"title": "Read me", "text": "\n\n".join(links)}]
    crm.install({**app, "consolePages": pages})
    tab = new_tab(fresh=True).by_name(host)
    sign_in(tab, crm.admin.username)
    tab.page.goto(f"{tab.url}/console/#/pages/linked/read-me")
    tab.page.wait_for_selector(".md a")
    shown = tab.page.eval_on_selector_all(
        ".md a", "all => all.map(a => [a.href, a.rel, a.target, a.parentNode.innerText])"
    )
    addresses = ["https://example.com/a?b#c", "http://example.org/"]
    assert [link[0] for link in shown] == addresses
    for address, rel, target, text in shown:
        assert (rel, target) == ("noopener noreferrer", "_blank")
        assert address in text  # where it leads, whatever its name says
    assert tab.page.inner_text(".md").count("Refused") == len(refused)
    assert httpx.get(f"{crm.url}/console/").headers["referrer-policy"] == "no-referrer"
