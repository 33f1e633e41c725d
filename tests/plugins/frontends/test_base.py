"""Pages that were built with the base `/apps/{appId}/`, at the host of their app."""

from __future__ import annotations

import httpx
import pytest

from kernel.testing import Server
from tests.plugins.frontends.support import SITE, Host, deploy, deployed, install

PAGE = """<!doctype html><title>Boards</title>
<script type="module" crossorigin src="/apps/{app_id}/assets/index-DiwrgTda.js"></script>
"""
ACCEPT = "text/html,application/xhtml+xml,*/*;q=0.8"


def navigate(host: Host, path: str, accept: str = ACCEPT) -> httpx.Response:
    """Open a page as a browser does, without following what it leads to."""
    headers = {"host": host.name, "accept": accept}
    return host.server.http.get(host.server.url + path, headers=headers, follow_redirects=False)


@pytest.fixture
def host(server: Server) -> Host:
    app_id = install(server)
    files = {**SITE, "index.html": PAGE.format(app_id=app_id)}
    assert deploy(server.admin, app_id, files).status_code == 200
    return Host(server, app_id)


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("/", ""),
        ("/?a=b", "?a=b"),
        ("/boards/7%2F8?a=b%26c", "boards/7%2F8?a=b%26c"),
        ("//evil.example/x", "/evil.example/x"),
        ("/index.html", "index.html"),
    ],
)
def test_a_browser_is_led_to_the_base_of_a_page(host: Host, path: str, rest: str) -> None:
    answer = navigate(host, path)
    location = f"/apps/{host.app_id}/{rest}"
    assert (answer.status_code, answer.headers["location"]) == (307, location)


def test_the_base_itself_ends_with_a_slash(host: Host) -> None:
    base = f"/apps/{host.app_id}"
    answer = navigate(host, base)
    assert (answer.status_code, answer.headers["location"]) == (307, f"{base}/")
    for path in (f"{base}/", f"{base}/boards/7"):
        assert navigate(host, path).text == PAGE.format(app_id=host.app_id)


def test_other_requests_are_answered_as_before(host: Host) -> None:
    assert navigate(host, "/", accept="*/*").text == PAGE.format(app_id=host.app_id)
    assert navigate(host, "/notes.txt").text == SITE["notes.txt"]
    assert navigate(host, "/missing.js").status_code == 404
    assert navigate(host, "/apps/other/").status_code == 404
    assert navigate(host, f"/apps/{host.app_id}/apps/other").status_code == 404


def test_pages_without_the_base_stay_where_they_are(server: Server) -> None:
    host = deployed(server)
    for path in ("/", "/boards/7", f"/apps/{host.app_id}/boards/7"):
        answer = navigate(host, path)
        assert (answer.status_code, answer.text) == (200, SITE["index.html"])
