"""Apps, users, roles and explain, in a real browser."""

import json
from typing import Any

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import needs_browser, until
from tests.plugins.console.conftest import DATA
from tests.waiting import eventually

pytestmark = needs_browser


def manifest(*fields: dict) -> dict:
    return {
        "appId": "stock",
        "name": "Stock",
        "dataContract": [{"entityName": "items", "fields": list(fields)}],
    }


@pytest.fixture(scope="module")
def stock(crm: Server) -> Server:
    name, size = {"name": "name", "type": "text"}, {"name": "size", "type": "number"}
    crm.install(manifest(name, size))
    rows = [{"name": f"n{n}", "size": n} for n in range(3)]
    crm.admin.post("/api/v1/apps/stock/collections/items/bulk", json=rows)
    return crm


def test_the_plan_is_seen_before_anything_is_installed(stock: Server, new_tab):
    tab = new_tab().sign_in(stock.admin).open("apps/stock/manifest", ready=".editor")
    page = tab.page
    assert page.query_selector("button:has-text('Install')") is None
    for key in ("dataContract", "crons", "consolePages"):  # the last two are of plugins
        page.wait_for_selector(f"dt:has-text('{key}')")
    name = {"name": "name", "type": "text", "required": True}
    changed = manifest(name, {"name": "colour", "type": "text"})
    page.fill(".editor", json.dumps(changed))
    page.click("text=Show the plan")
    page.wait_for_selector("[aria-label=Plan]")
    plan = page.inner_text("[aria-label=Plan]")
    assert "new column" in plan
    assert "retired" in plan
    assert "3 rows" in plan
    assert "writers wait" in plan
    assert "colour" not in stock.admin.get("/api/v1/apps/stock").text
    page.click("button:has-text('Install')")
    page.wait_for_selector(".toast:has-text(\"app 'stock' installed\")")
    page.wait_for_selector(".gs .gr")  # it leads to the first table
    assert "colour" in stock.admin.get("/api/v1/apps/stock").text
    tab.open("apps/stock/history", ready=".lines")
    assert page.inner_text(".lines ins").strip().startswith("+")
    assert "colour" in " ".join(page.locator(".lines ins").all_inner_texts())
    assert "size" in " ".join(page.locator(".lines del").all_inner_texts())
    page.click("aside li:last-child a")
    page.wait_for_selector("h2:has-text('The first install')")
    page.click("text=Open it in the editor")
    page.wait_for_selector(".editor")
    assert "size" in page.input_value(".editor")
    tab.open("apps/stock/retired")
    page.wait_for_selector("td:has-text('size')")
    page.click("text=Drop…")
    page.fill("dialog input", "items.size")
    page.click("dialog button.danger")
    page.wait_for_selector("text=Nothing is retired")


def test_mistakes_of_a_manifest_are_listed_at_once(stock: Server, new_tab):
    tab = new_tab().allow(400).sign_in(stock.admin).open("apps/new", ready=".editor")
    page = tab.page
    page.fill(".editor", '{"appId": "x",}')
    page.click("text=Show the plan")
    page.wait_for_selector("[role=alert]:has-text('This is not JSON')")
    wrong = {"appId": "x", "name": "X", "dataContract": [
        {"entityName": "a", "fields": [
            {"name": "f", "type": "txt"}, {"name": "F", "type": "text"}]}]}  # fmt: skip
    page.fill(".editor", json.dumps(wrong))
    page.click("text=Show the plan")
    said = page.wait_for_selector("[role=alert]").inner_text()
    assert "dataContract[0].fields[0]" in said
    assert "dataContract[0].fields[1]" in said


def test_an_app_is_uninstalled_only_by_its_typed_name(stock: Server, new_tab):
    stock.install({"appId": "gone", "name": "Gone", "dataContract": []})
    page = new_tab().sign_in(stock.admin).open("apps").page
    page.click("[aria-label='Uninstall Gone']")
    assert page.is_disabled("dialog button.danger")
    page.fill("dialog input", "gone")
    page.click("dialog button.danger")
    page.wait_for_selector(".toast:has-text('uninstalled')")
    assert "gone" not in [app["id"] for app in stock.admin.get("/api/v1/apps").json()]


def test_the_diagram_shows_every_table(crm: Server, new_tab):
    page = new_tab().sign_in(crm.admin).open("apps/crm").page
    page.wait_for_selector(".diagram .box")
    assert page.locator(".diagram .box").count() == 5
    assert page.locator(".diagram .wire").count() >= 5


def test_a_user_is_made_given_a_role_and_disabled(crm: Server, new_tab):
    tab = new_tab().sign_in(crm.admin).open("users")
    page = tab.page
    page.click("text=New user")
    page.fill("dialog [name=username]", "nina")
    page.fill("dialog [name=display_name]", "Nina N.")
    page.fill("dialog [name=password]", "Str0ng-Passw0rd")
    page.click("dialog button:has-text('Create')")
    page.wait_for_selector("td a:has-text('Nina N.')")
    page.fill("[data-filter]", "nina")
    until(page, "location.hash.endsWith('#/users?q=nina')")
    until(page, "document.querySelectorAll('tbody tr').length === 1")
    page.reload()
    page.click("td a:has-text('Nina N.')")
    page.select_option("[aria-label='Give a role on CRM']", "admin")
    page.wait_for_selector(".card:has-text('CRM') .tag:has-text('admin')")
    page.click(".card:has-text('CRM') summary:has-text('effective')")
    page.wait_for_selector(".card:has-text('CRM') li:has-text('deals.update')")
    page.click(".card:has-text('CRM') [aria-label='Take the role admin']")
    page.wait_for_selector(".toast:has-text('revoked')")
    page.click("button:has-text('Disable')")
    page.click("dialog button.danger")
    page.wait_for_selector("text=This account is disabled")
    http = crm.http.post(
        "/api/v1/auth/login", json={"username": "nina", "password": "Str0ng-Passw0rd"}
    )
    assert http.status_code == 401


def test_a_role_is_drawn_as_a_matrix(crm: Server, new_tab):
    tab = new_tab().sign_in(crm.admin).open("roles/crm")
    page = tab.page
    page.click("text=New role")
    page.fill("dialog input", "closer")
    page.click("dialog button:has-text('Create')")
    page.wait_for_selector("[aria-label='deals read']")
    page.select_option("[aria-label='deals read']", "all")
    page.select_option("[aria-label='deals update']", "own")
    page.click("button:has-text('Save')")
    page.wait_for_selector(".toast:has-text('updated')")
    roles = crm.admin.get("/api/v1/apps/crm/roles").json()
    held = next(role for role in roles if role["name"] == "closer")["permissions"]
    assert set(held) == {"deals.read", "deals.update.own"}
    user = crm.user("rolf")
    page.reload()
    page.select_option("[aria-label='Give this role to']", user.id)
    page.wait_for_selector("aside a:has-text('rolf')")
    assert user.get("/api/v1/apps/crm/permissions").json()["roles"] == ["closer"]


def test_rights_on_fields_are_in_the_matrix(crm: Server, new_tab):
    field = {"name": "salary", "type": "number", "access": {"read": ["hr"], "write": ["hr"]}}
    crm.install({"appId": "staff", "name": "Staff", "dataContract": [
        {"entityName": "people", "fields": [field]}]})  # fmt: skip
    for role in ("hr", "lead"):
        crm.admin.post(
            "/api/v1/apps/staff/roles", json={"name": role, "permissions": ["people.read"]}
        )
    page = new_tab().sign_in(crm.admin).open("roles/staff?role=hr", ready=".fieldrow").page
    assert page.is_checked("[aria-label='people.salary.read']")
    assert page.is_disabled("[aria-label='people.salary.read']")
    page.click(".tabs a:has-text('lead')")
    page.check("[aria-label='people.salary.read']:not([disabled])")
    page.click("button:has-text('Save')")
    page.wait_for_selector(".toast:has-text('updated')")
    roles = {r["name"]: r["permissions"] for r in crm.admin.get("/api/v1/apps/staff/roles").json()}
    assert set(roles["lead"]) == {"people.read", "people.salary.read"}


def test_a_user_without_rights_cannot_change_a_role(crm: Server, new_tab):
    user = crm.user(permissions={"crm": ["deals.read"]})
    page = new_tab().sign_in(user).open("roles/crm").page
    page.wait_for_selector(".matrix")
    assert page.query_selector("button:has-text('Save')") is None
    assert page.query_selector("text=New role") is None


def test_explain_names_the_role_and_answers_what_if(crm: Server, new_tab):
    user = crm.user("uma", permissions={"crm": ["deals.read"]})
    address = f"explain?app=crm&user={user.id}&action=deals.read"
    tab = new_tab().sign_in(crm.admin).open(address)
    page = tab.page
    page.wait_for_selector(".answer.allowed")
    assert "deals.read" in page.inner_text(".answer")
    page.select_option("label:has-text('Action') select", "deals.delete")
    page.wait_for_selector(".answer.denied")
    assert "no role of uma" in page.inner_text(".answer")
    page.select_option("label:has-text('the role') select", "admin")
    page.wait_for_selector(".answer.allowed")
    assert "roles=admin" in page.url
    assert user.get("/api/v1/apps/crm/permissions").json()["permissions"] == ["deals.read"]
    roles = "/api/v1/apps/crm/roles"
    deal = crm.admin.get(f"{DATA}/deals?limit=1").json()[0]
    crm.admin.post(roles, json={"name": "whole", "permissions": ["deals.*"]})
    crm.admin.post(f"{roles}/assign", json={"userId": user.id, "role": "whole"})
    tab.open("health")
    tab.open(f"explain?app=crm&user={user.id}&action=deals.update")
    page.fill("[placeholder=id]", deal["id"])
    page.keyboard.press("Tab")
    page.wait_for_url(f"**record={deal['id']}**")
    page.wait_for_selector(".answer.allowed")
    text = page.inner_text(".answer tbody")
    assert all(part in text for part in ("whole", "deals.*", "rbac")), text


def test_what_is_typed_stays_when_an_answer_arrives(crm: Server, new_tab):
    tab = new_tab().sign_in(crm.admin)
    page, held = tab.page, list[Any]()
    page.route("**/permissions/explain", lambda route: held.append(route))
    tab.open("explain?app=crm&action=deals.read")
    page.fill("[placeholder=id]", "typed")
    eventually(lambda: page.wait_for_timeout(20) or held)
    held.pop().continue_()
    page.wait_for_selector(".answer")
    assert page.input_value("[placeholder=id]") == "typed"
    page.keyboard.press("Tab")
    page.wait_for_url("**record=typed**")


def test_sessions_are_listed_and_ended(crm: Server, new_tab):
    user = crm.user()
    crm.login(user.username)
    page = new_tab().sign_in(user).open("account").page
    page.wait_for_selector("text=this one")
    page.click("text=End all others")
    page.wait_for_selector(".toast:has-text('ended')")
    assert user.get("/api/v1/auth/me").status_code == 401


def test_a_password_is_changed(crm: Server, new_tab):
    user = crm.user()
    tab = new_tab().allow(400).sign_in(user).open("account")
    tab.page.fill("label:has-text('Current password') input", "Wr0ng-Password")
    tab.page.fill("label:has-text('New password') input", "N3w-Password!x")
    tab.page.click("button:has-text('Change')")
    tab.page.wait_for_selector("[role=alert]:has-text('current password')")
