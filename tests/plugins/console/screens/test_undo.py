"""Undo and the page of a request, in a real browser."""

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import drop, needs_browser, until
from tests.plugins.console.conftest import DATA

pytestmark = needs_browser
PHONE = {"width": 360, "height": 700}


@pytest.fixture
def deal(crm: Server) -> dict:
    body = {"title": "Harbour crane", "value": 10, "stage": "Lead"}
    return crm.admin.post(f"{DATA}/deals", json=body).json()


def path_of(deal: dict) -> str:
    return f"{DATA}/deals/{deal['id']}"


def test_an_edit_is_taken_back_and_made_again(crm: Server, new_tab, deal):
    tab = new_tab().sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}")
    tab.page.fill("#f-value", "20")
    tab.page.keyboard.press("Control+Enter")
    tab.page.click(".toast:has-text('Saved') button:has-text('Undo')")
    tab.page.wait_for_selector(".toast:has-text('Undone: 1 record')")
    until(tab.page, "document.querySelector('#f-value').value === '10'")
    assert crm.admin.get(path_of(deal)).json()["value"] == 10
    tab.page.click(".toast button:has-text('Redo')")
    until(tab.page, "document.querySelector('#f-value').value === '20'")
    assert crm.admin.get(path_of(deal)).json()["value"] == 20


def test_a_deleted_record_comes_back(crm: Server, new_tab, deal):
    tab = new_tab().sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}")
    tab.page.click("button[aria-label=Delete]")
    tab.page.click("dialog button:has-text('Delete')")
    tab.page.click(".toast:has-text('deleted') button:has-text('Undo')")
    tab.page.wait_for_selector("main h1:has-text('Harbour crane')")
    assert crm.admin.get(path_of(deal)).json() == deal


def test_many_deleted_records_come_back(crm: Server, new_tab):
    tab = new_tab().sign_in(crm.admin).open("data/crm/deals", ready=".gs .gr")
    before = crm.admin.get(f"{DATA}/deals?sort=id").json()
    tab.page.click(".gh input[type=checkbox]")
    tab.page.click(".selection button:has-text('Delete')")
    tab.page.click("dialog button:has-text('Delete')")
    tab.page.wait_for_selector(".toast:has-text('records done')")
    assert crm.admin.get(f"{DATA}/deals").json() == []
    tab.page.click(".toast button:has-text('Undo')")
    tab.page.wait_for_selector(f".toast:has-text('Undone: {len(before)} records')")
    until(tab.page, f"document.querySelectorAll('.gs .gr').length === {len(before)}")
    assert crm.admin.get(f"{DATA}/deals?sort=id").json() == before


def test_an_import_is_taken_back_with_one_click(crm: Server, new_tab):
    before = crm.admin.get(f"{DATA}/companies?sort=id").json()
    tab = new_tab().sign_in(crm.admin).open("import/crm/companies")
    rows = "name\n" + "".join(f"Wrong {n}\n" for n in range(30))
    drop(tab.page, ".drop", "wrong.csv", rows.encode())
    tab.page.click("button.primary:has-text('Import 30')")
    tab.page.click(".toast:has-text('30 records imported') button:has-text('Undo')")
    tab.page.wait_for_selector(".toast:has-text('Undone: 30 records')")
    assert crm.admin.get(f"{DATA}/companies?sort=id").json() == before


def test_a_wrong_file_over_5000_records_is_taken_back_with_one_click(crm: Server, new_tab):
    field = {"name": "name", "type": "text"}
    contract = [{"entityName": "items", "fields": [field]}]
    crm.install({"appId": "stock", "name": "Stock", "dataContract": contract})
    crm.sql("insert into stock.items (name) select 'Item ' || n from generate_series(1, 5000) as n")
    before = crm.sql("select id::text, name from stock.items order by id")
    rows = "id,name\n" + "".join(f"{record_id},wrong\n" for record_id, _ in before)
    tab = new_tab().sign_in(crm.admin).open("import/stock/items")
    drop(tab.page, ".drop", "wrong.csv", rows.encode())
    tab.page.click("button.primary:has-text('Import 5000')")
    toast = tab.page.wait_for_selector(".toast:has-text('5000 changed')")
    assert crm.sql("select distinct name from stock.items") == [("wrong",)]
    toast.query_selector("button:has-text('Undo')").click()
    tab.page.wait_for_selector(".toast:has-text('Undone: 5000 records')")
    assert crm.sql("select id::text, name from stock.items order by id") == before


def test_the_screen_of_imports_offers_to_take_them_back(crm: Server, new_tab):
    before = crm.admin.get(f"{DATA}/companies?sort=id").json()
    tab = new_tab().sign_in(crm.admin).open("import/crm/companies")
    drop(tab.page, ".drop", "wrong.csv", b"name\nWrong one\nWrong two\n")
    tab.page.click("button.primary:has-text('Import 2')")
    tab.page.wait_for_selector(".toast:has-text('2 records imported')")
    tab.open("import/crm/companies")
    note = "[role=note]:has-text('Companies: 2 records imported')"
    tab.page.click(f"{note} button:has-text('Undo')")
    tab.page.wait_for_selector("dialog :text('Wrong one')")
    tab.page.click("dialog button:has-text('Undo 2 records')")
    tab.page.wait_for_selector(".toast:has-text('Undone: 2 records')")
    assert crm.admin.get(f"{DATA}/companies?sort=id").json() == before


def test_a_change_of_the_history_is_looked_at_and_taken_back(crm: Server, new_tab, deal):
    crm.admin.patch(path_of(deal), json={"value": 20})
    crm.admin.patch(path_of(deal), json={"notes": "called"})
    tab = new_tab().sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}", ready=".history li")
    tab.page.click(".history li:nth-child(2) button:has-text('Undo')")
    tab.page.wait_for_selector("dialog .undolist li:has-text('reverted')")
    assert "Value" in tab.page.inner_text("dialog .undolist li")
    assert crm.admin.get(path_of(deal)).json()["value"] == 20
    tab.page.click("dialog button:has-text('Undo 1 record')")
    tab.page.wait_for_selector(".toast:has-text('Undone')")
    assert crm.admin.get(path_of(deal)).json()["value"] == 10
    assert crm.admin.get(path_of(deal)).json()["notes"] == "called"


def test_a_record_goes_back_to_a_version(crm: Server, new_tab, deal):
    crm.admin.patch(path_of(deal), json={"value": 20})
    crm.admin.patch(path_of(deal), json={"value": 30, "notes": "called"})
    tab = new_tab().sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}", ready=".history li")
    tab.page.click(".history li:nth-child(3) button:has-text('Go back to this')")
    tab.page.click("dialog button:has-text('Undo 1 record')")
    tab.page.wait_for_selector(".toast:has-text('Undone')")
    record = crm.admin.get(path_of(deal)).json()
    assert (record["value"], record["notes"]) == (10, None)


def test_records_that_changed_since_are_shown(crm: Server, new_tab, deal):
    crm.admin.patch(path_of(deal), json={"value": 20})
    crm.admin.patch(path_of(deal), json={"value": 30})
    tab = new_tab().sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}", ready=".history li")
    tab.page.click(".history li:nth-child(2) button:has-text('Undo')")
    tab.page.wait_for_selector("dialog .notice:has-text('It has changed since.')")
    assert tab.page.locator("dialog button.primary").count() == 0
    tab.page.keyboard.press("Escape")
    until(tab.page, "!document.querySelector('dialog')")


def test_the_page_of_a_request(crm: Server, new_tab):
    rows = [{"name": f"Bulk {n}"} for n in range(3)]
    answer = crm.admin.post(f"{DATA}/companies/bulk", json=rows)
    request = answer.headers["x-request-id"]
    tab = new_tab().sign_in(crm.admin).open(f"requests/{request}", ready="main h2")
    tab.page.wait_for_selector("main li:has-text('3 × crm.companies')")
    assert crm.admin.username in tab.page.inner_text("dl.facts")
    assert tab.axe() == []
    tab.page.click("button:has-text('Undo')")
    tab.page.click("dialog button:has-text('Undo 3 records')")
    tab.page.wait_for_selector(".toast:has-text('Undone: 3 records')")
    names = [row["name"] for row in crm.admin.get(f"{DATA}/companies").json()]
    assert not any(name.startswith("Bulk") for name in names)


def test_a_request_that_is_unknown(crm: Server, new_tab):
    tab = new_tab().allow(404).sign_in(crm.admin).open("requests/unknown", ready=".empty")
    assert "Nothing is known of this request" in tab.page.inner_text(".empty")


def test_the_preview_fits_a_phone_and_the_dark(crm: Server, new_tab, deal):
    crm.admin.patch(path_of(deal), json={"value": 20})
    tab = new_tab(viewport=PHONE, color_scheme="dark", fresh=True).sign_in(crm.admin)
    tab.open(f"record/crm/deals/{deal['id']}", ready=".history li")
    tab.page.click(".history li:nth-child(1) button:has-text('Undo')")
    tab.page.wait_for_selector("dialog .undolist li")
    tab.page.screenshot(path="build/console/undo-phone.png")
    assert tab.overflow() == 0
    assert tab.axe("dialog") == []


def test_who_may_not_update_sees_no_undo(crm: Server, new_tab, deal):
    reader = crm.user(permissions={"crm": ["deals.read"]})
    tab = new_tab().sign_in(reader).open(f"record/crm/deals/{deal['id']}", ready=".history li")
    assert tab.page.locator(".history button:has-text('Undo')").count() == 0
