"""Views as a board, a calendar, a gallery and a chart, in a real browser."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import OpenTab, Tab, needs_browser, until
from tests.plugins.console.conftest import DATA

pytestmark = needs_browser
VIEWS = "/api/v1/console/views"
BOARD = "data/crm/deals?layout=board&by=stage&sort=value&order=asc"
CARDS = "li.card"
PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS"
    b"\xde\x00\x00\x00\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00"
    b"\x00\x00IEND\xaeB`\x82"
)


@pytest.fixture
def board(tab: Tab, deals: Server) -> Tab:
    """The board of deals by stage."""
    return tab.open(BOARD, ready=CARDS)


@pytest.fixture
def deals(crm: Server) -> Server:
    """The deals as they were at first."""
    for n, deal in enumerate(find_deals(crm, "Deal")):
        stage = ("Lead", "Qualified", "Closed Won")[n % 3]
        crm.admin.patch(f"{DATA}/deals/{deal['id']}", json={"stage": stage})
    return crm


def find_deals(server: Server, title: str) -> list[dict[str, Any]]:
    where = {"title": {"$like": f"{title}%"}}
    body = {"where": where, "orderBy": "value", "order": "asc"}
    return server.admin.post(f"{DATA}/deals/query", json=body).json()["data"]


def column(stage: str) -> str:
    return f"section[aria-label='{stage}']"


def titles(page: Any, stage: str) -> list[str]:
    return page.locator(f"{column(stage)} [data-card]").all_inner_texts()


def drag(page: Any, start: str, end: str) -> None:
    """Drag by the coordinates of two elements, as a hand does."""
    source, target = page.locator(start).bounding_box(), page.locator(end).bounding_box()
    page.mouse.move(source["x"] + 60, source["y"] + source["height"] - 12)
    page.mouse.down()
    page.mouse.move(target["x"] + 40, target["y"] + 90, steps=6)
    page.mouse.up()


def test_a_card_is_dragged_to_another_column(board: Tab, deals: Server):
    page = board.page
    assert titles(page, "Lead") == ["Deal 0", "Deal 3"]
    tags: list[str | None] = []
    board.on("request", lambda r: r.method == "PATCH" and tags.append(r.headers.get("if-match")))
    drag(page, f"{CARDS}:has-text('Deal 0')", column("Proposal"))
    page.wait_for_selector(f"{column('Proposal')} >> text=Deal 0")
    assert find_deals(deals, "Deal 0")[0]["stage"] == "Proposal"
    assert tags
    assert all(tags)
    assert page.locator(f"{column('Lead')} small").first.inner_text() == "1"
    page.click(".toast button:has-text('Undo')")
    page.wait_for_selector(f"{column('Lead')} >> text=Deal 0")


def test_a_card_is_moved_by_keys_alone(board: Tab, deals: Server):
    page = board.page
    page.focus(f"{column('Lead')} [data-card]")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.innerText.trim()") == "Deal 3"
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_selector(f"{column('Qualified')} >> text=Deal 3")
    until(page, "document.activeElement.innerText.trim() === 'Deal 3'")
    assert find_deals(deals, "Deal 3")[0]["stage"] == "Qualified"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.innerText.trim()") == "Deal 0"
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Deal 0')")


def test_a_card_is_moved_by_its_menu_on_a_phone(deals: Server, new_tab: OpenTab):
    tab = new_tab(viewport={"width": 360, "height": 740}, has_touch=True).sign_in(deals.admin)
    page = tab.open(BOARD, ready=CARDS).page
    assert tab.overflow() <= 0
    page.tap(f"{CARDS}:has-text('Deal 0') [aria-label='Move to…']")
    page.tap(".popup button:has-text('Negotiation')")
    page.wait_for_selector(f"{column('Negotiation')} >> text=Deal 0")
    assert find_deals(deals, "Deal 0")[0]["stage"] == "Negotiation"


def test_two_users_who_move_a_card_see_both_columns(board: Tab, deals: Server):
    page = board.allow(0, 412).page
    page.route("**/feed*", lambda route: route.abort())
    board.open("health")
    board.open(BOARD, ready=CARDS)
    deal = find_deals(deals, "Deal 0")[0]
    deals.admin.patch(f"{DATA}/deals/{deal['id']}", json={"stage": "Closed Won"})
    page.focus(f"{column('Lead')} [data-card]")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_selector("dialog del:has-text('Closed Won')")
    assert "Qualified" in page.inner_text("dialog ins")
    page.click("dialog button:has-text('Save mine')")
    page.wait_for_selector(f"{column('Qualified')} >> text=Deal 0")
    assert find_deals(deals, "Deal 0")[0]["stage"] == "Qualified"
    page.unroute("**/feed*")


def test_a_board_follows_the_changes_of_others(board: Tab, deals: Server):
    deal = find_deals(deals, "Deal 5")[0]
    deals.admin.patch(f"{DATA}/deals/{deal['id']}", json={"stage": "Negotiation"})
    board.page.wait_for_selector(f"{column('Negotiation')} .card.changed >> text=Deal 5")


def test_a_board_by_a_link_has_the_titles_of_its_records(tab: Tab, deals: Server):
    page = tab.open("data/crm/deals?layout=board&by=company_id", ready=CARDS).page
    names = page.locator(".board section").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert set(names) == {"Acme", "Bolt & Co", "Cobalt", "None"}
    drag(page, f"{CARDS}:has-text('Deal 0')", column("Cobalt"))
    page.wait_for_selector(f"{column('Cobalt')} >> text=Deal 0")


def test_a_board_without_the_right_to_write_is_only_read(deals: Server, new_tab: OpenTab):
    reader = deals.user(permissions={"crm": ["deals.read"]})
    page = new_tab().sign_in(reader).open(BOARD, ready=CARDS).page
    assert not page.locator("[draggable=true], [aria-label='Move to…']").count()
    page.focus(f"{column('Lead')} [data-card]")
    page.keyboard.press("Shift+ArrowRight")
    assert titles(page, "Lead") == ["Deal 0", "Deal 3"]


def test_a_board_of_fifty_thousand_records_is_bounded(crm: Server, new_tab: OpenTab):
    fields = [
        {"name": "name", "type": "text"},
        {"name": "state", "type": "text", "enum_values": ["Open", "Busy", "Late", "Done"]},
    ]
    contract = [{"entityName": "items", "fields": fields}]
    crm.install({"appId": "many", "name": "Many", "dataContract": contract})
    crm.sql(
        "insert into many.items (name, state) select 'Item ' || n, "
        "(array['Open', 'Busy', 'Late', 'Done'])[1 + n % 4] from generate_series(1, 50000) as n"
    )
    crm.sql("analyze many.items")
    tab = new_tab().sign_in(crm.admin).open("data/many/items", ready=".gs .gr")
    page = tab.page
    page.click("button[title=Layout]")
    seconds = []
    for _ in range(3):
        page.evaluate("location.hash = '#/data/many/items?layout=chart&by=state'")
        page.wait_for_selector(".figures")
        page.evaluate("window.started = performance.now()")
        page.evaluate("location.hash = '#/data/many/items?layout=board&by=state'")
        until(page, f"document.querySelectorAll('{CARDS}').length === 80")
        seconds.append(page.evaluate("performance.now() - window.started") / 1000)
    assert min(seconds) < 0.5, seconds
    assert "12,500" in page.inner_text(column("Late"))
    page.click(f"{column('Open')} button:has-text('more')")
    until(page, f'document.querySelectorAll("{column("Open")} {CARDS}").length === 40')


def test_a_calendar_shows_records_on_their_days(tab: Tab, deals: Server):
    address = "data/crm/deals?layout=calendar&by=close_date&at=2031-03"
    page = tab.open(address, ready=".calendar .entry").page
    day = page.locator(".day:has(.entry)")
    assert day.locator("time").first.get_attribute("datetime") == "2031-03-15"
    page.click("[aria-label='The month after']")
    page.wait_for_selector(".entry:has-text('Deal 3')")
    assert "at=2031-04" in page.url
    page.go_back()
    page.click(".entry:has-text('Deal 2')")
    page.wait_for_selector("h1:has-text('Deal 2')")


def day(date: str) -> str:
    return f".day:has(time[datetime='{date}'])"


@pytest.fixture
def planned(crm: Server) -> Server:
    """An app with a date, a time, and a choice with colours."""
    fields = [
        {"name": "title", "type": "text"},
        {"name": "due", "type": "date"},
        {"name": "starts_at", "type": "timestamp"},
        {"name": "state", "type": "text", "enum_values": ["Open", "Done"],
         "colours": {"Open": "orange", "Done": "green"}},
    ]  # fmt: skip
    contract = [{"entityName": "visits", "fields": fields}]
    crm.install({"appId": "plans", "name": "Plans", "dataContract": contract})
    path = "/api/v1/apps/plans/collections/visits"
    for row in crm.admin.get(path).json():
        crm.admin.delete(f"{path}/{row['id']}")
    rows = [
        {"title": "Ada", "due": "2031-05-14", "starts_at": "2031-05-14T09:30:00Z", "state": "Open"},
        {"title": "Bob", "due": "2031-05-16", "starts_at": "2031-05-16T12:00:00Z", "state": "Done"},
    ]
    assert crm.admin.post(f"{path}/bulk", json=rows).status_code == 201
    return crm


def read_visit(server: Server, title: str) -> dict[str, Any]:
    rows = server.admin.get("/api/v1/apps/plans/collections/visits").json()
    return next(row for row in rows if row["title"] == title)


def test_a_record_is_dragged_to_another_day_and_back(tab: Tab, planned: Server):
    address = "data/plans/visits?layout=calendar&by=due&at=2031-05"
    page = tab.open(address, ready=".calendar .entry").page
    source = page.locator(f"{day('2031-05-14')} .entry").bounding_box()
    target = page.locator(day("2031-05-21")).bounding_box()
    page.mouse.move(source["x"] + 10, source["y"] + source["height"] / 2)
    page.mouse.down()
    page.mouse.move(target["x"] + 30, target["y"] + 60, steps=6)
    page.mouse.up()
    page.wait_for_selector(f"{day('2031-05-21')} .entry:has-text('Ada')")
    assert read_visit(planned, "Ada")["due"] == "2031-05-21"
    page.click(".toast button:has-text('Undo')")
    page.wait_for_selector(f"{day('2031-05-14')} .entry:has-text('Ada')")
    assert read_visit(planned, "Ada")["due"] == "2031-05-14"


def test_a_time_is_moved_by_keys_and_keeps_its_hour(tab: Tab, planned: Server):
    address = "data/plans/visits?layout=calendar&by=starts_at&at=2031-05"
    page = tab.open(address, ready=".calendar .entry").page
    page.focus(".entry:has-text('Ada')")
    page.keyboard.press("Shift+ArrowDown")
    page.wait_for_selector(f"{day('2031-05-21')} .entry:has-text('Ada')")
    until(page, "document.activeElement.matches('.entry')")
    assert read_visit(planned, "Ada")["starts_at"].startswith("2031-05-21T09:30:00")
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_selector(f"{day('2031-05-20')} .entry:has-text('Ada')")
    until(page, "document.activeElement.matches('.entry')")
    page.keyboard.press("ArrowUp")
    assert "Bob" in page.evaluate("document.activeElement.innerText")


def test_a_calendar_marks_the_changes_of_others(tab: Tab, planned: Server):
    address = "data/plans/visits?layout=calendar&by=due&at=2031-05"
    page = tab.open(address, ready=".calendar .entry").page
    bob = read_visit(planned, "Bob")
    path = f"/api/v1/apps/plans/collections/visits/{bob['id']}"
    planned.admin.patch(path, json={"due": "2031-05-22"})
    page.wait_for_selector(f"{day('2031-05-22')} .entry.changed:has-text('Bob')")
    assert not page.locator(f"{day('2031-05-14')} .entry.changed").count()


def test_a_calendar_without_the_right_to_write_is_only_read(planned: Server, new_tab: OpenTab):
    reader = planned.user(permissions={"plans": ["visits.read"]})
    address = "data/plans/visits?layout=calendar&by=due&at=2031-05"
    page = new_tab().sign_in(reader).open(address, ready=".calendar .entry").page
    assert page.locator(".entry[draggable=true]").count() == 0
    page.focus(".entry:has-text('Ada')")
    page.keyboard.press("Shift+ArrowDown")
    assert read_visit(planned, "Ada")["due"] == "2031-05-14"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_of_choices_are_on_boards_calendars_and_charts(
    planned: Server, new_tab: OpenTab, scheme: Any
):
    tab = new_tab(color_scheme=scheme).sign_in(planned.admin)
    colour = "(selector, part) => getComputedStyle(document.querySelector(selector))[part]"

    def read_colour(selector: str, part: str) -> str:
        return tab.page.evaluate(f"([selector, part]) => ({colour})(selector, part)",
                                 [selector, part])  # fmt: skip

    tab.open("data/plans/visits?layout=calendar&by=due&at=2031-05", ready=".calendar .entry")
    entries = {
        name: read_colour(f"{day(date)} .entry", "backgroundColor")
        for name, date in (("Ada", "2031-05-14"), ("Bob", "2031-05-16"))
    }
    assert entries["Ada"] != entries["Bob"]
    assert not tab.axe("main")
    tab.open("data/plans/visits?layout=board&by=state", ready=CARDS)
    edges = [read_colour(column(state), "borderTopColor") for state in ("Open", "Done")]
    assert edges[0] != edges[1]
    assert not tab.axe("main")
    tab.open("data/plans/visits?layout=chart&by=state", ready=".figures rect")
    bars = [read_colour(f".figures tbody tr:nth-child({row}) rect", "fill") for row in (1, 2)]
    assert bars[0] != bars[1]
    assert edges == bars
    assert not tab.axe("main")


def test_a_day_with_many_records_shows_them_in_a_dialog(tab: Tab, crm: Server):
    deals = [{"title": f"Busy {n}", "stage": "Lead", "close_date": "2032-02-29"} for n in range(9)]
    sent = crm.admin.post(f"{DATA}/deals/bulk", json=deals)
    assert sent.status_code == 201, sent.text
    address = "data/crm/deals?layout=calendar&by=close_date&at=2032-02"
    page = tab.open(address, ready=".calendar .entry").page
    assert page.locator(".entry").count() == 4
    page.click(".day button:has-text('5 more')")
    assert page.locator("dialog .entry").count() == 9
    page.keyboard.press("Escape")
    for deal in find_deals(crm, "Busy"):
        crm.admin.delete(f"{DATA}/deals/{deal['id']}")


def test_a_chart_has_a_figure_for_each_group_and_leads_to_its_records(tab: Tab, deals: Server):
    address = "data/crm/deals?layout=chart&by=stage&figure=value.sum"
    page = tab.open(address, ready=".figures rect").page
    rows = page.locator(".figures tbody tr").all_inner_texts()
    assert [re.sub(r"\s+", " ", row).strip() for row in rows] == [
        "Lead 3,000", "Qualified 5,000", "Closed Won 7,000",
    ]  # fmt: skip
    widths = page.locator(".figures rect").evaluate_all(
        "all => all.map(e => e.width.baseVal.value)"
    )
    assert widths == sorted(widths)
    page.click(".figures a:has-text('Qualified')")
    page.wait_for_selector(".gs .gr")
    assert page.locator(".gs .gr").count() == 2


def test_a_line_over_time_has_a_table_behind_it(tab: Tab, deals: Server):
    address = "data/crm/deals?layout=chart&by=close_date&chart=line&figure=value.sum"
    page = tab.open(address, ready=".plot polyline").page
    label = page.get_attribute(".plot svg", "aria-label")
    assert label == "Sum of Value by Close date: 6 from 2031-01 to 2031-06"
    page.select_option("label:has-text('Each') select", "quarter")
    page.wait_for_selector(".plot svg[aria-label*='2 from 2031-Q1 to 2031-Q2']")
    page.click("summary:has-text('Numbers')")
    assert "12,000" in page.inner_text(".figures")


def test_a_gallery_shows_pictures_of_records(crm: Server, new_tab: OpenTab):
    fields = [
        {"name": "title", "type": "text"},
        {"name": "photo", "type": "file", "types": ["image/*"]},
    ]
    crm.install({"appId": "album", "name": "Album", "dataContract": [
        {"entityName": "photos", "fields": fields}]})  # fmt: skip
    path = "/api/v1/apps/album/files?name=dot.png"
    sent = crm.admin.post(path, content=PIXEL, headers={"content-type": "image/png"})
    assert sent.status_code == 201, sent.text
    records = "/api/v1/apps/album/collections/photos"
    for body in ({"title": "Dot", "photo": sent.json()["id"]}, {"title": "Nothing"}):
        assert crm.admin.post(records, json=body).status_code == 201
    tab = new_tab().sign_in(crm.admin).allow(400)  # without small pictures the file itself is shown
    page = tab.open("data/album/photos", ready=".gs .gr").page
    page.click("button[title=Layout]")
    page.click(".popup button:has-text('Gallery')")
    page.wait_for_selector(".picture img")
    assert page.locator(".gallery .card").count() == 2
    page.click(".gallery a:has-text('Dot')")
    page.wait_for_selector("h1:has-text('Dot')")


def test_the_menu_offers_what_the_table_can_be(tab: Tab, deals: Server):
    page = tab.open("data/crm/contact_emails").page
    page.click("button[title=Layout]")
    assert page.is_disabled(".popup button:has-text('Gallery')")
    assert "needs a field of files" in page.inner_text(".popup")
    page.click(".popup button:has-text('Chart')")
    page.wait_for_selector("label:has-text('Groups by')")


def test_a_view_keeps_its_layout_and_says_where_its_field_is_gone(tab: Tab, deals: Server):
    page = tab.open(BOARD, ready=CARDS).page
    page.click("button[title='Saved views']")
    page.click("button:has-text('Save this view')")
    page.fill("dialog input[name=name]", "Pipeline")
    page.click("dialog button:has-text('Save')")
    page.wait_for_selector("button[title='Saved views']:has-text('Pipeline')")
    views = deals.admin.get(VIEWS, params={"app": "crm", "entity": "deals"}).json()
    view = next(view for view in views if view["name"] == "Pipeline")
    assert (view["state"]["layout"], view["state"]["by"]) == ("board", "stage")
    state = json.dumps(view["state"] | {"by": "former"})
    deals.sql("update caudex_console.views set state = %s::jsonb where id = %s", state, view["id"])
    tab.open("health")
    tab.open("data/crm/deals", ready=".gs .gr")
    page.click("button[title='Saved views']")
    page.click(".viewline button:has-text('Pipeline')")
    page.wait_for_selector(".empty:has-text('“former” is no longer a choice or a link')")
    page.select_option(".empty select", "stage")
    page.wait_for_selector(CARDS)
    deals.admin.delete(f"{VIEWS}/{view['id']}")


def test_two_tabs_that_edit_the_same_view_see_both_versions(deals: Server, new_tab: OpenTab):
    state = {"layout": "chart", "by": "stage"}
    body = {"app": "crm", "entity": "deals", "name": "Stages", "state": state}
    view_id = deals.admin.post(VIEWS, json=body).json()["id"]
    one, two = new_tab().sign_in(deals.admin), new_tab().sign_in(deals.admin).allow(412)
    for tab, figure in ((one, "value.sum"), (two, "value.max")):
        tab.open("data/crm/deals", ready=".gs .gr")
        tab.page.click("button[title='Saved views']")
        tab.page.click(".viewline button:has-text('Stages')")
        tab.page.wait_for_selector(".figures")
        tab.page.select_option("label:has-text('Figure') select", figure)
        tab.page.wait_for_selector("button[title='Saved views']:has-text('•')")
    for tab in (one, two):
        tab.page.click("button[title='Saved views']")
        tab.page.click("button:has-text('Save the changes of')")
    one.page.wait_for_selector(".toast:has-text('saved')")
    two.page.wait_for_selector("dialog del:has-text('value.sum')")
    assert "value.max" in two.page.inner_text("dialog ins")
    two.page.click("dialog button:has-text('Save mine')")
    two.page.wait_for_selector(".toast:has-text('saved')")
    stored = deals.admin.get(f"{VIEWS}/{view_id}").json()
    assert (stored["version"], stored["state"]["figure"]) == (3, "value.max")
    deals.admin.delete(f"{VIEWS}/{view_id}")
