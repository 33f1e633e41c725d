"""Cells as in a spreadsheet: typing, keys, blocks, the clipboard, and filling."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import OpenTab, Tab, needs_browser, until
from tests.waiting import eventually

pytestmark = needs_browser
APP = {
    "appId": "sheet",
    "name": "Sheet",
    "dataContract": [
        {"entityName": "people", "fields": [{"name": "name", "type": "text"}]},
        {
            "entityName": "tasks",
            "fields": [
                {"name": "title", "type": "text", "required": True},
                {"name": "amount", "type": "number"},
                {"name": "stage", "type": "text", "enum_values": ["Open", "Waiting", "Won"]},
                {"name": "done", "type": "boolean"},
                {"name": "due", "type": "date"},
                {"name": "starts", "type": "timestamp"},
                {"name": "owner", "type": "entity_link", "references": {"entity": "people"}},
                {"name": "tags", "type": "[text]"},
                {"name": "extra", "type": "json"},
                {"name": "twice", "type": "text", "generated": {"$lower": "title"}},
            ],
        },
    ],
}
DATA = "/api/v1/apps/sheet/collections"
TITLE, AMOUNT, STAGE, DONE, DUE, STARTS, OWNER, TAGS, EXTRA, TWICE = range(10)
ACTIVE = "document.activeElement"
CURRENT = "document.querySelector('.cur')?.id"


@pytest.fixture(scope="module")
def sheet(server: Server) -> Server:
    server.install(APP)
    return server


@pytest.fixture
def rows(sheet: Server) -> Callable[[], list[dict[str, Any]]]:
    """Six tasks and two people, as at the start; returns what reads the tasks."""
    sheet.sql("truncate sheet.tasks, sheet.people cascade")
    people = [{"name": "Ada"}, {"name": "Bob"}]
    ada = sheet.admin.post(f"{DATA}/people/bulk", json=people).json()[0]["id"]
    tasks = [
        {
            "title": f"Task {n}", "amount": n * 10, "stage": "Open", "done": False,
            "due": f"2031-0{n + 1}-15", "starts": f"2031-0{n + 1}-15T10:00:00.123456Z",
            "owner": ada, "tags": ["a", "b"], "extra": {"n": n},
        }
        for n in range(6)
    ]  # fmt: skip
    assert sheet.admin.post(f"{DATA}/tasks/bulk", json=tasks).is_success

    def read() -> list[dict[str, Any]]:
        return sheet.admin.get(f"{DATA}/tasks?sort=created_at&order=asc&limit=100").json()

    return read


@pytest.fixture
def table(rows: Any, sheet: Server, tab: Tab) -> Tab:
    """The table of tasks in the order in which they were made."""
    address = "data/sheet/tasks?sort=title&order=asc&columns="
    names = [field["name"] for field in APP["dataContract"][1]["fields"]]
    tab.page.set_viewport_size({"width": 2300, "height": 800})
    tab.open(address + ",".join(names), ready="#c-5-0")
    until(tab.page, f"document.querySelector('#c-0-{OWNER}').innerText === 'Ada'")
    return tab


def click(page: Any, row: int, col: int, **options: Any) -> None:
    """Click a cell at its middle, where nothing may cover it."""
    x, y = middle(page, row, col)
    hit = "([x, y]) => document.elementFromPoint(x, y).closest('[id^=c-]')?.id"
    assert page.evaluate(hit, [x, y]) == f"c-{row}-{col}"
    page.mouse.click(x, y, **options)


def middle(page: Any, row: int, col: int) -> tuple[float, float]:
    page.locator(f"#c-{row}-{col}").scroll_into_view_if_needed()
    box = page.locator(f"#c-{row}-{col}").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def text(page: Any, row: int, col: int) -> str:
    return page.inner_text(f"#c-{row}-{col}").strip()


def put(page: Any, content: str) -> None:
    page.evaluate("(text) => navigator.clipboard.writeText(text)", content)


def saved(rows: Callable[[], list[dict[str, Any]]], name: str) -> Callable[[], list[Any]]:
    return lambda: [row[name] for row in rows()]


def wait_for(read: Callable[[], Any], wanted: Any, page: Any) -> None:
    """Wait until something has a value; the browser goes on meanwhile."""
    eventually(lambda: read() == wanted or page.wait_for_timeout(50), why=read)


def test_a_cell_that_is_being_saved_gets_its_former_value_back(table: Tab, rows: Any):
    """What was typed last is saved last, also where it is what the table still shows."""
    page = table.page
    held: list[Any] = []

    def hold(route: Any) -> None:
        if route.request.method == "PATCH":
            held.append(route)
        else:
            route.continue_()

    page.route("**/collections/tasks/*", hold)
    for typed in ("Other", "Task 1"):
        click(page, 1, TITLE)
        page.keyboard.type(typed)
        press(page, "Enter")
    eventually(lambda: page.wait_for_timeout(20) or held)
    for number in range(2):
        eventually(lambda at=number: page.wait_for_timeout(20) or held[at:])
        held[number].continue_()
    wait_for(lambda: [each.request.post_data_json for each in held],
             [{"title": "Other"}, {"title": "Task 1"}], page)  # fmt: skip
    wait_for(lambda: rows()[1]["title"], "Task 1", page)


def test_a_letter_begins_to_edit(table: Tab, rows: Any):
    page = table.page
    click(page, 1, TITLE)
    page.keyboard.type("New name")
    assert page.input_value("#cell") == "New name"
    press(page, "Enter")
    until(page, f"{CURRENT} === 'c-2-0'")
    wait_for(saved(rows, "title"), [f"{t}" for t in
             ("Task 0", "New name", "Task 2", "Task 3", "Task 4", "Task 5")], page)  # fmt: skip
    page.keyboard.type("lost")
    press(page, "Escape")
    until(page, f"{ACTIVE}.matches('.grid')")
    assert text(page, 2, TITLE) == "Task 2"


def test_enter_and_f2_edit_what_is_there(table: Tab):
    page = table.page
    click(page, 0, TITLE)
    for key in ("Enter", "F2"):
        press(page, key)
        until(page, f"{ACTIVE}.id === 'cell'")
        assert page.input_value("#cell") == "Task 0"
        press(page, "Escape")
    press(page, "Space")
    page.wait_for_selector("h1:has-text('Task 0'), .panel:has-text('Task 0')")


def test_tab_and_enter_walk_as_in_a_spreadsheet(table: Tab, rows: Any):
    page = table.page
    click(page, 0, TITLE)
    page.keyboard.type("One")
    press(page, "Tab")
    page.keyboard.type("1")
    press(page, "Enter")
    until(page, f"{CURRENT} === 'c-1-0'")  # below the cell where the line began
    page.keyboard.type("Two")
    press(page, "Tab")
    page.keyboard.type("2")
    press(page, "Shift+Tab")
    until(page, f"{CURRENT} === 'c-1-0'")
    wait_for(lambda: [(row["title"], row["amount"]) for row in rows()[:2]],
             [("One", 1), ("Two", 2)], page)  # fmt: skip


def test_tab_leaves_the_table_before_work_and_after_escape(table: Tab):
    page = table.page
    page.focus(".grid")
    press(page, "Tab")
    assert not page.evaluate(f"{ACTIVE}.matches('.grid')")
    page.focus(".grid")
    press(page, "ArrowDown", "Tab")
    assert page.evaluate(CURRENT) == "c-1-1"
    press(page, "Escape", "Tab")
    assert not page.evaluate(f"{ACTIVE}.matches('.grid')")


def test_keys_go_to_the_ends(table: Tab):
    page = table.page
    click(page, 2, STAGE)
    steps = [
        ("End", 2, TWICE), ("Home", 2, TITLE), ("Control+End", 5, TWICE),
        ("Control+ArrowLeft", 5, TITLE), ("Control+ArrowUp", 0, TITLE), ("PageDown", 5, TITLE),
        ("Control+Home", 0, TITLE), ("PageUp", 0, TITLE),
    ]  # fmt: skip
    for key, row, col in steps:
        press(page, key)
        until(page, f"{CURRENT} === 'c-{row}-{col}'")


def ranged(page: Any) -> set[str]:
    return set(page.evaluate("[...document.querySelectorAll('.ranged')].map((c) => c.id)"))


def block(top: int, left: int, bottom: int, right: int) -> set[str]:
    return {f"c-{r}-{c}" for r in range(top, bottom + 1) for c in range(left, right + 1)}


def test_ranges_are_selected_by_keys_shift_click_and_drag(table: Tab):
    page = table.page
    click(page, 1, AMOUNT)
    press(page, "Shift+ArrowDown", "Shift+ArrowRight")
    assert ranged(page) == block(1, AMOUNT, 2, STAGE)
    press(page, "Shift+Control+End")
    assert ranged(page) == block(1, AMOUNT, 5, TWICE)
    click(page, 4, TITLE)
    assert ranged(page) == set()
    page.keyboard.down("Shift")
    click(page, 2, STAGE)
    page.keyboard.up("Shift")
    assert ranged(page) == block(2, TITLE, 4, STAGE)
    drag(page, middle(page, 0, AMOUNT), middle(page, 3, DONE))
    assert ranged(page) == block(0, AMOUNT, 3, DONE)
    selected = "document.querySelectorAll('[role=gridcell][aria-selected=true]').length"
    assert page.evaluate(selected) == 12


def test_a_block_goes_to_a_spreadsheet_and_comes_back(table: Tab, rows: Any):
    page = table.page
    sheet_text = 'say ""hi""'
    put(page, f'"two\nlines, {sheet_text}"\t1,234.5\twaiting\tTRUE\t15/02/2032')
    click(page, 0, TITLE)
    press(page, "Control+v")
    page.wait_for_selector(".toast:has-text('1 record saved')")
    first = rows()[0]
    assert first["title"] == 'two\nlines, say "hi"'
    assert (first["amount"], first["stage"]) == (1234.5, "Waiting")
    assert (first["done"], first["due"]) == (True, "2032-02-15")
    click(page, 0, TITLE)
    page.keyboard.down("Shift")
    click(page, 1, TAGS)
    page.keyboard.up("Shift")
    press(page, "Control+c")
    copied = page.evaluate("navigator.clipboard.readText()")
    quoted = f'"two\nlines, {sheet_text}"'
    begins = f"{quoted}\t1234.5\tWaiting\tTRUE\t2032-02-15\t2031-01-15 "
    assert copied.startswith(begins)
    assert '\tAda\t"a\nb"\nTask 1\t10\tOpen\tFALSE\t2031-02-15\t' in copied


def test_a_copied_block_keeps_exact_values(table: Tab, rows: Any):
    page = table.page
    drag(page, middle(page, 2, STARTS), middle(page, 2, EXTRA))
    press(page, "Control+c")
    click(page, 4, STARTS)
    press(page, "Control+v")
    page.wait_for_selector(".toast:has-text('1 record saved')")
    tasks = rows()
    for name in ("starts", "owner", "tags", "extra"):
        assert tasks[4][name] == tasks[2][name]


def test_one_value_fills_a_range_and_one_undo_takes_it_back(table: Tab, rows: Any):
    page = table.page
    put(page, "77")
    drag(page, middle(page, 1, AMOUNT), middle(page, 4, AMOUNT))
    press(page, "Control+v")
    page.wait_for_selector(".toast:has-text('4 records saved')")
    assert saved(rows, "amount")() == [0, 77, 77, 77, 77, 50]
    page.click(".toast button:has-text('Undo')")
    page.wait_for_selector(".toast:has-text('Undone: 4 records')")
    assert saved(rows, "amount")() == [0, 10, 20, 30, 40, 50]


def test_a_link_is_pasted_by_its_title(table: Tab, rows: Any, sheet: Server):
    page = table.page
    sheet.admin.post(f"{DATA}/people/bulk", json=[{"name": "Twin"}, {"name": "Twin"}])
    bob = sheet.admin.get(f"{DATA}/people?name=Bob").json()[0]["id"]
    put(page, "Bob\nNobody\nTwin")
    click(page, 0, OWNER)
    press(page, "Control+v")
    dialog = page.locator("dialog")
    dialog.get_by_text("no people are called “Nobody”").wait_for()
    dialog.get_by_text("several people are called “Twin”").wait_for()
    assert rows()[0]["owner"] != bob
    dialog.get_by_role("button", name="Save the others").click()
    page.wait_for_selector("#c-0-6:has-text('Bob')")
    assert rows()[0]["owner"] == bob


def test_the_corner_is_dragged_to_fill(table: Tab, rows: Any):
    page = table.page
    drag(page, middle(page, 1, AMOUNT), middle(page, 1, STAGE))
    page.wait_for_selector(".fill", state="visible")
    corner = page.locator(".fill").bounding_box()
    start = (corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2)
    assert page.evaluate("([x, y]) => document.elementFromPoint(x, y).className", start) == "fill"
    drag(page, start, middle(page, 4, STAGE))
    page.wait_for_selector(".toast:has-text('3 records saved')")
    assert saved(rows, "amount")() == [0, 10, 10, 10, 10, 50]
    assert ranged(page) == block(1, AMOUNT, 4, STAGE)


def test_control_d_fills_down(table: Tab, rows: Any):
    page = table.page
    drag(page, middle(page, 2, AMOUNT), middle(page, 4, AMOUNT))
    press(page, "Control+d")
    page.wait_for_selector(".toast:has-text('2 records saved')")
    assert saved(rows, "amount")() == [0, 10, 20, 20, 20, 50]
    click(page, 1, TITLE)
    press(page, "Control+d")
    page.wait_for_selector("#c-1-0:has-text('Task 0')")


def test_delete_empties_a_range_and_cut_moves_it(table: Tab, rows: Any):
    page = table.page
    drag(page, middle(page, 0, AMOUNT), middle(page, 1, STAGE))
    press(page, "Delete")
    page.wait_for_selector(".toast:has-text('2 records saved')")
    assert [(row["amount"], row["stage"]) for row in rows()[:2]] == [(None, None)] * 2
    press(page, "Control+z")
    page.wait_for_selector(".toast:has-text('Undone: 2 records')")
    assert [(row["amount"], row["stage"]) for row in rows()[:2]] == [(0, "Open"), (10, "Open")]
    click(page, 2, AMOUNT)
    press(page, "Control+x")
    wait_for(lambda: rows()[2]["amount"], None, page)
    click(page, 3, AMOUNT)
    press(page, "Control+v")
    wait_for(lambda: rows()[3]["amount"], 20, page)


def test_wrong_cells_are_named_and_corrected(table: Tab, rows: Any):
    """The client knows the wrong number, the server the empty title: all of them are listed."""
    page = table.allow(400).page
    put(page, "A\t1\nB\tmany\n\t3\nD\t4\textra\nE\t5\nF\t6\nG\t7")
    click(page, 0, TITLE)
    press(page, "Control+v")
    dialog = page.locator("dialog")
    dialog.get_by_text("Nothing is saved yet").wait_for()
    named = dialog.locator(".refusals li span").all_inner_texts()
    assert named == ["Row 2 · Amount", "Row 4 · Stage"]
    assert "“many” is not a number" in dialog.inner_text()
    assert saved(rows, "title")()[0] == "Task 0"
    dialog.locator("input").nth(0).fill("2")
    dialog.locator("input").nth(1).fill("won")
    dialog.get_by_role("button", name="Try again").click()
    page.wait_for_selector("dialog", state="detached")
    page.wait_for_selector(".toast:has-text('2 cells were not pasted')")
    assert [(row["title"], row["amount"], row["stage"]) for row in rows()] == [
        ("A", 1, "Open"), ("B", 2, "Open"), ("", 3, "Open"), ("D", 4, "Won"),
        ("E", 5, "Open"), ("F", 6, "Open"),
    ]  # fmt: skip


def test_a_cell_that_cannot_be_changed_says_why(table: Tab, rows: Any):
    page = table.page
    click(page, 0, TWICE)
    page.keyboard.type("5")
    page.wait_for_selector(".toast:has-text('Twice is computed')")
    assert page.query_selector("#cell") is None
    assert page.get_attribute(f"#c-0-{TWICE}", "aria-readonly") == "true"
    put(page, "1\t2")
    click(page, 0, EXTRA)
    press(page, "Control+v")
    page.wait_for_selector("dialog:has-text('Twice is computed from other fields')")
    page.click("dialog button:has-text('Cancel')")
    until(page, f"{ACTIVE}.matches('.grid')")
    assert rows()[0]["extra"] == {"n": 0}


def test_who_may_not_change_reads_and_copies(sheet: Server, rows: Any, new_tab: OpenTab):
    role = {"name": "reader", "permissions": ["tasks.read", "people.read"]}
    sheet.admin.post("/api/v1/apps/sheet/roles", json=role)
    reader = sheet.user()
    assign = {"userId": reader.id, "role": "reader"}
    assert sheet.admin.post("/api/v1/apps/sheet/roles/assign", json=assign).is_success
    page = new_tab().sign_in(reader).open("data/sheet/tasks?sort=title", ready="#c-5-0").page
    click(page, 0, TITLE)
    page.keyboard.type("x")
    page.wait_for_selector(".toast:has-text('You may not change records')")
    press(page, "Control+c")
    assert page.evaluate("navigator.clipboard.readText()").startswith("Task ")
    press(page, "Delete")
    press(page, "Enter")
    page.wait_for_selector("h1:has-text('Task'), .panel:has-text('Task')")
    assert saved(rows, "title")() == [f"Task {n}" for n in range(6)]


def test_another_user_was_faster_with_a_cell_of_a_paste(table: Tab, rows: Any, sheet: Server):
    page = table.allow(412).page
    page.click("button[title^='Pause']")
    tasks = rows()
    sheet.admin.patch(f"{DATA}/tasks/{tasks[1]['id']}", json={"amount": 999})
    sheet.admin.patch(f"{DATA}/tasks/{tasks[2]['id']}", json={"title": "Else"})
    put(page, "1\n2\n3")
    click(page, 0, AMOUNT)
    press(page, "Control+v")
    dialog = page.locator("dialog")
    dialog.get_by_text("Row 2 · Amount").wait_for()
    assert "999" in dialog.inner_text()
    assert "Row 3" not in dialog.inner_text()
    dialog.get_by_role("button", name="Keep the server's").click()
    wait_for(saved(rows, "amount"), [1, 999, 3, 30, 40, 50], page)
    assert rows()[2]["title"] == "Else"


# --- editors


def test_a_choice_is_typed(table: Tab, rows: Any):
    page = table.page
    click(page, 0, STAGE)
    page.keyboard.type("wa")
    page.wait_for_selector("[role=option]:has-text('Waiting')")
    assert page.locator("[role=option]").all_inner_texts() == ["Waiting"]
    press(page, "Enter")
    wait_for(lambda: rows()[0]["stage"], "Waiting", page)
    until(page, f"{CURRENT} === 'c-1-2'")
    press(page, "Enter", "ArrowDown", "ArrowDown", "Tab")
    wait_for(lambda: rows()[1]["stage"], "Won", page)
    click(page, 0, DONE)
    page.keyboard.type("y")
    press(page, "Enter")
    wait_for(lambda: rows()[0]["done"], True, page)
    click(page, 2, STAGE, click_count=2)
    x, y = middle_of(page, "[role=option]:has-text('Won')")
    page.mouse.click(x, y)
    wait_for(lambda: rows()[2]["stage"], "Won", page)


def middle_of(page: Any, selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    assert page.evaluate("([x, y, s]) => document.elementFromPoint(x, y).matches(s.split(':')[0])",
                         [x, y, selector])  # fmt: skip
    return x, y


def test_a_link_is_searched_by_typing(table: Tab, rows: Any, sheet: Server):
    page = table.page
    click(page, 0, OWNER)
    page.keyboard.type("Bo")
    page.wait_for_selector(".celledit [role=option]:has-text('Bob')")
    press(page, "Enter")
    page.wait_for_selector("#c-0-6:has-text('Bob')")
    bob = sheet.admin.get(f"{DATA}/people?name=Bob").json()[0]["id"]
    wait_for(lambda: rows()[0]["owner"], bob, page)


def test_dates_and_times_have_pickers_in_the_users_zone(sheet: Server, rows: Any, new_tab: OpenTab):
    options: Any = {"timezone_id": "Asia/Tokyo", "viewport": {"width": 2300, "height": 800}}
    address = "data/sheet/tasks?sort=title&order=asc&columns=title,due,starts"
    page = new_tab(**options).sign_in(sheet.admin).open(address, ready="#c-5-0").page
    assert "19:00" in text(page, 0, 2)
    click(page, 0, 2)
    press(page, "Enter")
    kind = page.get_attribute("#cell", "type")
    assert kind == "datetime-local"
    assert page.input_value("#cell") == "2031-01-15T19:00:00.123"
    press(page, "Escape")
    press(page, "Enter")
    page.fill("#cell", "2031-01-16T08:30")
    press(page, "Enter")
    wait_for(lambda: rows()[0]["starts"], "2031-01-15T23:30:00Z", page)
    click(page, 1, 1)
    press(page, "Enter")
    assert page.get_attribute("#cell", "type") == "date"
    page.fill("#cell", "2033-12-24")
    press(page, "Tab")
    wait_for(lambda: rows()[1]["due"], "2033-12-24", page)


def test_lists_and_json_open_over_their_cell(table: Tab, rows: Any):
    page = table.allow(400).page
    click(page, 0, TAGS)
    press(page, "Enter")
    page.wait_for_selector("textarea#cell")
    assert page.input_value("#cell") == "a\nb"
    page.keyboard.type("\nc")
    press(page, "Control+Enter")
    wait_for(lambda: rows()[0]["tags"], ["a", "b", "c"], page)
    click(page, 0, EXTRA)
    page.keyboard.type("{nothing")
    press(page, "Control+Enter")
    page.wait_for_selector(".celllines .problem:has-text('JSON')")
    assert page.input_value("#cell") == "{nothing"
    page.fill("#cell", '{"a": [1]}')
    press(page, "Control+Enter")
    wait_for(lambda: rows()[0]["extra"], {"a": [1]}, page)


def test_what_the_server_refuses_keeps_its_text_while_one_types_on(table: Tab, rows: Any):
    page = table.allow(400).page
    click(page, 0, AMOUNT)
    page.keyboard.type("1e999999")
    press(page, "Enter")
    page.keyboard.type("12")
    page.wait_for_selector("#c-0-1.refused:has-text('1e999999')")
    assert page.input_value("#cell") == "12"
    press(page, "Enter")
    wait_for(lambda: rows()[1]["amount"], 12, page)
    click(page, 0, AMOUNT, click_count=2)
    assert page.input_value("#cell") == "1e999999"
    page.fill("#cell", "7")
    press(page, "Enter")
    wait_for(lambda: rows()[0]["amount"], 7, page)
    assert page.query_selector(".refused") is None


def test_nothing_jumps_while_one_types(table: Tab, rows: Any, sheet: Server):
    page = table.allow(412).page
    click(page, 1, TITLE)
    page.keyboard.type("half a wo")
    tasks = rows()
    sheet.admin.patch(f"{DATA}/tasks/{tasks[0]['id']}", json={"title": "Changed by another"})
    sheet.admin.patch(f"{DATA}/tasks/{tasks[1]['id']}", json={"amount": 4321})
    page.wait_for_timeout(800)
    assert text(page, 0, TITLE) == "Task 0"
    page.keyboard.type("rd")
    press(page, "Enter")
    wait_for(lambda: rows()[1]["title"], "half a word", page)
    page.wait_for_selector("#c-0-0:has-text('Changed by another')")
    assert rows()[1]["amount"] == 4321


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_cells_and_editors_are_accessible(table: Tab, scheme: Any, width: int):
    page = table.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 700})
    page.click("#c-1-0")
    press(page, "Shift+ArrowDown")
    assert table.axe() == []
    press(page, "ArrowRight", "ArrowRight", "Enter")
    page.wait_for_selector("[role=option]")
    assert table.axe() == []
    press(page, "Escape", "End", "ArrowLeft", "Enter")
    page.wait_for_selector("textarea#cell")
    page.keyboard.type("{")
    press(page, "Control+Enter")
    page.wait_for_selector(".celllines .problem")
    assert table.axe() == []
    press(page, "Escape", "Home", "ArrowRight")
    put(page, "x")
    press(page, "Control+v")
    page.wait_for_selector("dialog .refusals")
    assert table.axe() == []
    assert table.overflow() == 0
    page.click("dialog button:has-text('Cancel')")


def test_five_thousand_cells_with_three_wrong_ones(sheet: Server, rows: Any, new_tab: OpenTab):
    """Rows that are not loaded yet are reached, too. The wrong cells are named; nothing is lost."""
    tasks = [{"title": f"Row {n:04}", "amount": n} for n in range(1000)]
    sheet.sql("truncate sheet.tasks cascade")
    assert sheet.admin.post(f"{DATA}/tasks/bulk", json=tasks).is_success
    tab = new_tab().sign_in(sheet.admin).allow(400)
    names = "title,amount,stage,due,tags"
    page = tab.open(f"data/sheet/tasks?sort=title&order=asc&columns={names}", ready="#c-5-0").page
    lines = [[f"Row {n:04}", str(n + 1), "Won", "2032-01-31", "new"] for n in range(1000)]
    lines[1][1] = "none"
    lines[500][2] = "Lost"
    lines[999][3] = "2032-02-31"
    put(page, "\n".join("\t".join(line) for line in lines))
    click(page, 0, TITLE)
    press(page, "Control+v")
    dialog = page.locator("dialog:has(.refusals)")
    dialog.wait_for(timeout=60_000)
    named = dialog.locator(".refusals li span").all_inner_texts()
    assert named == ["Row 2 · Amount", "Row 501 · Stage", "Row 1,000 · Due"]
    assert [field.input_value() for field in dialog.locator("input").all()] == [
        "none", "Lost", "2032-02-31",
    ]  # fmt: skip
    count = f"{DATA}/tasks/query"
    won = {"where": {"stage": "Won"}, "limit": 1}
    assert sheet.admin.post(count, json=won).json()["total"] == 0
    dialog.get_by_role("button", name="Save the others").click()
    page.wait_for_selector(".toast:has-text('1000 records saved')", timeout=60_000)
    assert sheet.admin.post(count, json=won).json()["total"] == 999
    tagged = sheet.admin.post(count, json={"where": {"title": "Row 0500"}}).json()["data"][0]
    assert (tagged["stage"], tagged["amount"], tagged["tags"]) == (None, 501, ["new"])
    page.click(".toast button:has-text('Undo')")
    page.wait_for_selector(".toast:has-text('Undone: 1000 records')", timeout=60_000)
    assert sheet.admin.post(count, json=won).json()["total"] == 0


# --- docs/howto/edit-cells.md: each line of its table of keys is done here

PAGE = Path("docs/howto/edit-cells.md")


def at(page: Any, row: int, col: int) -> None:
    until(page, f"{CURRENT} === 'c-{row}-{col}'")


def edits(page: Any, content: str) -> None:
    until(page, f"{ACTIVE}.id === 'cell'")
    assert page.input_value("#cell") == content


def leaves(page: Any) -> None:
    press(page, "Escape", "Tab")
    assert not page.evaluate(f"{ACTIVE}.matches('.grid')")


def copies(page: Any) -> None:
    press(page, "Control+x")
    page.wait_for_selector("#c-1-1:has-text('–')")
    click(page, 2, AMOUNT)
    press(page, "Control+v")
    page.wait_for_selector("#c-2-1:has-text('10')")


def takes_back(page: Any) -> None:
    press(page, "Delete")
    page.wait_for_selector("#c-1-1:has-text('–')")
    press(page, "Control+z")
    page.wait_for_selector("#c-1-1:has-text('10')")


def gives_up(page: Any) -> None:
    page.keyboard.type("77")
    press(page, "Escape")
    assert text(page, 1, AMOUNT) == "10"


CHECKS: dict[str, Callable[[Any], Any]] = {
    "any letter or digit": lambda page: (page.keyboard.type("7"), edits(page, "7")),
    "`Enter`, `F2`": lambda page: (press(page, "Enter"), edits(page, "10")),
    "`Enter`, `Shift Enter` in the editor": lambda page: (
        press(page, "F2", "Enter"), at(page, 2, AMOUNT), press(page, "F2", "Shift+Enter"),
        at(page, 1, AMOUNT)),
    "`Tab`, `Shift Tab`": lambda page: (
        press(page, "Tab"), at(page, 1, STAGE), press(page, "Shift+Tab"), at(page, 1, AMOUNT)),
    "`Esc`": gives_up,
    "arrows": lambda page: (page.keyboard.type("11"), press(page, "ArrowUp"), at(page, 0, AMOUNT)),
    "`Home`, `End`": lambda page: (
        press(page, "End"), at(page, 1, TWICE), press(page, "Home"), at(page, 1, TITLE)),
    "`Ctrl Home`, `Ctrl End`": lambda page: (
        press(page, "Control+End"), at(page, 5, TWICE), press(page, "Control+Home"),
        at(page, 0, TITLE)),
    "`Ctrl` with an arrow": lambda page: (press(page, "Control+ArrowDown"), at(page, 5, AMOUNT)),
    "`Page Up`, `Page Down`": lambda page: (
        press(page, "PageDown"), at(page, 5, AMOUNT), press(page, "PageUp"), at(page, 0, AMOUNT)),
    "`Shift` with any of these": lambda page: (
        press(page, "Shift+ArrowDown"), until(page, "document.querySelectorAll('.ranged').length")),
    "`Ctrl C`, `Ctrl X`, `Ctrl V`": copies,
    "`Ctrl D`": lambda page: (
        press(page, "Control+d"), page.wait_for_selector("#c-1-1 >> text=/^0$/")),
    "`Del`": lambda page: (press(page, "Delete"), page.wait_for_selector("#c-1-1:has-text('–')")),
    "`Ctrl Z`": takes_back,
    "`Space`": lambda page: (
        press(page, "Space"), page.wait_for_selector(".panel:has-text('Task 1')")),
    "`Shift Space`": lambda page: (
        press(page, "Shift+Space"), page.wait_for_selector("text=1 selected")),
    "`Alt S`, `Alt Shift S`": lambda page: (
        press(page, "Alt+s"), page.wait_for_selector("[data-column=amount][aria-sort]")),
    "`Alt ↓`": lambda page: (
        press(page, "Alt+ArrowDown"), page.wait_for_selector("[data-column=amount] .popup")),
    "`Alt C`": lambda page: (
        press(page, "Alt+c"), page.wait_for_selector("dialog [aria-label=Type]")),
    "`Esc`, then `Tab`": leaves,
}  # fmt: skip


def test_the_page_about_cells_lists_the_keys_that_are_tried():
    rows = re.findall(r"^\| (.+?) \| .+ \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows[0] == "key"
    assert rows[1:] == list(CHECKS)


@pytest.mark.parametrize("keys", CHECKS)
def test_each_key_does_what_the_page_says(table: Tab, keys: str):
    click(table.page, 1, AMOUNT)
    CHECKS[keys](table.page)
