"""Every screen: no serious finding of axe in both colour schemes, at 1280 pixels and at 360."""

from typing import Any

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import OpenTab, Tab, needs_browser
from tests.plugins.console.conftest import DATA

pytestmark = needs_browser

CONTRAST = "color-contrast"
PARTS = 4
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
    "dashboards": "dashboards/looks",
    "gallery": "data/looks/pictures?layout=gallery&by=photo",
    "empty": "data/crm/contact_emails",
    "record": "record/crm/deals/{deal}",
    "new": "record/crm/deals/new",
    "import": "import/crm/deals",
    "apps": "apps",
    "diagram": "apps/crm",
    "manifest": "apps/crm/manifest",
    "retired": "apps/crm/retired",
    "app-history": "apps/crm/history",
    "frontend": "apps/crm/frontend",
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
    "request": "requests/{request}",
    "page": "pages/guests/guests",
    "secrets": "secrets/crm",
    "plugins": "plugins",
    "plugin": "plugins/notifications",
    "health": "health",
    "missing": "nowhere",
}
SIZES: Any = ({"width": 1280, "height": 800}, {"width": 360, "height": 740})
LOOKS: dict[str, Any] = {
    "appId": "looks", "name": "Looks", "dataContract": [{"entityName": "pictures", "fields": [
        {"name": "title", "type": "text"}, {"name": "photo", "type": "file", "maxSize": "1MB"}]}],
}  # fmt: skip
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
    crm.install(LOOKS)
    crm.admin.post("/api/v1/apps/looks/collections/pictures", json={"title": "Harbour"})
    headers = {"x-request-id": "a-request-to-look-at"}
    crm.admin.patch(f"{DATA}/deals/{deal}", json={"notes": "called"}, headers=headers)
    dashboard = {"app": "crm", "name": "Sales", "state": {"tiles": TILES}}
    places = {
        "deal": deal,
        "request": headers["x-request-id"],
        "user": crm.admin.id,
        "dashboard": crm.admin.post("/api/v1/console/views", json=dashboard).json()["id"],
    }
    return {name: address.format_map(places) for name, address in SCREENS.items()}


def settle(tab: Tab) -> None:
    tab.page.wait_for_timeout(150)
    tab.page.wait_for_selector(".loading", state="detached")


def look(tab: Tab, frame: bool) -> list[str]:
    """Return what is wrong with a screen: in both sizes, each in light and dark colours.

    Contrast takes most of the time: it is checked of the frame only where this is wanted.
    """
    page = tab.page
    found: list[str] = []
    if not page.query_selector("[aria-label^='Copy as'], .empty:has-text('no such page')"):
        found.append("its request cannot be copied")
    if not reached_by_keyboard(tab):
        found.append("no key leads into it")
    for size in SIZES:
        page.set_viewport_size(size)
        page.wait_for_timeout(50)
        where = "html" if frame else "#main"
        # The rules beside contrast see no colours.
        problems = tab.axe(rules={CONTRAST: {"enabled": False}})
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            problems += [f"{scheme}: {each}" for each in tab.axe(where, runOnly=[CONTRAST])]
        if (wide := tab.overflow()) > 0:
            problems.append(f"{wide} pixels too wide")
        found += [f"at {size['width']} pixels: {problem}" for problem in problems]
    page.set_viewport_size(SIZES[0])
    return found


def reached_by_keyboard(tab: Tab) -> bool:
    """Skip the navigation by its first link, go on by Tab, and look where the focus is seen."""
    page = tab.page
    page.evaluate("document.activeElement.blur()")
    page.focus(".skip")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    return page.evaluate("document.querySelector('#main :focus-visible') !== null")


# In parts, so that processes can share them.
@pytest.mark.parametrize("part", range(PARTS))
def test_every_screen_looks_well_in_both_colours_and_on_a_phone(tab: Tab, addresses, part: int):
    found, checked = dict[str, list[str]](), list[str]()
    for name, address in list(addresses.items())[part::PARTS]:
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


NARROW_TEXTS = """() => [...document.querySelectorAll('dialog input:not([type=radio])')].some(
    (input) => input.clientWidth < 80)"""
OUTSIDE = """(selector) => {
    const box = document.querySelector(selector).getBoundingClientRect();
    return box.left < 0 || box.right > innerWidth;
}"""


def test_what_opens_at_360_pixels_is_inside(crm: Server, new_tab: OpenTab):
    tab = new_tab(viewport={"width": 360, "height": 740}).sign_in(crm.admin)
    page = tab.open("data/crm/deals", ready=".gs .gr").page
    page.click("button[title='Saved views']")
    page.wait_for_selector(".popup button:has-text('Save this view')")
    assert not page.evaluate(OUTSIDE, ".popup")
    page.keyboard.press("Escape")
    page.click("[aria-label=Menu]")
    page.click("nav.side .addtable")
    page.wait_for_selector("dialog button:has-text('Make table')")
    for selector in ("dialog fieldset .row select", "dialog fieldset .row button"):
        assert not page.evaluate(OUTSIDE, selector), selector
    assert not page.evaluate("document.querySelector('dialog').scrollWidth > innerWidth")
    assert not page.evaluate(NARROW_TEXTS)


DIALOGS = {
    "filter": ("data/crm/deals", "button[title=Filter]"),
    "columns": ("data/crm/deals", "button[title=Columns]"),
    "copy": ("data/crm/deals", "[aria-label^='Copy as']"),
    "new-column": ("data/crm/deals", ".gh .add button"),
    "new-dashboard": ("dashboards/crm/nothing", "button:has-text('New dashboard')"),
    "new-job": ("jobs/crm", "button:has-text('New job')"),
    "delete": ("record/crm/deals/{deal}", "[aria-label=Delete]"),
}
"""Screens, and the buttons that open a dialog there."""


def test_dialogs_are_free_of_serious_findings(tab: Tab, addresses: dict[str, str]):
    page = tab.page
    found = list[str]()
    for name, (address, opener) in DIALOGS.items():
        place = addresses["record"] if name == "delete" else address
        tab.open(place)
        settle(tab)
        page.click(opener)
        page.wait_for_selector("dialog[open]")
        settle(tab)
        found += [f"{name}: {problem}" for problem in look_at_part(tab, "dialog[open]")]
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("Control+k")
    page.wait_for_selector(".palette li")
    found += [f"palette: {problem}" for problem in look_at_part(tab, "dialog[open]")]
    assert not found, "\n".join(found)


def look_at_part(tab: Tab, where: str) -> list[str]:
    """Return what is wrong with a part of a screen, in both sizes and colour schemes."""
    problems = list[str]()
    for size in SIZES:
        tab.page.set_viewport_size(size)
        for scheme in ("dark", "light"):
            tab.page.emulate_media(color_scheme=scheme)
            problems += [f"{size['width']}, {scheme}: {each}" for each in tab.axe(where)]
        if (wide := tab.overflow()) > 0:
            problems.append(f"{wide} pixels too wide")
    tab.page.set_viewport_size(SIZES[0])
    return problems


@pytest.mark.parametrize("address", ["", "invite=a-token", "setup=a-token"])
def test_forms_to_sign_in_look_well(server: Server, new_tab: OpenTab, address: str):
    tab = new_tab().open(address, ready="[name=password]")
    found = look_at_part(tab, "html")
    assert not found, "\n".join(found)


def test_a_console_of_someone_without_rights_is_free_of_errors(crm: Server, new_tab: OpenTab):
    tab = new_tab().sign_in(crm.user()).open("")
    assert "No app for you yet" in tab.page.inner_text("main")
    for address in ("users", "account", "health"):
        tab.open(address)
        settle(tab)
        assert not tab.axe()
