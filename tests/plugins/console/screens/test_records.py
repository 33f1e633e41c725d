"""The page of one record, and imports, in a real browser."""

import base64
import json

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import drop, needs_browser, until
from tests.plugins.console.conftest import DATA

pytestmark = needs_browser
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


@pytest.fixture
def deal(crm: Server) -> dict:
    body = {"title": "Harbour crane", "value": 10, "stage": "Lead"}
    return crm.admin.post(f"{DATA}/deals", json=body).json()


def test_a_form_saves_only_what_was_changed(crm: Server, new_tab, deal):
    tab = new_tab().sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}")
    sent: list[str] = []
    tab.on("request", lambda r: r.method == "PATCH" and sent.append(r.post_data))
    tab.page.fill("#f-notes", "called twice")
    tab.page.keyboard.press("Control+Enter")
    tab.page.wait_for_selector(".toast:has-text('Saved')")
    assert [json.loads(each) for each in sent] == [{"notes": "called twice"}]
    tab.page.wait_for_selector(".history ins:has-text('called twice')")
    assert crm.admin.username in tab.page.inner_text(".history li:first-child b")
    tab.page.click(".history li:first-child a:has-text('request')")
    tab.page.wait_for_selector("main h2:has-text('Changes')")
    assert "/requests/" in tab.page.url


def test_users_outside_of_a_narrowed_directory_are_shown_by_their_ids(crm: Server, new_tab):
    """Where `[plugins.auth] directory` is not "all"."""
    owner = {"name": "owner", "type": "entity_link", "references": {"entity": "core:users"}}
    fields = [{"name": "title", "type": "text"}, owner]
    entity = {"entityName": "visits", "fields": fields}
    crm.install({"appId": "visited", "name": "Visited", "dataContract": [entity]})
    visits = "/api/v1/apps/visited/collections/visits"
    visit = crm.admin.post(visits, json={"title": "Ada", "owner": crm.admin.id}).json()
    user = crm.user(permissions={"visited": ["visits.read", "visits.update"]})
    short = crm.admin.id[:8]
    tab = new_tab(fresh=True).sign_in(user)
    only_self = json.dumps([crm.http.get("/api/v1/auth/me", headers=user.headers).json()])
    tab.page.route(
        "**/api/v1/users", lambda r: r.fulfill(body=only_self, content_type="application/json")
    )
    tab.open(f"record/visited/visits/{visit['id']}", ready=".history li")
    assert tab.page.inner_text(".history li b") == f"User {short}"
    until(tab.page, f"document.querySelector('#f-owner').value === '{short}'")
    tab.page.fill("#f-title", "Ada Lovelace")
    tab.page.keyboard.press("Control+Enter")
    tab.page.wait_for_selector(".toast:has-text('Saved')")
    assert crm.admin.get(f"{visits}/{visit['id']}").json()["owner"] == crm.admin.id
    tab.open("data/visited/visits", ready=f".gs .gr:has-text('{short}')")
    tab.open("users", ready=f"td:has-text('{user.username}')")
    assert tab.page.locator("tbody tr").count() == 1


def test_a_mistake_is_shown_beside_its_field(crm: Server, new_tab, deal):
    tab = new_tab().allow(400).sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}")
    tab.page.fill("#f-value", "lots")
    tab.page.click("button:has-text('Save')")
    tab.page.wait_for_selector(".field:has(#f-value) .problem")
    assert tab.page.input_value("#f-value") == "lots"


def test_a_link_is_picked_by_search_on_the_server(crm: Server, new_tab, deal):
    tab = new_tab().sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}")
    tab.page.click("#f-company_id")
    tab.page.keyboard.type("bol")
    tab.page.click("[role=option]:has-text('Bolt & Co')")
    tab.page.click("button:has-text('Save')")
    tab.page.wait_for_selector(".toast:has-text('Saved')")
    until(tab.page, "document.querySelector('#f-company_id').value === 'Bolt & Co'")


def test_a_linked_record_is_made_in_place(crm: Server, new_tab, deal):
    tab = new_tab().sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}")
    tab.page.fill("#f-notes", "kept")
    tab.page.click("#f-company_id")
    tab.page.click(".picker button:has-text('New record')")
    tab.page.fill("dialog #n-name", "Dynamo Works")
    tab.page.click("dialog button:has-text('Create')")
    until(tab.page, "document.querySelector('#f-company_id').value === 'Dynamo Works'")
    assert tab.page.input_value("#f-notes") == "kept"


def test_what_links_here_is_counted_and_leads_there(crm: Server, new_tab):
    company = crm.admin.get(f"{DATA}/companies?name=Acme").json()[0]
    tab = new_tab().sign_in(crm.admin).open(f"record/crm/companies/{company['id']}")
    tab.page.wait_for_selector(".links li:has-text('Deals') .num:has-text('2')")
    tab.page.click(".links a:has-text('Deals')")
    tab.page.wait_for_selector(".gs .gr")
    assert tab.page.locator(".gs .gr").count() == 2


def test_two_edits_of_one_field_show_both_versions(crm: Server, new_tab, deal):
    tab = new_tab().allow(412).sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}")
    tab.page.fill("#f-value", "20")
    crm.admin.patch(f"{DATA}/deals/{deal['id']}", json={"value": 30, "notes": "other field"})
    tab.page.click("button:has-text('Save')")
    tab.page.wait_for_selector("dialog del:has-text('30')")
    assert tab.page.inner_text("dialog ins") == "20"
    tab.page.click("dialog button:has-text('Save mine')")
    tab.page.wait_for_selector(".toast:has-text('Saved')")
    now = crm.admin.get(f"{DATA}/deals/{deal['id']}").json()
    assert (now["value"], now["notes"]) == (20, "other field")


def test_the_other_version_can_be_kept(crm: Server, new_tab, deal):
    tab = new_tab().allow(412).sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}")
    tab.page.fill("#f-value", "20")
    crm.admin.patch(f"{DATA}/deals/{deal['id']}", json={"value": 30})
    tab.page.click("button:has-text('Save')")
    tab.page.click("dialog button:has-text('Keep the server')")
    until(tab.page, "document.querySelector('#f-value').value === '30'")


def test_edits_of_different_fields_do_not_disturb_each_other(crm: Server, new_tab, deal):
    tab = new_tab().allow(412).sign_in(crm.admin).open(f"record/crm/deals/{deal['id']}")
    tab.page.fill("#f-value", "20")
    crm.admin.patch(f"{DATA}/deals/{deal['id']}", json={"notes": "elsewhere"})
    tab.page.click("button:has-text('Save')")
    tab.page.wait_for_selector(".toast:has-text('Saved')")
    now = crm.admin.get(f"{DATA}/deals/{deal['id']}").json()
    assert (now["value"], now["notes"]) == (20, "elsewhere")


def test_a_record_is_created_and_deleted_by_keyboard(crm: Server, new_tab):
    page = new_tab().sign_in(crm.admin).open("record/crm/companies/new", ready="#n-name").page
    page.keyboard.type("Keyboard Ltd")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Keyboard Ltd')")
    page.focus("[aria-label=Delete]")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast:has-text('deleted')")
    assert crm.admin.get(f"{DATA}/companies?name=Keyboard Ltd").json() == []


def test_a_reader_sees_the_record_and_no_form(crm: Server, new_tab, deal):
    reader = crm.user(permissions={"crm": ["deals.read"]})
    tab = new_tab().sign_in(reader).open(f"record/crm/deals/{deal['id']}")
    assert tab.page.query_selector("form button:has-text('Save')") is None
    assert "Harbour crane" in tab.page.inner_text("dl.facts")
    tab.allow(404).open("record/crm/deals/00000000-0000-0000-0000-000000000000")
    assert "There is no such record" in tab.page.inner_text("main")


def test_a_record_of_500_fields_and_a_megabyte_of_text(crm: Server, new_tab):
    fields = [{"name": f"field_{n}", "type": "text"} for n in range(490)]
    crm.install({"appId": "wide", "name": "Wide", "dataContract": [
        {"entityName": "rows", "fields": fields}]})  # fmt: skip
    body = {"field_0": "x" * 1_000_000, "field_489": "<b>last</b>"}
    row = crm.admin.post("/api/v1/apps/wide/collections/rows", json=body).json()
    tab = new_tab().sign_in(crm.admin).open("data/wide/rows", ready=".gs .gr")
    tab.page.set_default_timeout(30_000)
    tab.open(f"record/wide/rows/{row['id']}")
    tab.page.fill("[aria-label='Find a field']", "field 489")
    until(tab.page, "document.querySelectorAll('.recordform .field').length === 1", 30)
    assert tab.page.input_value("#f-field_489") == "<b>last</b>"
    tab.page.fill("#f-field_489", "changed")
    tab.page.click("button:has-text('Save')")
    tab.page.wait_for_selector(".toast:has-text('Saved')")


CSV = """Title;value;stage;When
First;"1 000";Lead;2031-01-01
Second;2;Qualified;2031-02-30x
"Third; quoted";3.5;Closed Won;
"""


def test_an_import_shows_the_result_before_it_writes(crm: Server, new_tab):
    tab = new_tab().sign_in(crm.admin).open("import/crm/deals")
    drop(tab.page, ".drop", "deals.csv", CSV.encode())
    tab.page.wait_for_selector(".maps")
    tab.page.select_option(".maps label:has-text('When') select", "close_date")
    tab.page.wait_for_selector("text=2 with errors")
    errors = tab.page.inner_text("section:has(h2:text-is('Errors'))")
    assert 'a number is wanted, not "1 000"' in errors
    assert "close_date" in errors
    first = "[aria-label='First rows as they would be'] tbody tr"
    as_sent = ["1", "First", "1 000", "Lead", "2031-01-01"]
    assert tab.page.locator(f"{first}:nth-child(1) td").all_inner_texts() == as_sent
    assert tab.page.inner_text(f"{first}:nth-child(3) td:nth-child(3)") == "3.5"
    assert tab.page.is_disabled("button:has-text('Import 1 records')")
    with tab.page.expect_download() as download:
        tab.page.click("text=Download the rejected rows")
    rejected = download.value.path().read_text()
    assert rejected.splitlines()[1].startswith("First,")
    before = len(crm.admin.get(f"{DATA}/deals").json())
    tab.page.check("text=Leave the rows with errors out")
    tab.page.click("button:has-text('Import 1 records')")
    tab.page.wait_for_selector(".toast:has-text('1 records imported')")
    rows = crm.admin.get(f"{DATA}/deals").json()
    assert len(rows) == before + 1
    assert rows[0]["title"] == "Third; quoted"


def test_an_import_changes_records_of_the_same_key(crm: Server, new_tab):
    fields = [
        {"name": "code", "type": "text"}, {"name": "live", "type": "boolean"},
        {"name": "kind", "type": "text", "defaultValue": "spare"},
        {"name": "label", "type": "text", "generated": {"$concat": ["code", "!"]}},
    ]  # fmt: skip
    crm.install({"appId": "keyed", "name": "Keyed", "dataContract": [
        {"entityName": "parts", "fields": fields,
         "indexes": [{"columns": ["code"], "unique": True}]}]})  # fmt: skip
    path = "/api/v1/apps/keyed/collections/parts"
    crm.admin.post(path, json={"code": "A", "live": False})
    tab = new_tab().sign_in(crm.admin).open("import/keyed/parts")
    tab.page.fill("textarea", "Code,Live\nA,yes\nB,no\n")
    tab.page.click("text=Continue")
    tab.page.wait_for_selector(".tag.bad:has-text('1 with errors')")
    tab.page.select_option("label:has-text('Rows whose key') select", "code")
    tab.page.wait_for_selector(".tag.info:has-text('1 changed')")
    shown = tab.page.locator("[aria-label^='First rows'] tr").all_inner_texts()
    assert [row.split() for row in shown] == [
        ["Row", "Code", "Live", "Kind", "Label"], ["1", "A", "spare", "A!"],
        ["2", "B", "no", "spare", "B!"],
    ]  # fmt: skip
    tab.page.click("button:has-text('Import 2 records')")
    tab.page.wait_for_selector(".toast:has-text('1 records imported, 1 changed')")
    assert {row["code"]: row["live"] for row in crm.admin.get(path).json()} == {
        "A": True,
        "B": False,
    }


def test_files_are_chosen_dropped_previewed_and_removed(crm: Server, new_tab, tmp_path):
    fields = [
        {"name": "title", "type": "text"},
        {"name": "photo", "type": "file", "types": ["image/*"]},
        {"name": "scans", "type": "[file]", "maxSize": "1MB"},
    ]
    entity = {"entityName": "people", "fields": fields}
    crm.install({"appId": "album", "name": "Album", "dataContract": [entity]})
    people = "/api/v1/apps/album/collections/people"
    person = crm.admin.post(people, json={"title": "Ada"}).json()
    photo = tmp_path / "ada.png"
    photo.write_bytes(PNG)
    tab = new_tab().allow(400).sign_in(crm.admin).open(f"record/album/people/{person['id']}")
    tab.page.set_input_files("#f-photo", photo)
    tab.page.wait_for_selector(".field:has(#f-photo) img.file-preview")
    tab.page.set_input_files("#f-scans", [photo, photo])
    until(tab.page, "document.querySelectorAll('.field:has(#f-scans) .file').length === 2")
    tab.page.click("button:has-text('Save')")
    tab.page.wait_for_selector(".toast:has-text('Saved')")
    saved = crm.admin.get(f"{people}/{person['id']}").json()
    assert saved["photo"]["name"] == "ada.png"
    assert len(saved["scans"]) == 2

    tab.page.click(".field:has(#f-scans) button[aria-label='Remove ada.png'] >> nth=0")
    tab.page.click("button:has-text('Save')")
    until(tab.page, "document.querySelectorAll('.field:has(#f-scans) .file').length === 1")
    tab.page.wait_for_selector(".savebar:not(.dirty)")
    tab.open("data/album/people", ready=".gs .file-name:has-text('ada.png')")
    with tab.page.expect_download() as download:
        tab.page.click(".gs .file-name >> nth=0")
    assert download.value.suggested_filename == "ada.png"
