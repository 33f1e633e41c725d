"""A real Chromium for the tests of the console: Playwright (PyPI) drives Debian's browser."""

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

ARTEFACTS = Path("build/console")
"""Where pictures of failed tests are kept."""
WATCH = """
addEventListener('securitypolicyviolation', (e) => console.error(
    `CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`));
"""

LEAVE = """(address) => {
    // A screen is drawn anew when one of the first three parts of its address changes.
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
    if shutil.which("chromium") is None:
        return "Chromium is not installed (apt-get install chromium)"
    return ""


@functools.cache
def axe_script() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


class Tab:
    """A page of the console, with what it must not do: errors, violations, other hosts."""

    def __init__(self, page: Any, server: Server, sessions: dict[str, Any]) -> None:
        """`sessions` are the cookies of users whose tabs are closed."""
        self._sessions = sessions
        self._user = ""
        self.page = page
        self.server = server
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._allowed: set[int] = set()
        page.set_default_timeout(10_000)
        page.add_init_script(WATCH)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("request", self._request)

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
        self.problems.append(f"console {message.type}: {message.text}")

    def _request(self, request: Any) -> None:
        self.requests.append(request.url)
        if not request.url.startswith((self.server.url, "data:", "blob:")):
            self.problems.append(f"a request to another host: {request.url}")

    def sign_in(self, client: Client) -> Tab:
        """Keep a session of this user in the cookie, as the form does."""
        self._user = client.username
        if kept := self._sessions.pop(client.username, None):
            self.page.context.add_cookies(kept)
            return self
        tokens = self.server.login(client.username).tokens
        answer = self.page.request.post(
            f"{self.server.url}/api/v1/console/session",
            data={"refreshToken": tokens["refreshToken"]},
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        assert answer.ok, answer.text()
        return self

    def leave(self) -> None:
        """Close the tab; the next one of the same user continues its session."""
        cookies = self.page.context.cookies()
        if self._user and cookies:
            self._sessions[self._user] = cookies
        self.page.context.close()

    def open(self, address: str = "", ready: str = "main h1, main .empty, .start") -> Tab:
        """Open a screen by its address behind `#/`, without a reload where another one is open."""
        if self.page.evaluate(LEAVE, f"#/{address}"):
            ready = ", ".join(f"{each}:not([data-old])" for each in ready.split(", "))
        else:
            self.page.goto("about:blank")
            self.page.goto(f"{self.server.url}/console/#/{address}")
        self.page.wait_for_selector(ready)
        return self

    def axe(self, rules: str = "") -> list[str]:
        """Return the serious findings of axe-core, of all its rules or of one."""
        if not self.page.evaluate("Boolean(window.axe)"):
            self.page.evaluate(axe_script())
        options = {"resultTypes": ["violations"]} | ({"runOnly": [rules]} if rules else {})
        found = self.page.evaluate("(options) => axe.run(options)", options)
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


def until(page: Any, expression: str, seconds: float = 10) -> None:
    """Wait until an expression is true. Playwright's own wait needs `eval`, which the policy of the
    page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


@contextmanager
def chromium() -> Generator[Any]:
    """Start the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


OpenTab = Callable[..., Tab]


def _keep(opened: list[Tab], name: str) -> None:
    """Keep a picture of every tab."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    for number, tab in enumerate(opened):
        tab.page.screenshot(path=str(ARTEFACTS / f"{name}-{number}.png"))


@contextmanager
def tabs(
    browser: Any,
    server: Server,
    name: str,
    failed: Callable[[], bool] = lambda: False,
    sessions: dict[str, Any] | None = None,
) -> Generator[OpenTab]:
    """Yield a function that opens tabs; at the end each must be without problems."""
    opened: list[Tab] = []
    known = {} if sessions is None else sessions

    def new(**options: Any) -> Tab:
        options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"} | options
        tab = Tab(browser.new_context(**options).new_page(), server, known)
        opened.append(tab)
        return tab

    try:
        yield new
    except BaseException:
        _keep(opened, name)
        raise
    finally:
        if failed():
            _keep(opened, name)
        for tab in opened:
            tab.leave()
    problems = [problem for tab in opened for problem in tab.problems]
    assert not problems, "\n".join(problems)


needs_browser = pytest.mark.skipif(bool(missing()), reason=missing())
