"""The first minutes of a new server, in a real browser."""

import time

import pytest

from kernel.testing import Server
from kernel.testing.servers import PASSWORD

from .browser import chromium, needs_browser, tabs

pytestmark = needs_browser


@pytest.fixture
def fresh(make_server) -> Server:
    """A server that no account exists on yet."""
    return make_server()


def test_from_a_new_server_to_an_edited_record(fresh: Server):
    began = time.monotonic()
    with chromium() as browser, tabs(browser, fresh, "first-run") as new_tab:
        tab = new_tab().open(ready="[name=username]")
        page = tab.page
        page.fill("[name=username]", "ada")
        page.fill("[name=password]", PASSWORD)
        page.click("text=Create account")
        page.click("text=Try the CRM example")
        page.wait_for_selector(".gs .gr")
        assert page.url.endswith("#/data/crm/deals")
        page.dblclick("#c-0-1")
        page.keyboard.press("Control+a")
        page.keyboard.type("4321")
        page.keyboard.press("Enter")
        page.wait_for_selector("#c-0-1:has-text('4321')")
    assert time.monotonic() - began < 60  # a person reads a little slower
    fresh.http.headers["authorization"] = f"Bearer {_token(fresh)}"
    rows = fresh.http.get("/api/v1/apps/crm/collections/deals?value=4321").json()
    assert len(rows) == 1


def _token(server: Server) -> str:
    body = {"username": "ada", "password": PASSWORD}
    return server.http.post("/api/v1/auth/login", json=body).json()["accessToken"]


def test_a_pasted_manifest_is_the_first_app(fresh: Server):
    with chromium() as browser, tabs(browser, fresh, "paste") as new_tab:
        page = new_tab().open("setup=token-of-the-log", ready="[name=username]").page
        page.fill("[name=username]", "ada")
        page.fill("[name=password]", PASSWORD)
        page.click("text=Create account")
        page.click("text=Paste a manifest")
        page.click("form button:has-text('Install')")
        page.wait_for_selector("text=No books yet")
        page.click("text=Create the first record")
        page.fill("#n-title", "Middlemarch")
        page.click("button:has-text('Create')")
        page.wait_for_selector("h1:has-text('Middlemarch')")


def test_a_weak_password_is_explained(fresh: Server):
    with chromium() as browser, tabs(browser, fresh, "weak") as new_tab:
        page = new_tab().allow(400).open(ready="[name=username]").page
        page.fill("[name=username]", "ada")
        page.fill("[name=password]", "onlylowercase")
        page.click("text=Create account")
        page.wait_for_selector("[role=alert]:has-text('password')")


def test_safe_mode_shows_a_red_bar(make_server):
    server = make_server({"plugins": {"console": {"safe": True}}})
    with chromium() as browser, tabs(browser, server, "safe") as new_tab:
        page = new_tab().open(ready="[name=username]").page
        bar = page.wait_for_selector(".bar.danger")
        assert "Safe mode" in bar.inner_text()
