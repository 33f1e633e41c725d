"""What a hand does in the table: clicks by coordinates, taps, and keys."""

from typing import Any

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import OpenTab, Tab, needs_browser, until
from tests.plugins.console.conftest import DATA

pytestmark = needs_browser
PHONE: Any = {"width": 360, "height": 700}
ACTIVE = "document.activeElement"


@pytest.fixture
def table(crm: Server, tab: Tab) -> Tab:
    """The table of deals, sorted by value; the links are shown by their titles."""
    tab.open("data/crm/deals?sort=value&order=asc", ready=".gs .gr")
    until(tab.page, "document.querySelector('#c-0-4').innerText !== ''")
    return tab


def middle(page: Any, selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_list_of_a_link_is_over_the_rows_below(table: Tab):
    page = table.page
    page.focus(".grid")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("F2")
    page.wait_for_selector(".celledit [role=option]:has-text('Cobalt')")
    x, y = middle(page, ".celledit [role=option]:has-text('Cobalt')")
    on_top = "([x, y]) => document.elementFromPoint(x, y).closest('[role=option]')?.innerText"
    assert page.evaluate(on_top, [x, y]) == "Cobalt"
    page.mouse.click(x, y)
    page.wait_for_selector("#c-0-4:has-text('Cobalt')")
    assert "/data/crm/deals" in page.url


def test_the_list_of_a_link_opens_upwards_at_the_lower_edge(crm: Server, new_tab: OpenTab):
    options: Any = {"viewport": {"width": 1280, "height": 330}}
    tab = new_tab(**options).sign_in(crm.admin).open("data/crm/deals", ready=".gs .gr")
    page = tab.page
    page.click("#c-5-0")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("F2")
    page.wait_for_selector(".celledit [role=option]")
    _, y = middle(page, ".celledit [role=option]")
    assert 0 < y < page.locator(".celledit").bounding_box()["y"]


def test_a_record_is_opened_by_a_tap_on_a_phone(crm: Server, new_tab: OpenTab):
    tab = new_tab(viewport=PHONE, has_touch=True).sign_in(crm.admin)
    page = tab.open("data/crm/deals", ready=".gs .gr").page
    x, y = middle(page, ".gs .gr [aria-label='Open Deal 3']")
    assert 0 < x < PHONE["width"]
    page.touchscreen.tap(x, y)
    page.wait_for_selector("h1:has-text('Deal 3')")


def test_buttons_have_names_on_a_phone(crm: Server, new_tab: OpenTab):
    tab = new_tab(viewport=PHONE).sign_in(crm.admin)
    tab.open("data/crm/deals", ready=".gs .gr")
    assert tab.axe(runOnly=["button-name"]) == []


def test_a_long_number_begins_with_its_first_digit(crm: Server, new_tab: OpenTab):
    crm.install({"appId": "long", "name": "Long", "dataContract": [
        {"entityName": "rows", "fields": [{"name": "size", "type": "number"}]}]})  # fmt: skip
    number = "1234567890.123456"
    path = "/api/v1/apps/long/collections/rows"
    content = f'{{"size": {number}}}'
    headers = {"content-type": "application/json"}
    assert crm.admin.post(path, content=content, headers=headers).is_success
    page = new_tab().sign_in(crm.admin).open("data/long/rows", ready=".gs .gr").page
    left_of_first_digit = """() => {
        const cell = document.querySelector('#c-0-0');
        const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        const range = document.createRange();
        const text = walker.nextNode();
        range.setStart(text, 0);
        range.setEnd(text, 1);
        return range.getBoundingClientRect().left - cell.getBoundingClientRect().left;
    }"""
    assert page.evaluate(left_of_first_digit) >= 0
    assert page.get_attribute("#c-0-0 span", "title") == number


def test_what_is_refused_stays_in_its_cell(table: Tab, crm: Server):
    page = table.page
    page.click("#c-2-1")
    page.keyboard.press("F2")
    page.wait_for_selector("#cell")
    page.keyboard.press("Control+a")
    page.keyboard.type("2000 and more")
    page.keyboard.press("Enter")
    page.wait_for_selector(".celledit.refused")
    page.wait_for_selector(".cellproblem:has-text('is not a number')")
    assert page.input_value("#cell") == "2000 and more"
    until(page, f"{ACTIVE}.id === 'cell'")
    page.click(".datahead h1")  # elsewhere: it stays in its cell
    page.wait_for_selector("#c-2-1.refused:has-text('2000 and more')")
    page.dblclick("#c-2-1")
    assert page.input_value("#cell") == "2000 and more"
    page.fill("#cell", "2000.5")
    page.keyboard.press("Enter")
    page.wait_for_selector("#c-2-1:has-text('2,000.5')")
    assert page.query_selector(".celledit") is None
    row = crm.admin.get(f"{DATA}/deals?value=2000.5").json()[0]
    crm.admin.patch(f"{DATA}/deals/{row['id']}", json={"value": 2000})


def test_heads_are_reached_by_keys(table: Tab):
    page = table.page
    page.focus(".grid")
    page.keyboard.press("Alt+s")
    page.wait_for_selector("[data-column=title][aria-sort=ascending]")
    page.keyboard.press("Alt+s")
    page.wait_for_selector("[data-column=title][aria-sort=descending]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Alt+ArrowDown")
    page.wait_for_selector("[data-column=stage] .popup")
    until(page, f"{ACTIVE}.closest('.popup') !== null")
    page.keyboard.press("ArrowDown")
    chosen = page.evaluate(f"{ACTIVE}.innerText").split()[0]
    page.keyboard.press("Escape")
    until(page, f"{ACTIVE}.matches('.grid')")
    assert page.query_selector(".popup") is None
    page.keyboard.press("Alt+ArrowDown")
    until(page, f"{ACTIVE}.closest('.popup') !== null")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**where=**")
    assert chosen in page.url


def test_all_rows_are_selected_by_keys(table: Tab):
    page = table.page
    page.focus(".grid")
    page.keyboard.press("Control+a")
    page.wait_for_selector("text=6 selected")
    page.keyboard.press("Control+a")
    page.wait_for_selector(".selection", state="detached")
