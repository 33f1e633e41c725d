"""The page of the console, in Chromium."""

from __future__ import annotations

import re

import pytest

from kernel.testing import running_server
from tests.plugins.console.browser import Pages, chromium, missing, needs_browser, tabs
from tests.waiting import eventually

from .support import (
    CONFIG,
    DEALS,
    create,
    deliveries,
    make_hook,
    path,
    receiving,
    show_hook,
    states,
    update,
)

pytestmark = [pytest.mark.slow, needs_browser]
PAGE = "pages/webhooks/webhooks"


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    with receiving(tmp_path_factory.mktemp("receiver")) as running:
        yield running


@pytest.fixture(scope="module")
def server(postgres, tmp_path_factory):
    with running_server(postgres, CONFIG, data_dir=tmp_path_factory.mktemp("console")) as running:
        running.install(DEALS)
        running.admin.post("/api/v1/apps/crm/roles", json={"name": "clerk", "permissions": []})
        yield running


@pytest.fixture(scope="module")
def pages(server, receiver):
    assert server
    if missing():
        pytest.skip(missing())
    with chromium() as browser:
        yield Pages(browser)


@pytest.fixture
def new_tab(pages, server, request):
    with tabs(pages, server, re.sub(r"[^\w-]+", "-", request.node.name)) as new:
        yield new


@pytest.fixture(autouse=True)
def no_hooks(server):
    """Begin without webhooks."""
    for hook in server.admin.get(path("crm")).json():
        server.admin.delete(path("crm", hook["id"]))


def test_a_webhook_is_made_and_its_secret_is_shown_once(server, receiver, new_tab):
    tab = new_tab().sign_in(server.admin).open(f"{PAGE}/crm")
    page = tab.page
    page.wait_for_selector("main :text('No webhooks')")
    page.click("button:has-text('New webhook')")
    page.fill("dialog input[name=name]", "made here")
    page.fill("dialog input[name=url]", "https://10.0.0.1/")
    page.fill("dialog textarea", '{"stage": "Won"')
    page.click("dialog button:has-text('Create')")
    page.wait_for_selector("dialog [role=alert]:has-text('Where is not JSON')")
    page.fill("dialog textarea", '{"stage": "Won"}')
    tab.allow(400)
    page.click("dialog button:has-text('Create')")
    page.wait_for_selector("dialog [role=alert]:has-text('private, local or reserved')")
    page.fill("dialog input[name=url]", receiver.url("/made"))
    page.uncheck("dialog label:has-text('change') input")
    page.fill("dialog input[name=fields]", "title, stage")
    page.select_option("dialog select[name=entity]", "deals")
    page.click("dialog button:has-text('Create')")
    secret = page.input_value("dialog input[aria-label=Secret]")
    assert secret.startswith("whsec_")
    assert tab.axe("dialog") == []
    page.click("dialog button:has-text('Copy')")
    page.click("dialog button:has-text('Done')")
    page.wait_for_selector("h1:has-text('made here')")
    [hook] = server.admin.get(path("crm")).json()
    assert page.url.endswith(f"{PAGE}/crm/{hook['id']}")
    assert (hook["on"], hook["where"]) == (["enter", "leave"], {"stage": "Won"})
    assert (hook["fields"], hook["as"]) == (["title", "stage"], None)
    assert secret not in page.content()
    page.click(".crumbs a")
    page.wait_for_selector("td:has-text('made here')")


def test_deliveries_are_shown_sent_again_and_replayed(server, receiver, new_tab):
    receiver.answer("500", "/busy")
    hook = make_hook(server, "crm", receiver.url("/busy"), name="busy")
    deal = create(server, title="x")
    update(server, deal, title="y")
    # The page reads the deliveries once: what is not there yet would never be shown.
    eventually(lambda: len(deliveries(server, "crm", hook["id"])) == 2)
    eventually(lambda: show_hook(server, "crm", hook["id"])["failing_since"])
    page = new_tab().sign_in(server.admin).open(f"{PAGE}/crm/{hook['id']}").page
    page.wait_for_selector(".facts .tag:has-text('failing')")
    first = "tr:has(td:text-is('enter'))"
    second = "tr:has(td:text-is('change'))"
    page.wait_for_selector(f"{first} :text('the receiver answered 500')")
    page.wait_for_selector(f"{second} :text('after the one before it')")
    receiver.answer("200", "/busy")
    page.click(f"{first} button:has-text('Send now')")
    eventually(lambda: states(server, "crm", hook["id"]) == ["delivered"] * 2)
    page.click("button:has-text('Reload')")
    page.wait_for_selector(f"{second} .tag:has-text('delivered')")
    page.click(f"{second} button:has-text('Send again')")
    page.wait_for_selector("[role=status] :text('It is sent again.')")
    eventually(lambda: len(receiver.received("/busy")) >= 4)
    page.click("button:has-text('Replay…')")
    page.fill("dialog input", "2020-01-01T00:00")
    page.click("dialog button:has-text('Replay')")
    page.wait_for_selector("[role=status] :text('deliveries wait again.')")
    eventually(lambda: states(server, "crm", hook["id"]) == ["delivered"] * 2)
    page.select_option("select[aria-label=State]", "failed")
    page.wait_for_selector("main :text('No deliveries')")
    page.select_option("select[aria-label=State]", "delivered")
    page.click(f"{first} td a")
    page.wait_for_selector(f"h1, h2 :text('{deal['id']}')", state="attached")


def test_a_webhook_is_tested_changed_and_ended(server, receiver, new_tab):
    receiver.answer("200", "/tools")
    hook = make_hook(server, "crm", receiver.url("/tools"), name="tools")
    tab = new_tab().sign_in(server.admin).open(f"{PAGE}/crm/{hook['id']}")
    page = tab.page
    page.click("button:has-text('Send a test')")
    page.wait_for_selector("[role=status] :text('The receiver answered 200')")
    receiver.answer("410", "/tools")
    page.click("button:has-text('Send a test')")
    page.wait_for_selector(".toast.bad :text('The receiver answered 410')")
    page.click("button:has-text('New secret…')")
    page.click("dialog button:has-text('Make')")
    page.wait_for_selector("dialog input[aria-label=Secret]")
    page.click("dialog button:has-text('Done')")
    page.click("button:has-text('Edit…')")
    page.fill("dialog input[name=name]", "renamed")
    page.select_option("dialog select[name=as]", "clerk")
    tab.allow(400)
    page.click("dialog button:has-text('Save')")
    page.wait_for_selector("dialog [role=alert]")  # the role may read nothing
    page.select_option("dialog select[name=as]", "")
    page.click("dialog button:has-text('Save')")
    page.wait_for_selector("h1:has-text('renamed')")
    create(server, title="gone")
    eventually(lambda: not show_hook(server, "crm", hook["id"])["enabled"])
    page.click(".crumbs a")  # no reload: a module that was opened a moment ago looks hung
    page.click("td a")
    page.wait_for_selector(".notice:has-text('The server has disabled this webhook.')")
    receiver.answer("200", "/tools")
    page.click("button:has-text('Enable')")
    page.wait_for_selector("button:has-text('Disable')")
    eventually(lambda: states(server, "crm", hook["id"]) == ["delivered"])
    page.click("button:has-text('Disable')")
    page.wait_for_selector(".facts .tag:has-text('disabled')")
    page.click("button[aria-label='Delete renamed']")
    page.click("dialog button:has-text('Delete')")
    page.wait_for_selector("main :text('No webhooks')")
    assert deliveries_of_all(server) == 0


def deliveries_of_all(server):
    [(count,)] = server.sql("select count(*) from caudex_webhooks.deliveries")
    return count


def test_only_admins_of_an_app_see_the_page(server, new_tab):
    reader = server.user(permissions={"crm": ["deals.read"]})
    tab = new_tab().sign_in(reader).open("account")
    assert "Webhooks" not in tab.page.inner_text("nav.side")
    tab.open(f"{PAGE}/crm")
    assert "There is no such page" in tab.page.inner_text("main")
    admin = server.user(roles={"crm": ["admin"]})
    tab = new_tab().sign_in(admin).open("account")
    tab.page.click("nav.side a:has-text('Webhooks')")
    tab.page.wait_for_selector("main :text('No webhooks')")
    tab.open(f"{PAGE}/nothing")
    assert "There is no such app" in tab.page.inner_text("main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_good_to_look_at_and_fits_a_telephone(server, receiver, new_tab, scheme):
    receiver.answer("500", "/look")
    hook = make_hook(
        server, "crm", receiver.url("/look?" + "a-long-query/" * 8), name="To the accounting",
        where={"stage": {"$ne": "Lost"}, "value": {"$gt": 1000}}, fields=["title", "stage"],
    )  # fmt: skip
    for number in range(4):
        create(server, title=f"Deal {number}", stage="Won", value=5000)
    eventually(lambda: any(row["attempts"] for row in deliveries(server, "crm", hook["id"])))
    tab = new_tab().sign_in(server.admin).open(f"{PAGE}/crm")
    tab.page.emulate_media(color_scheme=scheme)
    look_at(tab, f"webhooks-{scheme}-list")
    tab.page.click("td a")
    tab.page.wait_for_selector("h2:has-text('Deliveries')")
    look_at(tab, f"webhooks-{scheme}-one")
    tab.page.click(".crumbs a")
    tab.page.click("button:has-text('New webhook')")
    tab.page.wait_for_selector("dialog form")
    assert tab.axe("dialog") == []
    tab.page.screenshot(path=f"build/console/webhooks-{scheme}-form.png")


def look_at(tab, name):
    """See that a screen is accessible, and that it fits a telephone; keep pictures."""
    tab.page.wait_for_selector("table.list")
    assert tab.axe() == []
    tab.page.screenshot(path=f"build/console/{name}.png")
    tab.page.set_viewport_size({"width": 360, "height": 740})
    assert tab.overflow() <= 0
    tab.page.screenshot(path=f"build/console/{name}-360.png", full_page=True)
    tab.page.set_viewport_size({"width": 1280, "height": 800})
