"""Columns, order, groups and pages of the table, and a record beside it: by mouse and by keys."""

from __future__ import annotations

import itertools
import time
from decimal import Decimal
from typing import Any

import pytest

from kernel.testing import Client, Server
from tests.plugins.console.browser import OpenTab, Tab, await_setting, needs_browser, until
from tests.plugins.console.conftest import DATA
from tests.waiting import eventually

pytestmark = needs_browser
DEALS = "data/crm/deals"
IN_ORDER = f"{DEALS}?sort=value&order=asc"
COLUMNS = "columns:crm.deals"
WIDTHS = "widths:crm.deals"
"""Settings of the user."""
PHONE: Any = {"width": 360, "height": 740}
ROW = ".gs .gr:not(.gg)"
TEXTS = "nodes => nodes.map((node) => node.innerText.trim())"
AT = "([x, y]) => document.elementFromPoint(x, y)"


@pytest.fixture
def user(crm: Server) -> Client:
    """A user of the CRM without settings, so that no test sees the columns of another one."""
    keys = ["deals.read", "deals.update", "deals.create", "deals.delete", "companies.read"]
    return crm.user(permissions={"crm": keys})


@pytest.fixture
def table(user: Client, new_tab: OpenTab) -> Tab:
    return new_tab().sign_in(user).open(IN_ORDER, ready=ROW)


def middle(page: Any, selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def click_at(page: Any, selector: str) -> None:
    """Click the middle of an element, which must be on top there."""
    x, y = middle(page, selector)
    is_on_top = f"(element, at) => element.contains(({AT})(at))"
    assert page.locator(selector).first.evaluate(is_on_top, [x, y])
    page.mouse.click(x, y)


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, end[1])
    page.mouse.move(*end)
    page.mouse.up()


def heads(page: Any) -> list[str]:
    """Return the names of the columns, from left to right."""
    names = "nodes => nodes.map((node) => node.dataset.column)"
    return page.locator(".gh [data-column]").evaluate_all(names)


def width_of(page: Any, name: str) -> float:
    return page.locator(f"[data-column={name}]").bounding_box()["width"]


def column(page: Any, number: int) -> list[str]:
    return page.locator(f"{ROW} > :nth-child({number + 2})").evaluate_all(TEXTS)


def fill(crm: Server, app: str, count: int) -> None:
    """Make an app with a table of so many rows, in the order of their numbers."""
    fields = [{"name": "title", "type": "text"}, {"name": "amount", "type": "number"}]
    contract = [{"entityName": "rows", "fields": fields}]
    crm.install({"appId": app, "name": app.title(), "dataContract": contract})
    crm.sql(f"truncate {app}.rows")
    crm.sql(
        f"insert into {app}.rows (title, amount, created_at) select 'Row ' || n, n,"
        f" timestamptz '2031-01-01Z' + n * interval '1 s' from generate_series(1, {count}) as n"
    )
    crm.sql(f"analyze {app}.rows")


def create_deal(crm: Server, title: str, value: int) -> dict[str, Any]:
    company = crm.admin.get(f"{DATA}/companies?name=Acme").json()[0]
    deal = {"title": title, "value": value, "stage": "Lead", "company_id": company["id"]}
    reply = crm.admin.post(f"{DATA}/deals", json=deal)
    assert reply.status_code == 201, reply.text
    return reply.json()


# --- a record beside its table


def test_a_click_at_the_left_edge_opens_the_record_beside_the_table(table: Tab, crm: Server):
    page = table.page
    edge = page.locator(f"{ROW} .pick").nth(1).bounding_box()
    page.mouse.click(edge["x"] + edge["width"] - 4, edge["y"] + edge["height"] / 2)
    page.wait_for_selector(".panel h2:has-text('Deal 1')")
    assert "open=" in page.url
    assert page.locator(ROW).count() == 6
    click_at(page, ".panel [aria-label='Next record']")
    page.wait_for_selector(".panel h2:has-text('Deal 2')")
    page.keyboard.press("Enter")  # the button has the focus still
    page.wait_for_selector(".panel h2:has-text('Deal 3')")
    click_at(page, ".panel [aria-label='Previous record']")
    page.wait_for_selector(".panel h2:has-text('Deal 2')")
    assert page.locator(".gr.opened").inner_text().startswith("3")
    page.fill(".panel #f-title", "Deal 2 beside")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#c-2-0:has-text('Deal 2 beside')")
    page.reload()
    page.wait_for_selector(".panel h2:has-text('Deal 2 beside')")
    page.keyboard.press("Escape")
    page.wait_for_selector(".panel", state="detached")
    until(page, "document.activeElement.matches('.grid')")
    assert "open=" not in page.url
    page.go_back()
    page.wait_for_selector(".panel")
    row = crm.admin.get(f"{DATA}/deals?value=2000").json()[0]
    crm.admin.patch(f"{DATA}/deals/{row['id']}", json={"title": "Deal 2"})


def test_what_is_typed_beside_the_table_is_not_lost(table: Tab):
    page = table.page
    click_at(page, f"{ROW} [aria-label='Open Deal 4']")
    page.wait_for_selector(".panel #f-title")
    page.fill(".panel #f-title", "Half a title")
    page.click("[data-column=title] > button")
    page.wait_for_selector("[data-column=title][aria-sort=ascending]")
    assert page.input_value(".panel #f-title") == "Half a title"
    page.focus(".panel #f-title")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog:has-text('Leave without saving?')")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert page.input_value(".panel #f-title") == "Half a title"
    page.click(".panel button:has-text('Discard')")
    page.focus(".panel")
    page.keyboard.press("Escape")
    page.wait_for_selector(".panel", state="detached")


def test_a_record_that_is_deleted_beside_the_table_leaves_it(table: Tab, crm: Server):
    made = create_deal(crm, "Short-lived", 1)
    table.open(f"{DEALS}?open={made['id']}", ready=".panel h2:has-text('Short-lived')")
    page = table.page
    click_at(page, ".panel [aria-label=Delete]")
    page.click("dialog button:has-text('Delete')")
    page.wait_for_selector(".panel", state="detached")
    page.wait_for_selector(f"{ROW}:has-text('Short-lived')", state="detached")
    assert page.locator(ROW).count() == 6


def test_rows_stay_where_they_are_while_one_types_beside_them(table: Tab, crm: Server):
    page = table.page
    click_at(page, f"{ROW} [aria-label='Open Deal 0']")
    page.wait_for_selector(".panel #f-title")
    page.click(".panel #f-title")
    page.keyboard.type("typed ")
    made = create_deal(crm, "Before all", -1)
    page.wait_for_selector("button:has-text('1 new')")
    assert page.inner_text("#c-0-0") == "Deal 0"
    crm.admin.delete(f"{DATA}/deals/{made['id']}")
    page.click(".panel button:has-text('Discard')")


def test_on_a_phone_an_open_record_is_a_page(crm: Server, new_tab: OpenTab):
    deal = crm.admin.get(f"{DATA}/deals?value=3000").json()[0]
    tab = new_tab(viewport=PHONE, has_touch=True).sign_in(crm.admin)
    tab.open(f"{DEALS}?open={deal['id']}", ready="h1:has-text('Deal 3')")
    assert f"#/record/crm/deals/{deal['id']}" in tab.page.url
    assert not tab.page.query_selector(".panel")


# --- columns


def test_the_first_column_stays_while_others_are_scrolled(table: Tab):
    page = table.page
    page.set_viewport_size({"width": 800, "height": 600})
    place = middle(page, "#c-1-0")
    page.evaluate("document.querySelector('.grid').scrollLeft = 400")
    until(page, "document.querySelector('.grid').scrollLeft > 300")
    assert page.evaluate(f"(at) => ({AT})(at).closest('[role=gridcell]').id", place) == "c-1-0"
    head = middle(page, "[data-column=title]")
    assert page.evaluate(f"(at) => ({AT})(at).closest('[data-column]').dataset.column", head) == (
        "title"
    )
    page.mouse.click(*place)
    page.keyboard.press("ArrowRight")  # the next column is not left behind the first one
    box = page.locator("#c-1-1").bounding_box()
    seen = page.locator("#c-1-0").bounding_box()
    assert box["x"] >= seen["x"] + seen["width"] - 1


def test_a_column_is_widened_by_its_edge_and_by_keys(table: Tab, user: Client, new_tab: OpenTab):
    page = table.page
    before = width_of(page, "title")
    grip = middle(page, "[data-column=title] .grip")
    drag(page, grip, (grip[0] + 60, grip[1]))
    until(page, f"document.querySelector('[data-column=title]').offsetWidth === {before + 60}")
    assert page.locator("#c-0-0").bounding_box()["width"] == before + 60
    assert page.query_selector("[data-column=title][aria-sort]") is None  # that was no click
    page.hover("[data-column=title]")
    page.click("[data-column=title] .menu button")
    page.focus("[data-column=title] .popup button:has-text('Wider')")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    until(page, f"document.querySelector('[data-column=title]').offsetWidth === {before + 108}")
    page.keyboard.press("Escape")
    await_setting(user, WIDTHS, {"title": before + 108})
    other = new_tab().sign_in(user).open(DEALS, ready=ROW).page
    assert width_of(other, "title") == before + 108
    other.dblclick("[data-column=title] .grip")
    until(other, f"document.querySelector('[data-column=title]').offsetWidth === {before}")


def test_a_column_is_moved_by_its_head_and_by_keys(table: Tab, user: Client, new_tab: OpenTab):
    page = table.page
    first, second, third, *_ = heads(page)
    start = middle(page, f"[data-column={third}] > button")
    end = page.locator(f"[data-column={second}]").bounding_box()
    drag(page, start, (end["x"] + 4, start[1]))
    until(page, f"document.querySelectorAll('[data-column]')[1].dataset.column === '{third}'")
    assert "sort=value" in page.url  # that was no click
    page.click(f"[data-column={third}] .menu button", force=True)
    page.focus(f"[data-column={third}] .popup button:has-text('Move left')")
    page.keyboard.press("Enter")
    until(page, f"document.querySelectorAll('[data-column]')[0].dataset.column === '{third}'")
    page.keyboard.press("Escape")
    assert heads(page)[:3] == [third, first, second]
    await_setting(user, COLUMNS, heads(page))
    other = new_tab().sign_in(user).open(DEALS, ready=ROW).page
    assert heads(other)[:3] == [third, first, second]


def test_settings_are_saved_in_order(table: Tab, user: Client):
    """While one request is on its way, others wait, and then the newest values are sent."""
    page = table.page
    before = width_of(page, "title")
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/console/settings", hold)
    page.hover("[data-column=title]")
    page.click("[data-column=title] .menu button")
    page.focus("[data-column=title] .popup button:has-text('Wider')")
    for step in range(1, 4):
        page.keyboard.press("Enter")
        width = before + 24 * step
        until(page, f"document.querySelector('[data-column=title]').offsetWidth === {width}")
    page.evaluate("fetch('/health').then((reply) => reply.text())")  # comes behind what was sent
    assert [each.request.post_data_json for each in held] == [{WIDTHS: {"title": before + 24}}]
    with page.expect_request("**/console/settings") as second:
        held[0].continue_()
    assert second.value.post_data_json == {WIDTHS: {"title": before + 72}}
    eventually(lambda: page.wait_for_timeout(20) or held[1:])
    held[1].continue_()
    await_setting(user, WIDTHS, {"title": before + 72})


def test_a_view_keeps_columns_and_widths_of_its_own(table: Tab):
    page = table.page
    table.open(f"{DEALS}?columns=title,value,stage&widths=title.333", ready=ROW)
    assert width_of(page, "title") == 333
    grip = middle(page, "[data-column=title] .grip")
    drag(page, grip, (grip[0] - 33, grip[1]))
    until(page, "location.hash.includes('title.300')")
    start = middle(page, "[data-column=stage] > button")
    end = page.locator("[data-column=value]").bounding_box()
    drag(page, start, (end["x"] + 4, start[1]))
    until(page, "decodeURIComponent(location.hash).includes('columns=title,stage,value')")
    page.click("button[title='Saved views']")
    page.click("text=Save this view")
    page.fill("dialog input", "Narrow")
    page.click("dialog button:has-text('Save')")
    page.wait_for_selector(".toast:has-text('saved')")
    table.open(DEALS, ready=ROW)
    assert width_of(page, "title") != 300
    page.click("button[title='Saved views']")
    page.click(".viewline button:has-text('Narrow')")
    until(page, "document.querySelector('[data-column=title]').offsetWidth === 300")
    assert heads(page) == ["title", "stage", "value"]
    assert "•" not in page.inner_text("button[title='Saved views']")


def test_fields_without_a_column_are_counted_and_shown(crm: Server, new_tab: OpenTab):
    fields = [{"name": f"f{number:03}", "type": "text"} for number in range(200)]
    contract = [{"entityName": "rows", "fields": fields}]
    crm.install({"appId": "wide", "name": "Wide", "dataContract": contract})
    crm.admin.post("/api/v1/apps/wide/collections/rows", json={"f000": "a", "f199": "z"})
    page = new_tab().sign_in(crm.admin).open("data/wide/rows", ready=ROW).page
    click_at(page, "button:has-text('191 more fields')")
    page.click("dialog button:has-text('Show all')")
    page.click("dialog button:has-text('Save')")
    page.wait_for_selector("[data-column=f199]", state="attached")
    assert not page.locator("button:has-text('more field')").count()


# --- order and groups


def test_rows_are_sorted_by_several_columns(table: Tab):
    page = table.page
    page.click("[data-column=stage] > button")
    page.wait_for_selector("[data-column=stage][aria-sort=ascending]")
    page.click("[data-column=value] > button", modifiers=["Shift"])
    page.wait_for_selector("[data-column=value] small:has-text('2')")
    page.click("[data-column=value] > button", modifiers=["Shift"])
    until(page, "decodeURIComponent(location.hash).includes('sort=stage,value&order=asc,desc')")
    assert page.inner_text("[data-column=stage] > button small") == "1"
    titles = ["Deal 5", "Deal 2", "Deal 3", "Deal 0", "Deal 4", "Deal 1"]
    until(page, "document.querySelector('#c-0-0').innerText === 'Deal 5'")
    assert column(page, 0) == titles
    page.reload()
    page.wait_for_selector(ROW)
    assert column(page, 0) == titles
    page.click("[data-column=value] > button", modifiers=["Shift"])
    until(page, "!location.hash.includes('value')")
    # By keys: the menu of the column.
    page.click("[data-column=title] .menu button", force=True)
    page.focus("[data-column=title] .popup button:has-text('Then by it, descending')")
    page.keyboard.press("Enter")
    until(page, "decodeURIComponent(location.hash).includes('sort=stage,title&order=asc,desc')")
    until(page, "document.querySelector('#c-0-0').innerText === 'Deal 5'")
    assert column(page, 0) == titles


def test_rows_are_grouped_and_groups_are_folded(table: Tab):
    page = table.page
    page.click("[data-column=stage] .menu button", force=True)
    page.click("[data-column=stage] .popup button:has-text('Group by it')")
    page.wait_for_selector(".gg:has-text('Qualified')")
    lines = page.locator(".gg").evaluate_all(TEXTS)
    assert [line.split() for line in lines] == [
        ["Closed", "Won", "2"], ["Lead", "2"], ["Qualified", "2"],
    ]  # fmt: skip
    assert column(page, 0) == ["Deal 2", "Deal 5", "Deal 0", "Deal 3", "Deal 1", "Deal 4"]
    tops = page.locator(".gs .gr").evaluate_all(
        "nodes => nodes.map((node) => node.getBoundingClientRect().top).sort((a, b) => a - b)"
    )
    assert [round(later - before) for before, later in itertools.pairwise(tops)] == [33] * 8
    click_at(page, ".gg button:has-text('Lead')")
    page.wait_for_selector(".gg [aria-expanded=false]:has-text('Lead')")
    until(page, f"document.querySelectorAll('{ROW}').length === 4")
    assert column(page, 0) == ["Deal 2", "Deal 5", "Deal 1", "Deal 4"]
    assert page.inner_text(".datahead .count") == "6"
    page.reload()
    page.wait_for_selector(".gg [aria-expanded=false]:has-text('Lead')")
    assert page.locator(ROW).count() == 4
    # By keys: the menu of the groups.
    page.focus("button[title='Grouped by stage']")
    page.keyboard.press("Enter")
    until(page, "document.activeElement.closest('.popup') !== null")
    page.focus(".popup button:has-text('Lead')")
    page.keyboard.press("Enter")
    until(page, f"document.querySelectorAll('{ROW}').length === 6")
    page.focus(".popup button:has-text('Fold all')")
    page.keyboard.press("Enter")
    until(page, f"document.querySelectorAll('{ROW}').length === 0")
    assert page.locator(".gg").count() == 3
    page.click("button[title='Grouped by stage']")
    page.click(".popup button:has-text('Do not group')")
    until(page, f"document.querySelectorAll('{ROW}').length === 6")
    assert "group" not in page.url


def test_rows_without_a_value_are_a_group(crm: Server, new_tab: OpenTab):
    fill(crm, "loose", 4)
    crm.sql("update loose.rows set amount = null where title in ('Row 1', 'Row 2')")
    tab = new_tab().sign_in(crm.admin)
    page = tab.open("data/loose/rows?group=amount&sort=title&order=asc", ready=".gg").page
    assert [line.split() for line in page.locator(".gg").evaluate_all(TEXTS)] == [
        ["3", "1"], ["4", "1"], ["None", "2"],
    ]  # fmt: skip
    click_at(page, ".gg button:has-text('None')")
    until(page, f"document.querySelectorAll('{ROW}').length === 2")
    assert column(page, 0) == ["Row 3", "Row 4"]
    click_at(page, ".gg button:has-text('3')")
    until(page, f"document.querySelectorAll('{ROW}').length === 1")
    assert column(page, 0) == ["Row 4"]


# --- values


def test_numbers_and_dates_are_written_as_the_user_reads_them(crm: Server, new_tab: OpenTab):
    fields = [
        {"name": "title", "type": "text"},
        {"name": "amount", "type": "number"},
        {"name": "price", "type": "number", "format": "currency", "currency": "EUR"},
        {"name": "year", "type": "number"},
        {"name": "day", "type": "date"},
        {"name": "moment", "type": "timestamp"},
    ]
    contract = [{"entityName": "rows", "fields": fields}]
    crm.install({"appId": "local", "name": "Local", "dataContract": contract})
    crm.sql("truncate local.rows")
    path = "/api/v1/apps/local/collections/rows"
    content = (
        '{"title": "One", "amount": 12345678901234567.5, "price": 1234.5, "year": 2031,'
        ' "day": "2031-02-03", "moment": "2031-02-03T23:30:00Z"}'
    )
    headers = {"content-type": "application/json"}
    assert crm.admin.post(path, content=content, headers=headers).is_success
    stored = crm.admin.get(path).text
    exact = stored.split('"amount":')[1].split(",")[0]
    german: Any = {"locale": "de-DE", "timezone_id": "Asia/Tokyo"}
    page = new_tab(**german).sign_in(crm.admin).open("data/local/rows", ready=ROW).page
    shown = [column(page, number)[0] for number in range(1, 6)]
    assert shown[0] == f"{int(Decimal(exact)):,}".replace(",", ".")
    assert shown[1] == "1.234,50\xa0€"
    assert shown[2] == "2031"
    assert shown[3] == "03.02.2031"
    assert shown[4] == "04.02.2031, 08:30"  # nine hours later, on the next day
    assert page.get_attribute("#c-0-1 span", "title") == exact


# --- pages


def test_the_last_row_and_any_other_are_gone_to(crm: Server, new_tab: OpenTab):
    fill(crm, "pages", 1000)
    tab = new_tab().sign_in(crm.admin)
    page = tab.open("data/pages/rows?sort=amount&order=asc", ready=ROW).page
    assert "200+" in page.inner_text(".count")
    page.focus(".grid")
    page.keyboard.press("Control+End")
    page.wait_for_selector(f"{ROW}.at:has-text('Row 1000')")
    assert page.inner_text(".datahead .count") == "1,000"
    page.keyboard.press("ArrowUp")
    page.wait_for_selector(f"{ROW}.at:has-text('Row 999')")
    # The rows before are loaded on the way up.
    for _ in range(200):
        page.keyboard.press("PageUp")
        page.wait_for_timeout(20)
        row = int(page.locator(f"{ROW}.at").get_attribute("aria-rowindex")) - 1
        if row < 700:
            break
    assert 0 < row < 700
    assert page.inner_text(f"{ROW}.at [role=gridcell]:nth-child(2)") == f"Row {row}"
    page.click("button[title='More']")
    page.click("text=Go to a row…")
    page.fill("dialog input", "444")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{ROW}.at:has-text('Row 444')")
    assert page.locator(f"{ROW}.at").get_attribute("aria-rowindex") == "445"
    until(page, "document.activeElement.matches('.grid')")
    page.keyboard.press("Control+Home")
    page.wait_for_selector(f"{ROW}.at:has-text('Row 1')")
    page.evaluate("document.querySelector('.grid').scrollTop = 33 * 600")
    page.wait_for_selector(f"{ROW}:has-text('Row 610')")


def test_back_leads_to_the_same_row_of_a_part_further_down(crm: Server, new_tab: OpenTab):
    fill(crm, "pages", 1000)
    tab = new_tab().sign_in(crm.admin)
    page = tab.open("data/pages/rows?sort=amount&order=asc", ready=ROW).page
    page.focus(".grid")
    page.keyboard.press("Control+End")
    page.wait_for_selector(f"{ROW}.at:has-text('Row 1000')")
    page.wait_for_timeout(500)  # the place is kept after a rest
    page.click("nav.side a:has-text('Jobs')")
    page.wait_for_selector("h1:has-text('Jobs')")
    page.go_back()
    page.wait_for_selector(f"{ROW}.at:has-text('Row 1000')")


@pytest.mark.slow
def test_ten_thousand_rows_are_scrolled_to_their_end(crm: Server, new_tab: OpenTab):
    """`make console-figures` measures how long it takes."""
    fill(crm, "pages", 10_000)
    page = (
        new_tab().sign_in(crm.admin).open("data/pages/rows?sort=amount&order=asc", ready=ROW).page
    )
    page.mouse.move(*middle(page, "#c-5-0"))
    started = time.monotonic()
    while not page.locator(f"{ROW}:has-text('Row 10000')").count():
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(20)
        assert time.monotonic() - started < 240


def test_a_million_rows_have_a_last_one(crm: Server, new_tab: OpenTab):
    fill(crm, "millions", 1_000_000)
    tab = new_tab().sign_in(crm.admin)
    page = tab.open("data/millions/rows", ready=ROW).page
    page.focus(".grid")
    page.keyboard.press("Control+End")
    page.wait_for_selector(f"{ROW}.at[aria-rowindex='1000001']", timeout=60_000)
    assert page.inner_text(f"{ROW}.at [role=gridcell]:nth-child(2)") == "Row 1"
    page.keyboard.press("Control+Home")
    page.wait_for_selector(f"{ROW}.at:has-text('Row 1000000')", timeout=60_000)
