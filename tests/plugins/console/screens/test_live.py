"""Tables and records that follow the changes of others, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import OpenTab, Tab, needs_browser, until
from tests.plugins.console.conftest import DATA
from tests.waiting import eventually

pytestmark = needs_browser
DEALS = "data/crm/deals"
PAUSE = "button[aria-label^='Pause']"
SHOW = "button[aria-label='Show changes of others']"


def is_feed(reply: Any) -> bool:
    """Whether a reply is the stream of a table or a record."""
    return "/deals/feed" in reply.url


@pytest.fixture
def deals(crm: Server) -> dict[str, Any]:
    """Six new deals by their titles, and no others."""
    crm.sql("delete from crm.deals")
    company = crm.admin.get(f"{DATA}/companies", params={"limit": 1}).json()[0]
    stages = ("Lead", "Qualified")
    body = [
        {
            "title": f"Deal {number}",
            "value": number * 1000,
            "stage": stages[number % 2],
            "company_id": company["id"],
        }
        for number in range(6)
    ]
    made = crm.admin.post(f"{DATA}/deals/bulk", json=body).json()
    return {deal["title"]: deal for deal in made}


def open_table(tab: Tab, query: str = "?sort=value&order=asc") -> Any:
    """Open the table of deals, whose stream is open."""
    with tab.page.expect_response(is_feed):
        tab.open(f"{DEALS}{query}", ready=".gs .gr")
    return tab.page


def change(crm: Server, deal: dict[str, Any], **values: Any) -> None:
    crm.admin.patch(f"{DATA}/deals/{deal['id']}", json=values).raise_for_status()


@pytest.mark.usefixtures("deals")
def test_two_browsers_see_each_others_edits(crm: Server, tab: Tab, new_tab: OpenTab) -> None:
    page = open_table(tab)
    other = open_table(new_tab().sign_in(crm.admin))
    other.dblclick("#c-1-1")
    other.keyboard.press("Control+a")
    other.keyboard.type("1234")
    other.keyboard.press("Enter")
    page.wait_for_selector(".gr.changed #c-1-1:has-text('1,234')")
    page.wait_for_selector(".gr:not(.changed) #c-1-1")
    page.dblclick("#c-1-1")
    page.keyboard.press("Control+a")
    page.keyboard.type("4321")
    page.keyboard.press("Enter")
    other.wait_for_selector("#c-1-1:has-text('4,321')")


def test_nothing_moves_while_one_types(crm: Server, tab: Tab, deals: dict[str, Any]) -> None:
    page = open_table(tab)
    page.dblclick("#c-2-1")
    page.keyboard.type("77")
    change(crm, deals["Deal 0"], title="Changed meanwhile")
    page.wait_for_timeout(500)
    assert page.inner_text("#c-0-0") == "Deal 0"
    assert page.input_value("#cell").endswith("77")
    page.keyboard.press("Escape")
    page.wait_for_selector("#c-0-0:has-text('Changed meanwhile')")


def test_a_paused_table_shows_what_waits(crm: Server, tab: Tab, deals: dict[str, Any]) -> None:
    page = open_table(tab)
    page.click(PAUSE)
    change(crm, deals["Deal 1"], title="While paused")
    page.wait_for_selector(f"{SHOW} small:has-text('1')")
    assert page.inner_text("#c-1-0") == "Deal 1"
    page.click(SHOW)
    page.wait_for_selector("#c-1-0:has-text('While paused')")


def test_rows_come_and_go(crm: Server, tab: Tab, deals: dict[str, Any]) -> None:
    page = open_table(tab)
    company = {"company_id": deals["Deal 0"]["company_id"], "stage": "Lead"}
    cheapest = {"title": "Cheapest", "value": -5, **company}
    crm.admin.post(f"{DATA}/deals", json=cheapest).raise_for_status()
    page.wait_for_selector("#c-0-0:has-text('Cheapest')")
    page.focus(".grid")
    cheaper = {"title": "Cheaper", "value": -9, **company}
    crm.admin.post(f"{DATA}/deals", json=cheaper).raise_for_status()
    page.wait_for_selector("button:has-text('1 new')")
    assert page.inner_text("#c-0-0") == "Cheapest"
    crm.admin.delete(f"{DATA}/deals/{deals['Deal 2']['id']}").raise_for_status()
    page.wait_for_selector(".gr.gone:has-text('Deal 2')")
    page.click("button:has-text('1 new')")
    page.wait_for_selector("#c-0-0:has-text('Cheaper')")
    assert page.locator(".gr.gone").count() == 0


def test_a_record_follows_and_keeps_what_is_typed(
    crm: Server, tab: Tab, deals: dict[str, Any]
) -> None:
    deal = deals["Deal 3"]
    page = tab.page
    with page.expect_response(is_feed):
        tab.open(f"record/crm/deals/{deal['id']}", ready="form.recordform")
    change(crm, deal, title="Changed by another")
    page.wait_for_selector("h1:has-text('Changed by another')")
    until(page, "document.querySelector('form.recordform input').value === 'Changed by another'")
    page.fill("form.recordform input >> nth=0", "Typed here")
    change(crm, deal, title="Changed again")
    page.wait_for_selector(".notice:has-text('Another user has changed this record')")
    assert page.input_value("form.recordform input >> nth=0") == "Typed here"
    page.click(".notice button")
    page.wait_for_selector("h1:has-text('Changed again')")
    crm.admin.delete(f"{DATA}/deals/{deal['id']}").raise_for_status()
    page.wait_for_selector(".notice:has-text('deleted meanwhile')")


def test_a_table_follows_only_what_it_shows(crm: Server, tab: Tab, deals: dict[str, Any]) -> None:
    page = open_table(tab, '?where={"stage":"Lead"}&sort=value&order=asc')
    rows = page.locator(".gs .gr").count()
    change(crm, deals["Deal 1"], title="Elsewhere")
    change(crm, deals["Deal 0"], stage="Qualified")
    page.wait_for_selector(".gr.gone:has-text('Deal 0')")
    assert page.locator(".gs .gr").count() == rows
    change(crm, deals["Deal 1"], stage="Lead")
    page.wait_for_selector("[role=gridcell]:has-text('Elsewhere')")
    eventually(lambda: page.locator(".gr.gone").count() == 0)


ENDED = 'event: end\ndata: {"reason":"role"}\n\n'
READY = 'event: ready\nid: p2\ndata: {"position":"p2"}\n\n'


def test_a_table_is_read_again_once_the_next_stream_has_begun(
    crm: Server, tab: Tab, deals: dict[str, Any]
) -> None:
    """What is written while there is no stream would be on no list and in no event."""
    streams = [ENDED, READY]

    def answer(route: Any) -> None:
        if len(streams) == 1:
            change(crm, deals["Deal 0"], title="Between two streams")
        body = streams.pop(0) if streams else ""
        route.fulfill(body=body, headers={"content-type": "text/event-stream"})

    tab.page.route("**/deals/feed*", answer)
    page = open_table(tab)
    page.wait_for_selector("#c-0-0:has-text('Between two streams')")


def test_a_record_that_changes_before_its_stream_begins_is_shown(
    crm: Server, tab: Tab, deals: dict[str, Any]
) -> None:
    deal = deals["Deal 3"]
    titles = ["Before the stream"]

    def answer(route: Any) -> None:
        if titles:
            change(crm, deal, title=titles.pop())
        route.continue_()

    tab.page.route("**/deals/feed*", answer)
    tab.open(f"record/crm/deals/{deal['id']}", ready="form.recordform")
    tab.page.wait_for_selector("h1:has-text('Before the stream')")
