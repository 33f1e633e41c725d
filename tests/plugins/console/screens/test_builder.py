"""Building by mouse: an app, tables and columns without a manifest in sight."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import OpenTab, Tab, drop, until

_count = itertools.count(1)
NARROW: Any = {"width": 360, "height": 740}


@pytest.fixture
def shop(server: Server) -> str:
    """An app with two tables and two records."""
    app_id = f"shop{next(_count)}"
    server.install(
        {
            "appId": app_id,
            "name": f"Shop {app_id}",
            "dataContract": [
                {"entityName": "orders", "fields": [{"name": "mail", "type": "text"},
                                                    {"name": "size", "type": "text"}]},
                {"entityName": "goods", "fields": [{"name": "title", "type": "text"}]},
            ],
        }
    )  # fmt: skip
    rows = [{"mail": "a@x.org", "size": "12"}, {"mail": "b@x.org", "size": "big"}]
    made = server.admin.post(f"/api/v1/apps/{app_id}/collections/orders/bulk", json=rows)
    assert made.status_code == 201
    return app_id


def click(page: Any, selector: str) -> None:
    """Click at the middle of an element, as a hand does; something else above it is a failure."""
    element = page.wait_for_selector(selector)
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    hit = page.evaluate_handle("([x, y]) => document.elementFromPoint(x, y)", [x, y])
    is_above = page.evaluate("([hit, element]) => element.contains(hit)", [hit, element])
    assert is_above, f"{selector} is covered by {hit}"
    page.mouse.click(x, y)


def open_column_menu(page: Any, name: str) -> None:
    page.hover(f"[data-column={name}]")
    click(page, f"[data-column={name}] .menu > button")


def install(page: Any, verb: str) -> None:
    """Wait for the plan of a step, and install it."""
    page.wait_for_selector("dialog .card[aria-label=Plan]")
    click(page, f"dialog .actions button:has-text('{verb}')")
    page.wait_for_selector("dialog", state="detached")


def test_from_nothing_to_a_table_of_ones_own(server: Server, tab: Tab) -> None:
    page = tab.open("start").page
    clicks = itertools.count(1)

    def press(selector: str) -> None:
        next(clicks)
        click(page, selector)

    press("text=Begin with a blank table")
    page.fill("text=Name of the app", "Bike workshop 7")
    page.fill("text=First table", "Repairs")
    for number, title in enumerate(("Customer", "Price", "Due date"), 1):
        page.fill(f"[aria-label='Name of column {number}']", title)
    page.select_option("[aria-label='Type of column 2']", label="Money")
    page.select_option("[aria-label='Type of column 3']", label="Date")
    press("button:has-text('Make the app')")
    page.wait_for_selector("text=No repairs yet")
    press("text=Create the first record")
    page.fill("#n-customer", "Ada")
    page.fill("#n-price", "12.5")
    press("button:has-text('Create')")
    page.wait_for_selector("h1:has-text('Ada')")
    assert next(clicks) < 20
    app = "bike_workshop_7"
    (record,) = server.admin.get(f"/api/v1/apps/{app}/collections/repairs").json()
    assert (record["customer"], record["price"]) == ("Ada", 12.5)
    roles = {role["name"]: role for role in server.admin.get(f"/api/v1/apps/{app}/roles").json()}
    assert "repairs.update" in roles["member"]["permissions"]
    server.admin.delete(f"/api/v1/apps/{app}")


def test_a_column_is_added_at_the_end_of_the_header_and_taken_back(
    server: Server, tab: Tab, shop: str
) -> None:
    page = tab.open(f"data/{shop}/orders", ready=".gs .gr").page
    click(page, ".gh .add button")
    page.fill("dialog [aria-label=Type] >> xpath=ancestor::form >> input", "Order status")
    page.select_option("dialog [aria-label=Type]", label="Choice")
    page.fill("[aria-label='Choice 1']", "Open")
    page.fill("[aria-label='Choice 2']", "Paid")
    page.select_option("[aria-label='Colour of choice 2']", label="green")
    page.wait_for_selector("dialog .plan:has-text('order_status')")
    assert "2 rows" in page.inner_text("dialog .card[aria-label=Plan]")
    click(page, "dialog summary")
    page.wait_for_selector("dialog .lines ins:has-text('enum_values')")
    assert not tab.axe("dialog")
    install(page, "Add column")
    page.wait_for_selector("[data-column=order_status]")
    described = server.admin.get(f"/api/v1/apps/{shop}").json()
    field = described["entities"][0]["fields"][-1]
    assert (field["enum_values"], field["colours"]) == (["Open", "Paid"], {"Paid": "green"})
    click(page, ".toast button:has-text('Undo')")
    page.wait_for_selector("[data-column=order_status]", state="detached")


def test_a_column_is_renamed_with_its_values(server: Server, tab: Tab, shop: str) -> None:
    page = tab.open(f"data/{shop}/orders", ready=".gs .gr").page
    open_column_menu(page, "mail")
    click(page, ".popup button:has-text('Rename')")
    page.fill("dialog input", "E-mail address")
    page.wait_for_selector("dialog .plan:has-text('from mail')")
    install(page, "Rename")
    page.wait_for_selector("[data-column=e_mail_address]:has-text('E-mail address')")
    page.wait_for_selector(".gs .gr:has-text('a@x.org')")
    records = server.admin.get(f"/api/v1/apps/{shop}/collections/orders").json()
    assert {record["e_mail_address"] for record in records} == {"a@x.org", "b@x.org"}


def test_a_type_whose_values_do_not_convert_says_which(tab: Tab, shop: str) -> None:
    page = tab.allow(400).open(f"data/{shop}/orders", ready=".gs .gr").page
    open_column_menu(page, "size")
    click(page, ".popup button:has-text('Type and rules')")
    page.select_option("dialog [aria-label=Type]", label="Number")
    page.wait_for_selector("dialog [role=alert]:has-text('\"big\"')")
    assert page.is_disabled("dialog .actions button:has-text('Change')")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_a_column_is_removed_and_the_dialog_says_what_is_kept(
    server: Server, tab: Tab, shop: str
) -> None:
    page = tab.open(f"data/{shop}/orders", ready=".gs .gr").page
    open_column_menu(page, "size")
    click(page, ".popup button:has-text('Remove')")
    page.wait_for_selector("dialog .notice:has-text('keeps what its 2 rows have')")
    install(page, "Remove")
    page.wait_for_selector("[data-column=size]", state="detached")
    assert server.sql(f"select count(size) from {shop}.orders") == [(2,)]


def test_a_table_is_made_below_the_last_one_renamed_and_removed(
    server: Server, tab: Tab, shop: str
) -> None:
    page = tab.open(f"data/{shop}/orders", ready=".gs .gr").page
    # The first button behind the name of the app: apps of other tests are listed, too.
    add = page.locator(f"h2:has(span:text-is('Shop {shop}')) ~ button.addtable").first
    add.scroll_into_view_if_needed()
    add.click()
    page.fill("dialog input[placeholder=Invoices]", "Deliveries")
    page.fill("[aria-label='Name of column 2']", "Sent on")
    page.select_option("[aria-label='Type of column 2']", label="Date")
    click(page, "dialog label:has-text('Members see all, admins change them')")
    install(page, "Make table")
    page.wait_for_selector("text=No deliveries yet")
    role = server.admin.get(f"/api/v1/apps/{shop}/roles").json()
    assert {"deliveries.read"} == set(next(r for r in role if r["name"] == "member")["permissions"])

    click(page, "button[title=More]")
    click(page, ".popup button:has-text('Rename the table')")
    page.fill("dialog input", "Shipments")
    install(page, "Rename")
    page.wait_for_selector("h1:has-text('Shipments')")
    click(page, "button[title=More]")
    click(page, ".popup button:has-text('Remove the table')")
    install(page, "Remove")
    until(page, "location.hash.startsWith('#/apps/')")


def test_two_people_at_once_see_each_other(server: Server, tab: Tab, shop: str) -> None:
    page = tab.allow(412).open(f"data/{shop}/orders", ready=".gs .gr").page
    click(page, ".gh .add button")
    page.wait_for_selector("dialog [aria-label=Type]")
    path = f"/api/v1/apps/{shop}/manifest/edit"
    other = {"op": "add_field", "entity": "orders", "field": {"name": "theirs", "type": "text"}}
    answer = server.admin.post(path, json={"operations": [other]}, headers={"if-match": "*"})
    assert answer.status_code == 200
    page.fill("dialog input", "Mine")
    page.wait_for_selector("dialog [role=alert]:has-text('Others have changed')")
    click(page, "dialog button:has-text('Show the plan on their version')")
    install(page, "Add column")
    page.wait_for_selector("[data-column=mine]")
    page.wait_for_selector("[data-column=theirs]")


def test_an_app_from_a_folder_asks_before_it_is_changed_here(
    server: Server, tab: Tab, shop: str
) -> None:
    shown = server.admin.get(f"/api/v1/apps/{shop}/manifest").json()
    assert server.admin.post("/api/v1/apps?source=files", json=shown).status_code == 200
    page = tab.allow(409).open(f"data/{shop}/orders", ready=".gs .gr").page
    click(page, ".gh .add button")
    page.fill("dialog input", "Note")
    page.wait_for_selector("dialog [role=alert]:has-text('deployed from a folder')")
    click(page, "dialog button:has-text('Change it here…')")
    click(page, "dialog button.danger:has-text('Change it here')")
    install(page, "Add column")
    page.wait_for_selector("[data-column=note]")


def test_without_the_right_there_is_nothing_to_build_with(
    server: Server, new_tab: OpenTab, shop: str
) -> None:
    clerk = server.user(permissions={shop: ["orders.read", "orders.create", "orders.update"]})
    page = new_tab().sign_in(clerk).open(f"data/{shop}/orders", ready=".gs .gr").page
    assert page.query_selector(".gh .add") is None
    assert page.query_selector(".addtable") is None
    open_column_menu(page, "mail")
    assert page.query_selector(".popup button:has-text('Rename')") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_dialogs_are_accessible_on_a_narrow_screen(
    new_tab: OpenTab, crm: Server, shop: str, scheme: Any
) -> None:
    tab = new_tab(viewport=NARROW, color_scheme=scheme).sign_in(crm.admin)
    page = tab.open(f"data/{shop}/orders", ready=".gs .gr").page
    page.focus(".grid")
    page.keyboard.press("Alt+c")
    page.wait_for_selector("dialog [aria-label=Type]")
    page.keyboard.type("Kind")
    page.select_option("dialog [aria-label=Type]", label="Choice")
    page.fill("[aria-label='Choice 1']", "Open")
    page.wait_for_selector("dialog .card[aria-label=Plan]")
    assert not tab.axe("dialog")
    assert tab.overflow() <= 0


def test_an_app_is_made_from_a_csv_file(server: Server, tab: Tab) -> None:
    page = tab.open("start").page
    click(page, "text=Begin with a CSV file")
    page.fill("text=Name of the app", "Guest list 9")
    content = "Name;Seats;Arrives on;Note\nAda;2;31.12.2024;\nBob;1;01.01.2025;veg\n"
    drop(page, "form .drop", "guests.csv", content.encode())
    page.wait_for_selector("section[aria-label=Proposal] td:has-text('Arrives on')")
    assert not tab.axe("main")
    click(page, "button:has-text('Make the app and import')")
    page.wait_for_selector(".gs .gr:has-text('Ada')")
    rows = server.admin.get("/api/v1/apps/guest_list_9/collections/guests").json()
    assert {(row["name"], row["seats"], row["arrives_on"]) for row in rows} == {
        ("Ada", 2, "2024-12-31"), ("Bob", 1, "2025-01-01"),
    }  # fmt: skip
    server.admin.delete("/api/v1/apps/guest_list_9")


def test_an_app_is_made_from_an_example(server: Server, tab: Tab) -> None:
    page = tab.open("start").page
    click(page, "text=Begin with an example")
    click(page, ".cards button:has(b:text-is('Help desk'))")
    page.wait_for_selector("text=No tickets yet")
    server.admin.delete("/api/v1/apps/help_desk")


def test_the_history_goes_back_to_a_version(server: Server, tab: Tab, shop: str) -> None:
    path = f"/api/v1/apps/{shop}/manifest/edit"
    step = {"op": "rename_field", "entity": "orders", "field": "mail", "name": "email"}
    answer = server.admin.post(path, json={"operations": [step]}, headers={"if-match": "*"})
    assert answer.status_code == 200
    page = tab.open(f"apps/{shop}/history", ready=".history li").page
    page.wait_for_selector(".history li:has-text('by the builder, 1 change')")
    click(page, ".history li:last-child a")
    click(page, "button:has-text('Go back to it…')")
    page.wait_for_selector("dialog .plan:has-text('from email')")
    click(page, "dialog button:has-text('Go back') >> nth=-1")
    page.wait_for_selector(".history li:has-text('taken back')")
    assert server.sql(f"select count(mail) from {shop}.orders") == [(2,)]


def test_the_editor_names_the_line_of_an_error_and_completes(tab: Tab, shop: str) -> None:
    page = tab.allow(400).open(f"apps/{shop}/manifest", ready="textarea").page
    wrong = page.input_value("textarea").replace('"type": "text"', '"type": "money"', 1)
    page.fill("textarea", wrong)
    page.keyboard.press("Control+Enter")
    line = wrong[: wrong.index('"money"')].count("\n") + 1
    click(page, f"button.link:has-text('Line {line}: dataContract[0].fields[0].type')")
    at = page.evaluate("document.querySelector('textarea').selectionStart")
    assert wrong[at:].startswith('"money"')
    page.fill("textarea", '{\n  "dataContract": [{"entityName": "a", "fields": [{"ty')
    page.keyboard.press("Control+Space")
    click(page, ".completion button:has-text('type')")
    until(page, "document.querySelector('textarea').value.endsWith('\"type')")


def test_a_link_is_drawn_in_the_diagram(server: Server, tab: Tab, shop: str) -> None:
    page = tab.open(f"apps/{shop}/tables", ready=".diagram .box").page
    grip = page.wait_for_selector(".diagram .box:has-text('Orders') .grip").bounding_box()
    goods = page.wait_for_selector(".diagram .box:has-text('Goods') rect").bounding_box()
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
    page.mouse.down()
    page.mouse.move(goods["x"] + 60, goods["y"] + 20, steps=4)
    page.mouse.up()
    install(page, "Add column")
    described = server.admin.get(f"/api/v1/apps/{shop}").json()["entities"]
    (orders,) = [entity for entity in described if entity["name"] == "orders"]
    assert orders["fields"][-1]["references"] == "goods"


def build_on(page: Any, table: str, step: str) -> None:
    """Open a step from the list of tables below the diagram."""
    click(page, f".tablelist li:has-text('{table}') .menu > button")
    click(page, f".popup button:has-text('{step}')")
    page.wait_for_selector("dialog[open]")


def test_two_columns_swap_their_names_in_one_step(server: Server, tab: Tab, shop: str) -> None:
    page = tab.open(f"data/{shop}/orders", ready=".gs .gr").page
    open_column_menu(page, "mail")
    click(page, ".popup button:has-text('Rename')")
    page.fill("dialog input", "Size")
    page.wait_for_selector("dialog .notice:has-text('exchange their names')")
    page.wait_for_selector("dialog .plan:has-text('from size')")
    assert not tab.axe("dialog")
    install(page, "Rename")
    page.wait_for_selector(".gs .gr:has-text('a@x.org')")
    rows = server.admin.get(f"/api/v1/apps/{shop}/collections/orders").json()
    assert {(row["size"], row["mail"]) for row in rows} == {("a@x.org", "12"), ("b@x.org", "big")}
    click(page, ".toast button:has-text('Undo')")
    page.wait_for_selector(".toast:has-text('Taken back')")
    rows = server.admin.get(f"/api/v1/apps/{shop}/collections/orders").json()
    assert {row["mail"] for row in rows} == {"a@x.org", "b@x.org"}


def test_the_rows_to_correct_are_named_and_lead_there(server: Server, tab: Tab, shop: str) -> None:
    page = tab.allow(400).open(f"data/{shop}/orders", ready=".gs .gr").page
    rows = server.admin.get(f"/api/v1/apps/{shop}/collections/orders").json()
    (wrong,) = [row["id"] for row in rows if row["size"] == "big"]
    open_column_menu(page, "size")
    click(page, ".popup button:has-text('Type and rules')")
    page.select_option("dialog [aria-label=Type]", label="Number")
    page.wait_for_selector("dialog section:has-text('1 record to correct')")
    assert page.locator("dialog .ids li").all_inner_texts() == [wrong]
    assert not tab.axe("dialog")
    with page.context.expect_page() as opened:
        click(page, "dialog .ids a")
    record = opened.value
    record.wait_for_selector("#f-size")
    assert record.input_value("#f-size") == "big"
    record.close()
    path = f"/api/v1/apps/{shop}/collections/orders/{wrong}"
    assert server.admin.patch(path, json={"size": "14"}).is_success
    click(page, "dialog button:has-text('Try again')")
    page.wait_for_selector("dialog .plan:has-text('text to number')")
    install(page, "Change")
    assert server.admin.get(path).json()["size"] == 14


def test_indexes_are_made_and_removed(server: Server, tab: Tab, shop: str) -> None:
    page = tab.open(f"apps/{shop}/tables", ready=".tablelist li").page
    assert not tab.axe("main")
    build_on(page, "Orders", "Indexes")
    page.select_option("[aria-label='Column 1 of the index']", "mail")
    page.select_option("[aria-label='Column 2 of the index']", "size")
    click(page, "dialog label:has-text('Unique')")
    click(page, "dialog fieldset button:has-text('Add')")
    page.wait_for_selector("dialog .plan:has-text('mail, size')")
    assert not tab.axe("dialog")
    install(page, "Save")
    manifest = server.admin.get(f"/api/v1/apps/{shop}/manifest").json()
    assert manifest["dataContract"][0]["indexes"] == [{"columns": ["mail", "size"], "unique": True}]
    build_on(page, "Orders", "Indexes")
    click(page, "[aria-label='Remove the index of Mail, Size']")
    page.wait_for_selector("dialog .plan:has-text('index goes')")
    install(page, "Save")
    assert (
        "indexes" not in server.admin.get(f"/api/v1/apps/{shop}/manifest").json()["dataContract"][0]
    )


def test_a_search_is_set_up_and_finds(server: Server, tab: Tab, shop: str) -> None:
    page = tab.open(f"apps/{shop}/tables", ready=".tablelist li").page
    build_on(page, "Goods", "Search")
    page.select_option("dialog label:has-text('Language') select", label="English")
    page.select_option("[aria-label='Search in Title']", label="found first")
    page.wait_for_selector("dialog .card[aria-label=Plan]")
    assert not tab.axe("dialog")
    install(page, "Save")
    page.wait_for_selector(".tablelist li:has-text('searched by words')")
    body = {"title": "Sailing boats"}
    assert server.admin.post(f"/api/v1/apps/{shop}/collections/goods", json=body).is_success
    path = f"/api/v1/apps/{shop}/collections/goods/query"
    found = server.admin.post(path, json={"search": "boat"}).json()["data"]
    assert [row["title"] for row in found] == ["Sailing boats"]


def test_a_field_is_kept_for_a_role(server: Server, tab: Tab, shop: str) -> None:
    role = {"name": "billing", "permissions": ["orders.read"]}
    assert server.admin.post(f"/api/v1/apps/{shop}/roles", json=role).is_success
    clerk = server.user(permissions={shop: ["orders.read"]})
    payer = server.user(roles={shop: ["billing"]})
    page = tab.open(f"apps/{shop}/tables", ready=".tablelist li").page
    build_on(page, "Orders", "Rights on fields")
    page.select_option("[aria-label='Who may see Size']", label="see: only some roles")
    click(page, "dialog td:has([aria-label='Who may see Size']) label:has-text('billing')")
    page.wait_for_selector("dialog .notice:has-text('No table is touched')")
    assert not tab.axe("dialog")
    page.wait_for_selector("dialog .actions button:not([disabled]):has-text('Save')")
    click(page, "dialog .actions button:has-text('Save')")
    page.wait_for_selector("dialog", state="detached")
    path = f"/api/v1/apps/{shop}/collections/orders"
    assert "size" not in clerk.get(path).json()[0]
    assert "size" in payer.get(path).json()[0]


def test_a_table_of_an_app_is_made_from_a_csv_file(server: Server, tab: Tab, shop: str) -> None:
    page = tab.open(f"apps/{shop}/tables", ready=".tablelist li").page
    click(page, "button:has-text('Table from a CSV')")
    content = "Place,Seats\nHall,200\nRoom,12\n"
    drop(page, "dialog .drop", "orders.csv", content.encode())
    page.wait_for_selector("dialog .notice:has-text('a table of that name already')")
    page.fill("dialog label:has-text('Name of the table') input", "Venues")
    page.wait_for_selector("dialog .plan:has-text('2 fields')")
    assert not tab.axe("dialog")
    click(page, "dialog label:has-text('Members see all, admins change them')")
    page.wait_for_selector("dialog .actions button:not([disabled]):has-text('Make the table')")
    click(page, "dialog .actions button:has-text('Make the table and import')")
    page.wait_for_selector("h1:has-text('Venues')")
    page.wait_for_selector(".gs .gr:has-text('Hall')")
    rows = server.admin.get(f"/api/v1/apps/{shop}/collections/venues").json()
    assert {(row["place"], row["seats"]) for row in rows} == {("Hall", 200), ("Room", 12)}
    roles = {role["name"]: role for role in server.admin.get(f"/api/v1/apps/{shop}/roles").json()}
    assert roles["member"]["permissions"] == ["venues.read"]


def test_the_list_of_tables_fits_a_phone_and_the_dark(
    new_tab: OpenTab, crm: Server, shop: str
) -> None:
    tab = new_tab(viewport=NARROW, color_scheme="dark", has_touch=True).sign_in(crm.admin)
    page = tab.open(f"apps/{shop}/tables", ready=".tablelist li").page
    assert tab.overflow() <= 0
    assert not tab.axe("main")
    page.tap(".tablelist li:has-text('Orders') .menu > button")
    page.tap(".popup button:has-text('Rights on fields')")
    page.wait_for_selector("[aria-label='Who may see Size']")
    assert tab.overflow() <= 0
    assert not tab.axe("dialog")


def test_a_column_is_made_of_others_without_an_expression(
    server: Server, tab: Tab, shop: str
) -> None:
    path = f"/api/v1/apps/{shop}/manifest/edit"
    steps = [
        {"op": "add_field", "entity": "goods", "field": {"name": name, "type": "number"}}
        for name in ("price", "freight")
    ]
    edit = {"operations": steps}
    assert server.admin.post(path, json=edit, headers={"if-match": "*"}).is_success
    body = {"title": "Boat", "price": 100, "freight": 7}
    assert server.admin.post(f"/api/v1/apps/{shop}/collections/goods", json=body).is_success
    page = tab.open(f"data/{shop}/goods", ready=".gs .gr").page
    click(page, ".gh .add button")
    page.fill("dialog [aria-label=Type] >> xpath=ancestor::form >> input", "Total")
    page.select_option("dialog [aria-label=Type]", label="Generated from others")
    page.select_option("dialog [aria-label='Made as']", label="Sum of numbers")
    for name in ("Price", "Freight"):
        click(page, f"dialog .columnlist label:has-text('{name}')")
    page.wait_for_selector("dialog .plan:has-text('total')")
    assert not tab.axe("dialog")
    install(page, "Add column")
    page.wait_for_selector(".gs .gr:has-text('107')")
    open_column_menu(page, "total")
    click(page, ".popup button:has-text('Type and rules')")
    page.wait_for_selector("dialog [aria-label='Made as']")
    assert page.input_value("dialog [aria-label='Made as']") == "$sum"
    assert page.is_checked("dialog .columnlist label:has-text('Freight') input")
    page.keyboard.press("Escape")


def test_an_app_that_is_deployed_from_a_folder_says_so(server: Server, tab: Tab, shop: str) -> None:
    shown = server.admin.get(f"/api/v1/apps/{shop}/manifest").json()
    assert server.admin.post("/api/v1/apps?source=files", json=shown).status_code == 200
    page = tab.open(f"apps/{shop}/tables", ready=".tablelist li").page
    page.wait_for_selector(".head:has-text('deployed from a folder')")


def test_a_table_that_others_link_to_stays(server: Server, tab: Tab, shop: str) -> None:
    path = f"/api/v1/apps/{shop}/manifest/edit"
    field = {"name": "item_id", "type": "entity_link", "references": {"entity": "goods"}}
    step = {"op": "add_field", "entity": "orders", "field": field}
    edit = {"operations": [step]}
    assert server.admin.post(path, json=edit, headers={"if-match": "*"}).is_success
    page = tab.allow(400).open(f"apps/{shop}/tables", ready=".tablelist li").page
    build_on(page, "Goods", "Remove")
    page.wait_for_selector("dialog [role=alert]:has-text('orders.item_id link to')")
    assert page.is_disabled("dialog .actions button:has-text('Remove')")
    page.keyboard.press("Escape")
