"""API keys and service accounts, in a real browser."""

import httpx

from kernel.testing import Server
from tests.plugins.console.browser import needs_browser
from tests.waiting import eventually

pytestmark = needs_browser


def status_of(server: Server, key: str) -> int:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.get(f"{server.url}/api/v1/auth/me", headers=headers).status_code


def test_a_key_is_made_replaced_and_revoked(crm: Server, new_tab):
    user = crm.user()
    page = new_tab().sign_in(user).open("account").page
    page.wait_for_selector("text=No API keys")
    page.click("button:has-text('New key')")
    page.fill("label:has-text('Name') input", "sheets")
    page.click(".actions button:has-text('Create')")
    page.wait_for_selector("text=it is not shown again")
    first = page.input_value("[aria-label='API key']")
    assert status_of(crm, first) == 200
    page.click("button:has-text('Done')")
    page.wait_for_selector("td:has-text('sheets')")
    page.click("button:has-text('Replace')")
    page.click(".actions button:has-text('Replace')")
    page.wait_for_selector("text=it is not shown again")
    second = page.input_value("[aria-label='API key']")
    page.click("button:has-text('Done')")
    assert (status_of(crm, first), status_of(crm, second)) == (401, 200)
    page.click("button:has-text('Revoke')")
    page.click("dialog button:has-text('Revoke')")
    page.wait_for_selector(".toast:has-text('revoked')")
    page.wait_for_selector("text=No API keys")
    assert status_of(crm, second) == 401


def test_a_refused_limit_is_explained(crm: Server, new_tab):
    page = new_tab().allow(400).sign_in(crm.user()).open("account").page
    page.click("button:has-text('New key')")
    page.fill("label:has-text('Name') input", "wide")
    page.fill("label:has-text('Apps') input", "nothing")
    page.click(".actions button:has-text('Create')")
    page.wait_for_selector("text=must name what the owner of the key has now")


def test_a_service_account_gets_a_key(crm: Server, new_tab):
    page = new_tab().sign_in(crm.admin).open("users").page
    page.click("button:has-text('New user')")
    page.fill("label:has-text('Username') input", "importer")
    page.check("label:has-text('A service account') input")
    page.click(".actions button:has-text('Create')")
    page.wait_for_selector(".toast:has-text('is a service account')")
    page.click("table a:has-text('importer')")
    page.click("button:has-text('New key')")
    page.fill("label:has-text('Name') input", "nightly")
    page.click(".actions button:has-text('Create')")
    page.wait_for_selector("text=it is not shown again")
    key = page.input_value("[aria-label='API key']")
    eventually(lambda: status_of(crm, key) == 200)
