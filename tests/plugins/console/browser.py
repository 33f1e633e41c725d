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

    def __init__(self, page: Any, server: Server) -> None:
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
        tokens = self.server.login(client.username).tokens
        answer = self.page.request.post(
            f"{self.server.url}/api/v1/console/session",
            data={"refreshToken": tokens["refreshToken"]},
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        assert answer.ok, answer.text()
        return self

    def open(self, address: str = "", ready: str = "main h1, main .empty, .start") -> Tab:
        """Open a screen by its address behind `#/`."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.server.url}/console/#/{address}")
        self.page.wait_for_selector(ready)
        return self

    def axe(self) -> list[str]:
        """Return the serious findings of axe-core."""
        self.page.evaluate(axe_script())
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")
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


def _keep(opened: list[tuple[Any, Tab]], name: str) -> None:
    """Keep a picture of every tab."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    for number, (_, tab) in enumerate(opened):
        tab.page.screenshot(path=str(ARTEFACTS / f"{name}-{number}.png"))


@contextmanager
def tabs(
    browser: Any, server: Server, name: str, failed: Callable[[], bool] = lambda: False
) -> Generator[OpenTab]:
    """Yield a function that opens tabs; at the end each must be without problems."""
    opened: list[tuple[Any, Tab]] = []

    def new(**options: Any) -> Tab:
        options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"} | options
        context = browser.new_context(**options)
        tab = Tab(context.new_page(), server)
        opened.append((context, tab))
        return tab

    try:
        yield new
    except BaseException:
        _keep(opened, name)
        raise
    finally:
        if failed():
            _keep(opened, name)
        for context, _ in opened:
            context.close()
    problems = [problem for _, tab in opened for problem in tab.problems]
    assert not problems, "\n".join(problems)


needs_browser = pytest.mark.skipif(bool(missing()), reason=missing())
