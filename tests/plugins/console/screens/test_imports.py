"""Imports of what people have, and links to exports, in a real browser."""

from __future__ import annotations

import csv
import io

import httpx
import pytest

from kernel.testing import Server
from tests.plugins.console.browser import drop, needs_browser, until
from tests.plugins.console.screens.workbooks import make_workbook

pytestmark = needs_browser

MANIFEST = {
    "appId": "trade",
    "name": "Trade",
    "dataContract": [
        {
            "entityName": "customers",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {"name": "active", "type": "boolean"},
            ],
            "indexes": [{"columns": ["name"], "unique": True}],
        },
        {
            "entityName": "orders",
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "amount", "type": "number"},
                {"name": "ordered_on", "type": "date"},
                {"name": "customer_id", "type": "entity_link",
                 "references": {"entity": "customers"}},
            ],
        },
    ],
}  # fmt: skip
DATA = "/api/v1/apps/trade/collections"
ORDERS = f"{DATA}/orders"


@pytest.fixture
def trade(crm: Server) -> Server:
    crm.install(MANIFEST)
    crm.sql("truncate trade.orders, trade.customers")
    return crm


def reading(tab, title):
    card = tab.page.locator("section:has(h2:text-is('How the file is read'))")
    return card.locator(f"label:has-text('{title}') select")


def shown(tab, title):
    return reading(tab, title).evaluate("(box) => box.selectedOptions[0].textContent")


def test_how_a_file_is_read_is_guessed_and_shown(trade: Server, new_tab):
    tab = new_tab().sign_in(trade.admin).open("import/trade/orders")
    text = "Title;Amount;Ordered on\r\nMüller;1.234,5;31.12.2030\r\nÖ;7,25;01.02.2031\r\n"
    drop(tab.page, ".drop", "orders.csv", text.encode("cp1252"))
    tab.page.wait_for_selector(".tag.good:has-text('2 new')")
    assert shown(tab, "Charset") == "Latin-1 (Windows)"
    assert shown(tab, "Between cells") == "semicolon"
    assert shown(tab, "Dates").startswith("day first")
    assert shown(tab, "Fractions").startswith("a comma")
    assert tab.axe() == []
    reading(tab, "Between cells").select_option(",")
    tab.page.wait_for_selector(".maps label:has-text('Title;Amount')")
    reading(tab, "Between cells").select_option(";")
    tab.page.click("button:has-text('Import 2 records')")
    tab.page.wait_for_selector(".toast:has-text('2 records imported')")
    rows = {row["title"]: row for row in trade.admin.get(ORDERS).json()}
    assert (rows["Müller"]["amount"], rows["Müller"]["ordered_on"]) == (1234.5, "2030-12-31")
    assert (rows["Ö"]["amount"], rows["Ö"]["ordered_on"]) == (7.25, "2031-02-01")


def test_a_date_that_has_two_readings_is_asked(trade: Server, new_tab):
    tab = new_tab().sign_in(trade.admin).open("import/trade/orders")
    tab.page.fill("textarea", "title,ordered_on\na,03/04/2031\n")
    tab.page.click("text=Continue")
    tab.page.wait_for_selector("[role=alert]:has-text('day first or with the month first')")
    assert tab.page.is_disabled("button:has-text('records'):has-text('Import ')")
    reading(tab, "Dates").select_option("mdy")
    tab.page.click("button:has-text('Import 1 records')")
    tab.page.wait_for_selector(".toast:has-text('1 records imported')")
    assert trade.admin.get(ORDERS).json()[0]["ordered_on"] == "2031-03-04"


def test_two_linked_sheets_of_a_workbook_are_imported(trade: Server, new_tab):
    book = make_workbook(
        {
            "Orders": [
                ["Title", "Amount", "Ordered on", "Customer"],
                ["Robots", 1234.5, (47847, 1), "Acme"],
                ["Bolts", 0.1, (47848.75, 2), "Bolt & Co"],
            ],
            "Customers": [["Name", "Active"], ["Acme", True], ["Bolt & Co", False]],
            "Notes": [["Anything"], ["else"]],
        }
    )
    tab = new_tab().allow(400).sign_in(trade.admin).open("import/trade/orders")
    drop(tab.page, ".drop", "trade.xlsx", book)
    tab.page.wait_for_selector("text=Import what is linked to first")
    assert shown(tab, "Sheet") == "Orders"
    tab.page.click("[role=note] button:has-text('Customers')")
    tab.page.wait_for_selector("h1:has-text('Import customers')")
    tab.page.click("button:has-text('Import 2 records')")
    tab.page.wait_for_selector("h1:has-text('Import orders')")
    assert shown(tab, "Sheet") == "Orders"
    link = ".maps label:has(span:text-is('Customer')) select"
    tab.page.wait_for_selector(link)
    assert tab.page.eval_on_selector(link, "(box) => box.value") == "customer_id.name"
    tab.page.wait_for_selector(".tag.bad:has-text('1 with errors')")
    assert "a date" in tab.page.inner_text("section:has(h2:text-is('Errors'))")
    tab.page.check("text=Leave the rows with errors out")
    tab.page.click("button:has-text('Import 1 records')")
    tab.page.wait_for_selector(".toast:has-text('1 records imported')")
    customers = {row["name"]: row for row in trade.admin.get(f"{DATA}/customers").json()}
    assert (customers["Acme"]["active"], customers["Bolt & Co"]["active"]) == (True, False)
    [order] = trade.admin.get(ORDERS).json()
    assert (order["amount"], order["ordered_on"]) == (1234.5, "2030-12-30")
    assert order["customer_id"] == customers["Acme"]["id"]


def test_what_is_no_workbook_is_said(trade: Server, new_tab):
    tab = new_tab().sign_in(trade.admin).open("import/trade/orders")
    for content in (b"\xd0\xcf\x11\xe0....", b"PK\x03\x04 broken", make_workbook({"Empty": []})):
        drop(tab.page, ".drop", "x.xlsx", content)
        tab.page.wait_for_selector(".toast")
        tab.page.click(".toast button")
        until(tab.page, "!document.querySelector('.toast')")
    assert tab.page.is_visible(".drop")


def test_an_export_is_edited_and_imported_by_its_ids(trade: Server, new_tab):
    for title in ("a", "b"):
        trade.admin.post(ORDERS, json={"title": title, "amount": 1})
    text = trade.admin.get(ORDERS, params={"format": "csv"}).text.replace(",b,1", ",B,2")
    tab = new_tab().sign_in(trade.admin).open("import/trade/orders")
    drop(tab.page, ".drop", "orders.csv", text.encode())
    tab.page.wait_for_selector(".tag.info:has-text('1 changed')")
    tab.page.wait_for_selector(".tag:has-text('1 the same')")
    tab.page.click("button:has-text('Import 2 records')")
    tab.page.wait_for_selector(".toast:has-text('0 records imported, 1 changed')")
    rows = sorted((row["title"], row["amount"]) for row in trade.admin.get(ORDERS).json())
    assert rows == [("B", 2), ("a", 1)]


def test_a_link_for_spreadsheets_is_made_shown_and_revoked(trade: Server, new_tab):
    trade.admin.post(ORDERS, json={"title": "a", "amount": 1})
    tab = new_tab().sign_in(trade.admin).open("data/trade/orders")
    tab.page.wait_for_selector(".grid")
    tab.page.click("button[title='More']")
    tab.page.click("text=Link for spreadsheets")
    tab.page.click("dialog button:has-text('Make a link')")
    tab.page.wait_for_selector("dialog label:has-text('Google Sheets') input")
    assert tab.axe("dialog") == []
    formula = tab.page.input_value("dialog label:has-text('Google Sheets') input")
    url = formula.removeprefix('=IMPORTDATA("').removesuffix('")')
    rows = list(csv.reader(io.StringIO(httpx.get(url).text)))
    assert rows[1][1] == "a"
    tab.page.click("dialog button[aria-label^='Revoke the link']")
    tab.page.click("dialog button:has-text('Revoke')")
    tab.page.wait_for_selector(".toast:has-text('Link revoked')")
    assert httpx.get(url).status_code == 403
    tab.page.wait_for_selector("text=No links yet")
    tab.page.click("dialog button:has-text('Close')")


def test_a_saved_view_has_a_link(trade: Server, new_tab):
    trade.admin.post(ORDERS, json={"title": "a", "amount": 1})
    view = {"app": "trade", "entity": "orders", "name": "Mine", "state": {"q": "zzz"}}
    trade.admin.post("/api/v1/console/views", json=view)
    tab = new_tab().sign_in(trade.admin).open("data/trade/orders")
    tab.page.click("button[title='Saved views']")
    tab.page.click("button[aria-label='Link for spreadsheets: Mine']")
    tab.page.click("dialog button:has-text('Make a link')")
    tab.page.wait_for_selector("dialog td:has-text('Mine')")
    url = tab.page.input_value("dialog label:has-text('Address') input")
    assert len(httpx.get(url).text.splitlines()) == 1
    tab.page.click("dialog button:has-text('Close')")
