"""A frontend in a real browser, at a host of its own."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import Pages, chromium, needs_browser
from tests.plugins.frontends.support import Host, deploy, install
from tests.waiting import eventually

pytestmark = [needs_browser, pytest.mark.slow]

INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tasks</title>
<link rel="stylesheet" crossorigin href="/apps/{app_id}/assets/index-Cz3qXw9B.css">
<script type="module" crossorigin src="/apps/{app_id}/assets/index-DiwrgTda.js"></script>
</head><body><div id="root"></div></body></html>
"""
SCRIPT = """
import { word } from "./word-Bq81xYvK.js";
const answer = await fetch("/apps/{app_id}/data.json");
const root = document.querySelector("#root");
const base = "/apps/{app_id}/";
if (!location.pathname.startsWith(base)) throw new Error("a router shows nothing here");
root.textContent = `${word} at ${location.pathname}, ${(await answer.json()).count}`;
root.className = "ready";
root.style.outline = "1px solid";
"""
STYLE = "#root { color: rgb(1, 2, 3); }"


UPDATE = "navigator.serviceWorker.getRegistration().then((r) => r?.update()).then(() => 0, () => 0)"
"""What a browser does by itself a moment after a visit, unless another visit follows."""


def build(app_id: str, word: str) -> dict[str, str]:
    """A site as Vite builds it for a frontend of RootCX: with the base `/apps/{appId}/`."""
    return {
        "index.html": INDEX.format(app_id=app_id),
        "assets/index-DiwrgTda.js": SCRIPT.replace("{app_id}", app_id),
        "data.json": '{"count": 3}',
        "assets/word-Bq81xYvK.js": f"export const word = '{word}';",
        "assets/index-Cz3qXw9B.css": STYLE,
    }


def visit(page: Any, url: str) -> str:
    """Open a page and return its text, with its service worker asked for again."""
    page.goto(url)
    text = page.inner_text("body")
    page.evaluate(UPDATE)
    return text


@pytest.fixture
def page() -> Any:
    """A page that notes what goes wrong in `problems`."""
    with chromium() as browser:
        page = Pages(browser).new()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on(
            "console",
            lambda message: message.type == "error" and page.problems.append(message.text),
        )
        yield page


def test_a_frontend_for_rootcx_works_as_it_is_packed(server: Server, page: Any) -> None:
    app_id = install(server, "task_manager")
    answer = deploy(server.admin, app_id, build(app_id, "tasks"))
    url = answer.json()["url"]
    port = server.url.rpartition(":")[2]
    assert url == f"http://task-manager.localhost:{port}/"
    page.goto(f"{server.url}/apps/{app_id}/boards/7?a=b")
    page.wait_for_selector("#root.ready")
    assert page.url == f"{url}apps/{app_id}/boards/7?a=b"
    assert page.inner_text("#root") == f"tasks at /apps/{app_id}/boards/7, 3"
    page.goto(url)
    page.wait_for_selector("#root.ready")
    assert page.url == f"{url}apps/{app_id}/"
    colour = page.evaluate("getComputedStyle(document.querySelector('#root')).color")
    assert colour == "rgb(1, 2, 3)"
    assert page.problems == []


def test_a_page_is_kept_from_what_its_policy_refuses(server: Server, page: Any) -> None:
    app_id = install(server)
    files = {"index.html": "<script>document.title = 'inline'</script><title>x</title>"}
    url = deploy(server.admin, app_id, files).json()["url"]
    page.goto(url)
    assert page.title() == "x"
    assert "Content Security Policy" in " ".join(page.problems)
    refused = page.evaluate(f"fetch('{server.url}/health').then(() => '', (e) => e.message)")
    assert refused


def test_a_later_app_does_not_meet_what_the_former_left(server: Server, page: Any) -> None:
    app_id = install(server)
    worker = "self.addEventListener('fetch', (e) => e.respondWith(new Response('the former app')))"
    page_of_former = "<title>former</title><script src='/app.js'></script>"
    register = "navigator.serviceWorker.register('/worker.js'); localStorage.secret = 'former';"
    files = {"index.html": page_of_former, "worker.js": worker, "app.js": register}
    url = deploy(server.admin, app_id, files).json()["url"]
    page.goto(url)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.goto(url)
    assert page.inner_text("body") == "the former app"
    assert server.admin.delete(f"/api/v1/apps/{app_id}").status_code == 200
    install(server, app_id)
    deploy(server.admin, app_id, {"index.html": "<title>new</title>the new app"})
    # The service worker answers all pages. A browser asks for its script again after a visit.
    page.goto(url)
    eventually(lambda: visit(page, url) == "the new app")
    assert page.evaluate("localStorage.secret") is None


def test_a_page_open_during_a_deploy_loads_its_own_scripts(server: Server, page: Any) -> None:
    app_id = install(server)
    files = {
        "index.html": "<title>x</title><script type=module src=/assets/index-DiwrgTda.js></script>",
        "assets/index-DiwrgTda.js": "window.later = () => import('/assets/later-Bq81xYvK.js');",
        "assets/later-Bq81xYvK.js": "export default 'the former chunk';",
    }
    url = deploy(server.admin, app_id, files).json()["url"]
    page.goto(url)
    assert deploy(server.admin, app_id, {"index.html": "two"}).status_code == 200
    assert page.evaluate("window.later().then((m) => m.default)") == "the former chunk"
    page.goto(url)
    assert page.inner_text("body") == "two"
    assert page.problems == []
    assert Host(server, app_id).get("/assets/later-Bq81xYvK.js").status_code == 200
