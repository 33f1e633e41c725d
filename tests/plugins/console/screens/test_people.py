"""Account, people, invites and the state of the shop, in a real browser."""

from __future__ import annotations

import io
import itertools
import re
from typing import Any

import httpx
import pyotp
import pytest
from PIL import Image

from kernel.testing import Server
from kernel.testing.servers import PASSWORD
from tests.plugins.console.browser import needs_browser, until
from tests.plugins.console.screens.test_builder import click

pytestmark = needs_browser
_count = itertools.count(1)
PHONE: Any = {"width": 360, "height": 740}


def looked_at(tab, where: str = "html") -> None:
    """No serious finding, in both colour schemes and on a phone; nothing is wider than it."""
    for size in ({"width": 1280, "height": 800}, PHONE):
        tab.page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            tab.page.emulate_media(color_scheme=scheme)
            assert tab.axe(where) == []
        assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.page.set_viewport_size({"width": 1280, "height": 800})


def scan(page: Any, selector: str) -> str:
    """Read a QR code from the screen, as a phone does."""
    import zxingcpp

    picture = page.wait_for_selector(selector).screenshot()
    with Image.open(io.BytesIO(picture)) as image:
        (code,) = zxingcpp.read_barcodes(image.convert("L"))
    return code.text


def test_a_second_factor_is_set_up_renewed_and_removed(crm: Server, new_tab):
    user = crm.user(f"factor{next(_count)}")
    tab = new_tab().allow(400).sign_in(user).open("account")
    page = tab.page
    click(page, "button:has-text('Set up')")
    secret = page.wait_for_selector("dialog .secret code").inner_text().replace(" ", "")
    page.fill("dialog input[name=code]", "000000")
    click(page, "dialog button:has-text('Turn on')")
    page.wait_for_selector("dialog [role=alert]:has-text('the code is wrong')")
    looked_at(tab, "dialog")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        uri = page.get_attribute("dialog a[href^=otpauth]", "href")
        assert f"secret={secret}" in uri
        assert scan(page, "dialog svg.qr") == uri
    page.fill("dialog input[name=code]", pyotp.TOTP(secret).now())
    click(page, "dialog button:has-text('Turn on')")
    codes = page.wait_for_selector("dialog pre").inner_text().split()
    assert len(codes) == 10
    click(page, "dialog button:has-text('Done')")
    page.wait_for_selector("text=10 recovery codes are left")

    click(page, "button:has-text('New codes')")
    page.fill("dialog input[name=code]", codes[0])
    click(page, "dialog button:has-text('Renew')")
    assert codes[0] not in page.wait_for_selector("dialog pre").inner_text()
    click(page, "dialog button:has-text('Done')")
    page.wait_for_selector("dialog", state="detached")

    click(page, "button.quiet:has-text('Remove')")
    page.fill("dialog input[type=password]", PASSWORD)
    click(page, "dialog button:has-text('Remove')")
    page.wait_for_selector("button:has-text('Set up')")


def test_a_user_changes_the_own_profile(crm: Server, new_tab):
    user = crm.user(f"profile{next(_count)}")
    tab = new_tab().allow(400).sign_in(user).open("account")
    page = tab.page
    page.fill("label:has-text('Display name') input", "Grace H.")
    click(page, "button:has-text('Save')")
    page.wait_for_selector("h1:has-text('Grace H.')")
    page.fill("label:has-text('Email') input", "grace@example.org")
    page.fill("label:has-text('to change the email') input", "Wr0ngPass!xyz")
    click(page, "button:has-text('Save')")
    page.wait_for_selector("form:has-text('Profile') [role=alert]:has-text('password is wrong')")
    page.fill("label:has-text('to change the email') input", PASSWORD)
    click(page, "button:has-text('Save')")
    page.wait_for_selector(".dim:has-text('grace@example.org')")
    looked_at(tab, "main")


def test_an_invite_makes_an_account_once(crm: Server, new_tab):
    tab = new_tab().sign_in(crm.admin).open("users")
    page = tab.page
    click(page, "button:has-text('Invite')")
    page.select_option("dialog select[name=app]", "crm")
    page.select_option("dialog select[name=role]", "admin")
    looked_at(tab, "dialog")
    click(page, "dialog button:has-text('Make the link')")
    link = page.wait_for_selector("[aria-label='Link of the invite']").input_value()
    click(page, "dialog button:has-text('Done')")
    page.wait_for_selector("tr:has-text('admin of CRM') .tag:has-text('open')")
    looked_at(tab, "main")

    guest = new_tab(fresh=True).allow(403)
    guest.page.goto(link)
    guest.page.wait_for_selector("text=admin invites you as admin of crm")
    looked_at(guest)
    name = f"guest{next(_count)}"
    guest.page.fill("[name=username]", name)
    guest.page.fill("[name=password]", PASSWORD)
    click(guest.page, "button:has-text('Create account')")
    guest.page.wait_for_selector("h1:has-text('Hello')")
    assert "invite" not in guest.page.url
    rights = crm.login(name).get("/api/v1/apps/crm/permissions").json()
    assert rights["roles"] == ["admin"]

    again = new_tab(fresh=True).allow(403)
    again.page.goto(link)
    again.page.wait_for_selector("[role=alert]:has-text('the invite is not valid')")
    click(again.page, "button:has-text('Sign in')")
    again.page.wait_for_selector("[name=password]")
    assert again.page.locator("h1:has-text('Welcome')").count() == 0

    page.reload()
    page.wait_for_selector(f"tr:has-text('{name}') .tag:has-text('used')")
    row = page.wait_for_selector(f"tr:has(a:has-text('{name}'))").inner_text()
    assert "crm: admin" in row
    assert re.search(r"now|second|minute", row)


def test_an_invite_is_withdrawn(crm: Server, new_tab):
    made = crm.admin.post("/api/v1/users/invites", json={"email": "w@example.org"}).json()
    page = new_tab().sign_in(crm.admin).open("users").page
    click(page, "tr:has-text('w@example.org') button:has-text('Withdraw')")
    page.wait_for_selector("tr:has-text('w@example.org')", state="detached")
    answer = crm.http.post("/api/v1/auth/invites/show", json={"token": made["token"]})
    assert answer.status_code == 403


def test_an_admin_resets_a_factor_and_ends_sessions(crm: Server, new_tab):
    user = crm.user(f"lost{next(_count)}")
    secret = user.post("/api/v1/auth/totp").json()["secret"]
    code = {"code": pyotp.TOTP(secret).now()}
    user.post("/api/v1/auth/totp/confirm", json=code).raise_for_status()
    page = new_tab().sign_in(crm.admin).open(f"users/{user.id}").page
    click(page, "button:has-text('Reset second factor')")
    click(page, "dialog button.danger")
    page.wait_for_selector(".toast:has-text('Second factor removed')")
    click(page, "button:has-text('End sessions')")
    click(page, "dialog button.danger")
    page.wait_for_selector(".toast:has-text('1 session ended')")
    assert crm.login(user.username).get("/api/v1/auth/totp").json()["enabled"] is False


def test_sessions_are_ended_on_a_phone(crm: Server, new_tab):
    user = crm.user(f"sessions{next(_count)}")
    crm.login(user.username)
    program = {"user-agent": "AQuiteLongNameOfAProgramWithoutAnySpaces/123.456.789-beta"}
    account = {"username": user.username, "password": PASSWORD}
    httpx.post(f"{crm.url}/api/v1/auth/login", json=account, headers=program).raise_for_status()
    tab = new_tab(viewport=PHONE, has_touch=True).sign_in(user).open("account", ready=".sessions")
    page = tab.page
    box = page.locator(".sessions").bounding_box()
    assert box["x"] + box["width"] <= PHONE["width"]
    sessions = page.locator(".sessions tbody tr").count()
    for button in page.locator(".sessions button").all():
        place = button.bounding_box()
        assert place["x"] + place["width"] <= PHONE["width"]
    row = page.locator(".sessions tr:has-text('AQuiteLong') button")
    place = row.bounding_box()
    page.touchscreen.tap(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.wait_for_selector(".toast:has-text('Session ended')")
    until(page, f"document.querySelectorAll('.sessions tbody tr').length === {sessions - 1}")


def test_the_start_shows_what_needs_a_look(crm: Server, new_tab):
    tab = new_tab().sign_in(crm.admin).open("")
    page = tab.page
    page.wait_for_selector("h2:has-text('Requests of the last hour')")
    page.wait_for_selector("h2:has-text('Backups')")
    page.wait_for_selector("h2:has-text('Latest changes')")
    assert page.locator(".shop .bars g").count() == 60
    assert page.locator(".shop tbody tr").count() >= 3
    looked_at(tab, "main")
    seller = crm.user(f"seller{next(_count)}", permissions={"crm": ["deals.read"]})
    plain = new_tab().sign_in(seller).open("").page
    plain.wait_for_selector("h1:has-text('Hello')")
    assert plain.locator(".shop").count() == 0


def test_an_app_has_no_other_tabs_than_its_own(crm: Server, new_tab):
    page = new_tab().sign_in(crm.admin).open("apps/crm/anything").page
    page.wait_for_selector("text=There is no such page")
    click(page, ".tabs a:has-text('Tables')")
    page.wait_for_selector(".diagram .box")


@pytest.mark.slow
def test_a_backup_is_made_on_the_start(crm: Server, new_tab):
    page = new_tab().sign_in(crm.admin).open("").page
    page.set_default_timeout(60_000)
    click(page, "button:has-text('Make one')")
    page.wait_for_selector("[role=status]:has-text('Making a backup')")
    page.wait_for_selector("code:has-text('caudex-')")
    with page.expect_download() as download:
        click(page, ".shop button:has-text('Download')")
    assert download.value.suggested_filename.endswith(".tar")
    until(page, "!document.querySelector('.notice.bad')")
