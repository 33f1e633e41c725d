"""Leaving a page and coming back; what a page says meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest

from kernel.testing import Server
from tests.plugins.console.browser import OpenTab, Tab, needs_browser, until
from tests.plugins.console.conftest import DATA

pytestmark = needs_browser
MANY = 300


def test_a_changed_form_is_not_lost_on_a_click_in_the_menu(crm: Server, tab: Tab):
    deal = crm.admin.get(f"{DATA}/deals?title=Deal 1").json()[0]
    page = tab.open(f"record/crm/deals/{deal['id']}").page
    page.fill("#f-notes", "not saved yet")
    page.click(".side a:has-text('Users')")
    page.click("dialog button:has-text('Cancel')")
    assert page.input_value("#f-notes") == "not saved yet"
    until(page, "location.hash.includes('/record/')")
    page.go_back()
    page.click("dialog button:has-text('Cancel')")
    assert page.input_value("#f-notes") == "not saved yet"
    page.click(".side a:has-text('Users')")
    page.click("dialog button:has-text('Leave')")
    page.wait_for_selector("h1:has-text('Users')")
    assert crm.admin.get(f"{DATA}/deals/{deal['id']}").json()["notes"] is None


def test_what_is_saved_or_given_up_asks_nothing(tab: Tab):
    page = tab.open("record/crm/companies/new").page
    page.fill("#n-name", "Left alone")
    page.click("button:has-text('Cancel')")
    page.wait_for_selector(".gs .gr")
    tab.open("record/crm/companies/new")
    page.fill("#n-name", "Saved at once")
    page.click("button:has-text('Create')")
    page.wait_for_selector("h1:has-text('Saved at once')")
    page.click("[aria-label=Delete]")
    page.click("dialog button:has-text('Delete')")
    page.wait_for_selector(".toast:has-text('deleted')")
    page.wait_for_selector(".gs .gr")


def test_back_leads_to_the_same_rows(crm: Server, new_tab: OpenTab):
    crm.install({"appId": "deep", "name": "Deep", "dataContract": [
        {"entityName": "rows", "fields": [{"name": "title", "type": "text"}]}]})  # fmt: skip
    rows = [{"title": f"Row {number}"} for number in range(MANY)]
    assert crm.admin.post("/api/v1/apps/deep/collections/rows/bulk", json=rows).is_success
    page = new_tab().sign_in(crm.admin).open("data/deep/rows", ready=".gs .gr").page
    page.focus(".grid")
    for _ in range(100):
        page.keyboard.press("Control+End")
        page.wait_for_timeout(50)
        if page.query_selector("#c-299-0"):
            break
    page.click("#c-299-0")
    title = page.inner_text("#c-299-0")
    page.keyboard.press("Space")
    page.click(".panel a:has-text('Open as a page')")
    page.wait_for_selector(f"h1:has-text('{title}')")
    page.go_back()
    page.wait_for_selector("#c-299-0.cur")
    assert page.inner_text("#c-299-0") == title
    page.click(".side a:has-text('Users')")
    page.wait_for_selector("h1:has-text('Users')")
    page.click(".side a[href='#/data/deep/rows']")  # again: from the start
    page.wait_for_selector("#c-0-0.cur")


def test_the_tab_is_named_after_what_it_shows(crm: Server, tab: Tab):
    page = tab.open("data/crm/deals", ready=".gs .gr").page
    assert page.title() == "Deals · Caudex"
    tab.open("users")
    assert page.title() == "Users · Caudex"
    company = crm.admin.get(f"{DATA}/companies?name=Acme").json()[0]
    tab.open(f"record/crm/companies/{company['id']}")
    until(page, "document.title === 'Acme · Caudex'")


def test_an_error_goes_away_by_itself_and_not_while_it_is_read(crm: Server, new_tab: OpenTab):
    tab = new_tab(fresh=True).allow(400).sign_in(crm.admin)
    tab.page.clock.install()
    page = tab.open("data/crm/deals", ready=".gs .gr").page
    page.click("#c-2-1")
    page.keyboard.type("1e999999")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast.bad")
    page.hover(".toast.bad")
    page.clock.run_for(200)  # what the hover changes is done a frame later
    page.clock.fast_forward(60_000)
    assert page.is_visible(".toast.bad")
    page.mouse.move(5, 5)
    page.clock.run_for(200)
    page.clock.fast_forward(60_000)
    page.wait_for_selector(".toast.bad", state="detached")
    page.keyboard.press("Escape")


def test_a_screen_that_failed_to_load_is_tried_again(crm: Server, new_tab: OpenTab):
    tab = new_tab(fresh=True).allow(0).sign_in(crm.admin)
    page = tab.open("users").page
    page.route("**/screens/system/secrets.js", lambda route: route.abort())
    page.evaluate("window.stays = true")
    page.click(".side a:has-text('Secrets')")
    page.wait_for_selector("main [role=alert]")
    page.unroute("**/screens/system/secrets.js")
    page.click("button:has-text('Try again')")
    page.wait_for_selector("h1:has-text('Secrets')")
    assert page.evaluate("window.stays")


def test_cancelling_a_job_in_the_list_says_so(crm: Server, tab: Tab):
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"payload": {"type": "someday"}, "run_at": tomorrow}
    assert crm.admin.post("/api/v1/apps/crm/jobs", json=body).status_code == 201
    page = tab.open("jobs/crm?status=pending").page
    page.click("tr:has-text('someday') button:has-text('Cancel')")
    page.wait_for_selector(".toast:has-text('Cancelled')")


def test_a_wrong_code_is_sent_once(crm: Server, new_tab: OpenTab):
    user = crm.user()
    tab = new_tab().allow(401).sign_in(user)
    page = tab.open("account").page
    secret = user.post("/api/v1/auth/totp").json()["secret"]
    code = pyotp.TOTP(secret).now()
    assert user.post("/api/v1/auth/totp/confirm", json={"code": code}).is_success
    page.click("button:has-text('New key')")
    page.fill("label:has-text('Name') input", "careful")
    page.click(".actions button:has-text('Create')")
    page.wait_for_selector("label:has-text('Code of the second factor')")
    sent: list[Any] = []
    tab.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    page.fill("label:has-text('Code of the second factor') input", "000000")
    page.click(".actions button:has-text('Create')")
    page.wait_for_selector("dialog [role=alert]:has-text('code is wrong')")
    assert [url.removeprefix(tab.url) for url in sent] == ["/api/v1/auth/keys"]


def test_long_names_of_apps_leave_the_tools_in_sight(crm: Server, new_tab: OpenTab):
    name = ("The department of everything that has a long name " * 6)[:200].strip()
    crm.install({"appId": "longname", "name": name, "dataContract": [
        {"entityName": "rows", "fields": [{"name": "title", "type": "text"}]}]})  # fmt: skip
    for width in (1280, 360):
        tab = new_tab(viewport={"width": width, "height": 700}).sign_in(crm.admin)
        for screen, tool in (("jobs", "New job"), ("roles", "New role"), ("secrets", "New secret")):
            tab.open(f"{screen}/longname")
            box = tab.page.locator(f"button:has-text('{tool}')").bounding_box()
            assert box["x"] + box["width"] <= width, (screen, width)
            assert tab.overflow() == 0, (screen, width)
            picker = tab.page.locator("select[aria-label=App]").bounding_box()
            assert picker["width"] <= 260, (screen, width)
    menu = tab.page.locator(".side .scroll")
    assert menu.evaluate("(element) => element.scrollWidth <= element.clientWidth")
    crm.admin.delete("/api/v1/apps/longname")


def test_a_page_that_is_open_while_the_server_is_upgraded_says_reload(
    crm: Server, new_tab: OpenTab, monkeypatch: pytest.MonkeyPatch
):
    tab = new_tab(fresh=True).allow(0).sign_in(crm.admin)
    page = tab.open("record/crm/companies/new", ready="#n-name").page
    page.fill("#n-name", "Not lost")
    (console,) = [plugin for plugin in crm.kernel.instances if plugin.name == "console"]
    files = console._routes._files
    monkeypatch.setitem(files._fill, "build", "ofthenextrelease")
    monkeypatch.setattr(files, "_cache", {})
    # The server goes away and comes back as another release; the page notices by its next request.
    page.route("**/api/v1/**", lambda route: route.abort())
    page.click("button:has-text('Create')")
    page.wait_for_selector(".bar:has-text('does not answer')")
    page.unroute("**/api/v1/**")
    bar = page.wait_for_selector(".bar:has-text('The server was upgraded')")
    assert page.input_value("#n-name") == "Not lost"
    assert not tab.axe("#app")
    asked: list[str] = []

    def stay(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    tab.on("dialog", stay)
    bar.query_selector("button").click()
    until(page, "true")
    page.wait_for_timeout(200)
    assert asked == ["beforeunload"]
    assert page.input_value("#n-name") == "Not lost"
    page.click("button:has-text('Create')")
    page.wait_for_selector("h1:has-text('Not lost')")
