"""Every screen: no serious finding of axe, light and dark, and usable at 360 pixels."""

from typing import Any

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import OpenTab, Tab, needs_browser
from tests.plugins.console.conftest import DATA

pytestmark = needs_browser

CONTRAST = "color-contrast"
SCREENS = {
    "home": "",
    "start": "start",
    "table": "data/crm/deals",
    "nothing-matches": "data/crm/deals?q=nothing",
    "grouped": "data/crm/deals?group=stage&sort=value,title&order=desc,asc&figures=value.sum",
    "beside": "data/crm/deals?open={deal}",
    "board": "data/crm/deals?layout=board&by=stage",
    "calendar": "data/crm/deals?layout=calendar&by=close_date&at=2031-03",
    "chart": "data/crm/deals?layout=chart&by=stage",
    "line": "data/crm/deals?layout=chart&by=close_date&chart=line&figure=value.sum",
    "gone": "data/crm/deals?layout=board&by=nothing",
    "dashboard": "dashboards/crm/{dashboard}",
    "no-dashboard": "dashboards/crm/nothing",
    "empty": "data/crm/contact_emails",
    "record": "record/crm/deals/{deal}",
    "new": "record/crm/deals/new",
    "import": "import/crm/deals",
    "apps": "apps",
    "diagram": "apps/crm",
    "manifest": "apps/crm/manifest",
    "retired": "apps/crm/retired",
    "app-history": "apps/crm/history",
    "new-app": "apps/new",
    "users": "users",
    "user": "users/{user}",
    "roles": "roles/crm",
    "explain": "explain?app=crm",
    "account": "account",
    "jobs": "jobs/crm",
    "workers": "workers/crm",
    "logs": "logs/crm",
    "audit": "audit?app=crm&entity=deals",
    "secrets": "secrets/crm",
    "plugins": "plugins",
    "plugin": "plugins/notifications",
    "health": "health",
    "missing": "nowhere",
}
TILES: list[dict[str, Any]] = [
    {"kind": "number", "entity": "deals", "figure": {"$sum": "value"}, "since": 30},
    {"kind": "bar", "entity": "deals", "by": "stage", "width": 2},
    {"kind": "line", "entity": "deals", "by": "close_date"},
    {"kind": "list", "entity": "deals", "columns": ["value", "stage"], "width": 4},
]


@pytest.fixture(scope="module")
def addresses(crm: Server) -> dict[str, str]:
    deal = crm.admin.get(f"{DATA}/deals?limit=1").json()[0]["id"]
    crm.admin.post("/api/v1/apps/crm/roles", json={"name": "sales", "permissions": ["deals.read"]})
    crm.admin.post("/api/v1/apps/crm/jobs", json={"payload": {"type": "report"}})
    crm.admin.post("/api/v1/apps/crm/secrets", json={"key": "API_KEY", "value": "x"})
    dashboard = {"app": "crm", "name": "Sales", "state": {"tiles": TILES}}
    places = {
        "deal": deal,
        "user": crm.admin.id,
        "dashboard": crm.admin.post("/api/v1/console/views", json=dashboard).json()["id"],
    }
    return {name: address.format_map(places) for name, address in SCREENS.items()}


def settle(tab: Tab) -> None:
    tab.page.wait_for_timeout(150)
    tab.page.wait_for_selector(".loading", state="detached")


def look(tab: Tab, frame: bool) -> list[str]:
    """Return what is wrong with a screen: in light and dark colours, and 360 pixels wide.

    Contrast takes most of the time: it is checked of the frame only where this is wanted.
    """
    page, where = tab.page, "html" if frame else "#main"
    found = tab.axe(rules={CONTRAST: {"enabled": False}}) + tab.axe(where, runOnly=[CONTRAST])
    if not page.query_selector("[aria-label^='Copy as'], .empty:has-text('no such page')"):
        found.append("its request cannot be copied")
    if not reached_by_keyboard(tab):
        found.append("no key leads into it")
    page.emulate_media(color_scheme="dark")
    found += [f"dark: {each}" for each in tab.axe(where, runOnly=[CONTRAST])]
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_timeout(50)
    if (wide := tab.overflow()) > 0:
        found.append(f"{wide} pixels too wide")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 800})
    return found


def reached_by_keyboard(tab: Tab) -> bool:
    """Skip the navigation by its first link, go on by Tab, and look where the focus is seen."""
    page = tab.page
    page.evaluate("document.activeElement.blur()")
    page.focus(".skip")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    return page.evaluate("document.querySelector('#main :focus-visible') !== null")


# In three parts, so that processes can share them.
@pytest.mark.parametrize("part", range(3))
def test_every_screen_looks_well_in_both_colours_and_on_a_phone(tab: Tab, addresses, part: int):
    found, checked = dict[str, list[str]](), list[str]()
    for name, address in list(addresses.items())[part::3]:
        tab.open(address)
        settle(tab)
        if problems := look(tab, frame=not checked):
            found[name] = problems
        checked.append(name)
    assert not found, "\n".join(f"{k}: {p}" for k, ps in found.items() for p in ps)


ASKS_NOTHING = {"home", "start", "new", "import", "apps", "new-app", "missing", "gone"}
"""Screens that are drawn from what the frame knows."""
SAID = "the database is having a rest"


@pytest.mark.parametrize("status", [403, 503])
def test_every_screen_says_what_the_server_refused(tab: Tab, addresses, status: int):
    tab.allow(status).open("health")

    def refuse(route):
        body = {"error": SAID}
        route.fulfill(status=status, json=body, headers={"x-request-id": "walk-1"})

    tab.page.route("**/api/v1/**", refuse)
    said = f"#main [role=alert]:has-text('{SAID}'):has-text('walk-1')"
    # The log tries again by itself.
    waits = {"logs": "#main [role=status]:has-text('waiting')"} if status == 503 else {}
    former = ""
    for name in sorted(addresses.keys() - ASKS_NOTHING):
        screen = addresses[name].partition("?")[0]
        if screen == former:  # another form of the same screen would be a reload
            tab.open("health", ready=said)
        tab.open(addresses[name], ready=waits.get(name, said))
        former = screen
    tab.page.unroute("**/api/v1/**")


def test_the_navigation_opens_at_360_pixels(crm: Server, new_tab: OpenTab):
    tab = new_tab(viewport={"width": 360, "height": 740}).sign_in(crm.admin).open("health")
    tab.page.click("[aria-label=Menu]")
    tab.page.click("nav.side a:has-text('Deals')")
    tab.page.wait_for_selector(".gs .gr")
    assert not tab.page.is_visible("nav.side")


def test_dialogs_are_free_of_serious_findings(tab: Tab):
    tab.open("data/crm/deals", ready=".gs .gr")
    found = list[str]()
    for opener in ("button[title=Filter]", "button[title=Columns]", "[aria-label^='Copy as']"):
        tab.page.click(opener)
        tab.page.wait_for_selector("dialog[open]")
        found += tab.axe()
        tab.page.keyboard.press("Escape")
        tab.page.wait_for_selector("dialog", state="detached")
    tab.page.keyboard.press("Control+k")
    tab.page.wait_for_selector(".palette li")
    found += tab.axe()
    assert not found, "\n".join(found)


def test_a_console_of_someone_without_rights_is_free_of_errors(crm: Server, new_tab: OpenTab):
    tab = new_tab().sign_in(crm.user()).open("")
    assert "No app for you yet" in tab.page.inner_text("main")
    for address in ("users", "account", "health"):
        tab.open(address)
        settle(tab)
        assert not tab.axe()
