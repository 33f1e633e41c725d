"""The first minutes of a new server, in a real browser."""

import time
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from examples.crm.server import own_server
from kernel.testing import Server
from kernel.testing.servers import PASSWORD

from .browser import OpenTab, Pages, Tab, chromium, needs_browser, tabs

pytestmark = [needs_browser, pytest.mark.slow]


def test_from_make_run_to_an_edited_record_in_two_minutes():
    """Start what `make run` starts, with a database of its own, and edit a record."""
    began = time.monotonic()
    with own_server() as url, chromium() as browser, httpx.Client(base_url=url) as http:
        served = cast("Server", SimpleNamespace(url=url, http=http))
        with tabs(Pages(browser), served, "first-run") as new_tab:
            _to_an_edited_record(served, new_tab)
    assert time.monotonic() - began < 120


def test_a_pasted_manifest_and_safe_mode(make_server):
    # All servers first: Playwright keeps an event loop in this thread.
    other, safe = make_server(), make_server({"plugins": {"console": {"safe": True}}})
    with chromium() as browser:
        pages = Pages(browser)
        with tabs(pages, other, "paste") as new_tab:
            _to_the_first_record_of_a_pasted_manifest(new_tab)
        with tabs(pages, safe, "safe") as new_tab:
            page = new_tab().open(ready="[name=username]").page
            assert "Safe mode" in page.wait_for_selector(".bar.danger").inner_text()


def _to_an_edited_record(server: Server, new_tab: OpenTab) -> None:
    tab = new_tab().allow(400).open(ready="[name=username]")
    page = tab.page
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", "onlylowercase")
    page.click("text=Create account")
    page.wait_for_selector("[role=alert]:has-text('password')")
    began = time.monotonic()
    _make_account(tab)
    page.click("text=Try the CRM example")
    page.wait_for_selector(".gs .gr")
    assert page.url.endswith("#/data/crm/deals")
    page.dblclick("#c-0-1")
    page.keyboard.press("Control+a")
    page.keyboard.type("4321")
    page.keyboard.press("Enter")
    page.wait_for_selector("#c-0-1:has-text('4,321')")
    assert time.monotonic() - began < 60  # a person reads a little slower
    server.http.headers["authorization"] = f"Bearer {_token(server)}"
    assert len(server.http.get("/api/v1/apps/crm/collections/deals?value=4321").json()) == 1


def _to_the_first_record_of_a_pasted_manifest(new_tab: OpenTab) -> None:
    tab = new_tab().open("setup=token-of-the-log", ready="[name=username]")
    page = tab.page
    _make_account(tab)
    page.click("text=Paste a manifest")
    page.click("form button:has-text('Install')")
    page.wait_for_selector("text=No books yet")
    page.click("text=Create the first record")
    page.fill("#n-title", "Middlemarch")
    page.click("button:has-text('Create')")
    page.wait_for_selector("h1:has-text('Middlemarch')")


def _make_account(tab: Tab) -> None:
    tab.page.fill("[name=username]", "ada")
    tab.page.fill("[name=password]", PASSWORD)
    tab.page.click("text=Create account")


def _token(server: Server) -> str:
    body = {"username": "ada", "password": PASSWORD}
    return server.http.post("/api/v1/auth/login", json=body).json()["accessToken"]
