"""A real Chromium for the tests of the console: Playwright (PyPI) drives Debian's browser, best the
one without a window: the same engine in fewer processes."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Client, Server
from tests.waiting import PATIENCE, eventually

ARTEFACTS = Path("build/console")
"""Where pictures of failed tests are kept."""
WIDE: Any = {"width": 1280, "height": 800}
ARGUMENTS = ["--no-sandbox", "--host-resolver-rules=MAP tools 127.0.0.1"]
"""The host `tools` is this machine. To a browser it is a host like any other, and no loopback."""
CLIPBOARD = ["clipboard-read", "clipboard-write"]
WATCH = """
addEventListener('securitypolicyviolation', (e) => console.error(
    `CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`));
"""

CLEAR = """() => {
    const key = localStorage.getItem('caudex.key');
    localStorage.clear();
    sessionStorage.clear();
    if (key) localStorage.setItem('caudex.key', key);
}"""
"""Forgets what a page keeps, but for the key of the session's cookie."""

LEAVE = """(address) => {
    // A screen is drawn again when one of the first three parts of its address changes.
    const screen = (hash) => hash.slice(2).split('?')[0].split('/').slice(0, 3).join('/');
    const main = document.querySelector('#main');
    if (!main || screen(location.hash) === screen(address)) return false;
    main.querySelectorAll('*').forEach((each) => each.setAttribute('data-old', ''));
    document.querySelectorAll('dialog').forEach((each) => each.close());
    location.hash = address;
    return true;
}"""
"""Goes to another screen and marks what is left of the old one. Returns whether it could."""


def missing() -> str:
    """Return why no browser can be started here; empty where one can."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed (pip install playwright)"
    if _program() is None:
        return "Chromium is not installed (apt-get install chromium-headless-shell)"
    return ""


def _program() -> str | None:
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


@functools.cache
def axe_script() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


class Pages:
    """Pages of closed tabs. The next tab takes one: it has the files in its cache and, of the same
    user, a session. Signing in and starting a page take a second each."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._idle: list[tuple[str, Any]] = []

    def new(self, **options: Any) -> Any:
        """Return a page that no one used."""
        options = {"viewport": WIDE, "locale": "en-GB", "permissions": CLIPBOARD} | options
        page = self._browser.new_context(**options).new_page()
        page.add_init_script(WATCH)
        return page

    def take(self, username: str) -> tuple[str, Any]:
        """Return a page and its user, with this user signed in if such a page is idle."""
        for at, (user, _) in enumerate(self._idle):
            if user == username:
                return self._idle.pop(at)
        if not self._idle:
            return "", self.new()
        _, page = self._idle.pop(0)
        page.context.clear_cookies()
        return "", page

    def give_back(self, username: str, page: Any) -> None:
        """Keep a page; nothing is in it but the session."""
        page.unroute_all()
        page.evaluate(CLEAR)
        page.goto("about:blank")
        page.set_viewport_size(WIDE)
        page.emulate_media(color_scheme="light")
        self._idle.append((username, page))


class Tab:
    """A page of the console, with what it must not do: errors, violations, other hosts."""

    def __init__(self, pages: Pages, server: Server, **options: Any) -> None:
        """With options the page is a new one, and not used again."""
        self._pages = pages
        self._own = bool(options)
        self._user = ""
        self.server = server
        self.url = server.url
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._allowed: set[int] = set()
        self._listeners: list[tuple[str, Callable[[Any], Any]]] = []
        self.page: Any = None
        if self._own:
            options.pop("fresh", None)
            self._watch(pages.new(**options))

    def _watch(self, page: Any) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE * 1000)
        self.on("console", self._console)
        self.on("pageerror", self._error)
        self.on("request", self._request)

    def on(self, event: str, listen: Callable[[Any], Any]) -> None:
        """Listen to the page until the tab is closed."""
        self.page.on(event, listen)
        self._listeners.append((event, listen))

    def by_name(self, host: str) -> Tab:
        """Expect requests to the server by another name of its host, which is no loopback then."""
        self.url = self.server.url.replace("127.0.0.1", host)
        return self

    def allow(self, *statuses: int) -> Tab:
        """Expect replies of these statuses: Chromium writes each to its console."""
        self._allowed.update(statuses)
        return self

    def _console(self, message: Any) -> None:
        if message.type not in ("error", "warning"):
            return
        if any(f"status of {status} " in message.text for status in self._allowed):
            return
        if 0 in self._allowed and "net::ERR" in message.text:
            return
        if self.url != self.server.url and "Opener-Policy header has been ignored" in message.text:
            return  # as on every http that is no loopback
        self.problems.append(f"console {message.type}: {message.text}")

    def _error(self, error: Any) -> None:
        self.problems.append(f"page error: {error}")

    def _request(self, request: Any) -> None:
        self.requests.append(request.url)
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.problems.append(f"a request to another host: {request.url}")
        elif not request.url.removeprefix(self.url).startswith(
            ("/console/", "/api/v1/", "/health", "data:", "blob:")
        ):
            self.problems.append(f"a request beside the public API: {request.url}")

    def sign_in(self, client: Client) -> Tab:
        """Keep a session of this user in the cookie and its key, as the form does."""
        self._user = client.username
        signed_in = ""
        if self.page is None:
            signed_in, page = self._pages.take(client.username)
            self._watch(page)
        if signed_in != client.username:
            tokens = self.server.login(client.username).tokens
            answer = self.page.request.post(
                f"{self.server.url}/api/v1/console/session",
                data={"refreshToken": tokens["refreshToken"]},
                headers={"Sec-Fetch-Site": "same-origin"},
            )
            assert answer.ok, answer.text()
            self.page.goto(f"{self.server.url}/health")  # any page of the origin
            self.page.evaluate(
                "(key) => { localStorage['caudex.key'] = key; }", answer.json()["key"]
            )
        return self

    def leave(self, keep: bool) -> None:
        """Close the tab, or keep its page for the next one."""
        if self.page is None:
            return
        if self._own or not keep or not self.page.context.cookies():
            self.page.context.close()
            return
        for event, listen in self._listeners:
            self.page.remove_listener(event, listen)
        self._pages.give_back(self._user, self.page)

    def open(self, address: str = "", ready: str = "main h1, main .empty, .start") -> Tab:
        """Open a screen by its address behind `#/`, without a reload where another one is open."""
        if self.page is None:
            self._watch(self._pages.new())
            self._own = True
        if self.page.evaluate(LEAVE, f"#/{address}"):
            ready = ", ".join(f"{each}:not([data-old])" for each in ready.split(", "))
        else:
            self.page.goto("about:blank")
            self.page.goto(f"{self.server.url}/console/#/{address}")
        self.page.wait_for_selector(ready)
        return self

    def axe(self, where: str = "html", **options: Any) -> list[str]:
        """Return the serious findings of axe-core, of all its rules or as its options say."""
        if not self.page.evaluate("Boolean(window.axe)"):
            self.page.evaluate(axe_script())
        # Without `preload` it does not fetch the styles once more.
        options = {"resultTypes": ["violations"], "preload": False} | options
        run = "([where, options]) => axe.run(where, options)"
        found = self.page.evaluate(run, [where, options])
        return [
            f"{v['id']}: {node['target']} {node['html'][:200]}"
            for v in found["violations"]
            if v["impact"] in ("serious", "critical")
            for node in v["nodes"]
        ]

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )


def until(page: Any, expression: str, seconds: float = PATIENCE) -> None:
    """Wait until an expression is true. Playwright's own wait needs `eval`, which the policy of the
    page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def await_setting(client: Client, key: str, value: Any) -> None:
    """Wait until the server has a setting of a user: it is saved behind what the page shows."""
    read = lambda: client.get("/api/v1/console/settings").json().get(key)  # noqa: E731
    eventually(lambda: read() == value, why=read)


def drop(page: Any, where: str, name: str, content: bytes) -> None:
    """Drop a file on an element, as a hand does."""
    made = page.evaluate_handle(
        """([name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name));
            return data;
        }""",
        [name, list(content)],
    )
    for event in ("dragover", "drop"):
        page.dispatch_event(where, event, {"dataTransfer": made})


@contextmanager
def chromium() -> Generator[Any]:
    """Start the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=ARGUMENTS)
        yield browser
        browser.close()


OpenTab = Callable[..., Tab]


def _keep(opened: list[Tab], name: str) -> None:
    """Keep a picture of every tab."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    for number, tab in enumerate(each for each in opened if each.page):
        tab.page.screenshot(path=str(ARTEFACTS / f"{name}-{number}.png"))


@contextmanager
def tabs(
    pages: Pages, server: Server, name: str, failed: Callable[[], bool] = lambda: False
) -> Generator[OpenTab]:
    """Yield a function that opens tabs; at the end each must be without problems."""
    opened: list[Tab] = []

    def new(**options: Any) -> Tab:
        opened.append(Tab(pages, server, **options))
        return opened[-1]

    broken = True
    try:
        yield new
        broken = failed()
    finally:
        if broken:
            _keep(opened, name)
        for tab in opened:
            tab.leave(keep=not broken)
    problems = [problem for tab in opened for problem in tab.problems]
    assert not problems, "\n".join(problems)


needs_browser = pytest.mark.skipif(bool(missing()), reason=missing())
