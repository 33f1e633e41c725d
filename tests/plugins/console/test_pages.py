"""Pages of plugins: declared ones, modules, and those that fail."""

import pytest

from kernel.public import ConsolePage, PageTable
from kernel.testing import Server
from kernel.testing.options import ServerOptions

from .browser import needs_browser
from .demo import GuestsPlugin

PAGES = "/api/v1/console/pages"


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    return {"plugins": [GuestsPlugin]}


def test_a_caller_sees_the_pages_that_it_may(server: Server):
    titles = [page["title"] for page in server.user().get(PAGES).json()]
    assert titles[:6] == ["Guests", "Module", "Broken", "Empty", "Tile", "Beside"]
    assert "Admins" in [page["title"] for page in server.admin.get(PAGES).json()]


def test_the_body_of_a_route_draws_the_form(server: Server):
    page = server.admin.get(PAGES).json()[0]
    greet, forget = page["actions"]
    assert (greet["method"], greet["path"]) == ("POST", "/api/v1/guests")
    assert "name" in str(greet["body"])
    assert forget["path"] == "/api/v1/guests/{id}"
    assert page["table"]["columns"][1] == {"name": "at", "title": "When", "kind": "time"}


def test_modules_are_served_and_nothing_beside_them(server: Server):
    found = server.http.get("/console/ext/guests/works.js")
    assert found.headers["content-type"].startswith("text/javascript")
    for path in ("guests/nothing.js", "nobody/works.js", "guests/..%2f__init__.py", "guests/x.py"):
        assert server.http.get(f"/console/ext/{path}").status_code == 404


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (ConsolePage("X", table=PageTable("GET /api/v1/gests")), "GET /api/v1/guests"),
        (ConsolePage("X", table=PageTable("POST /api/v1/guests")), "must be a GET"),
        (ConsolePage("X", module="missing.js"), "no module"),
        (ConsolePage("X", slot="tile", text="x"), "needs a module"),
    ],
)
def test_a_wrong_page_stops_the_start(make_server, monkeypatch, page, said):
    monkeypatch.setattr(GuestsPlugin, "register_pages", _pages(page))
    with pytest.raises(Exception, match=said):
        make_server(plugins=[GuestsPlugin])


def _pages(page):
    from kernel.public import hookimpl

    def register_pages(self, services):
        return [page]

    register_pages.__module__ = GuestsPlugin.__module__
    return hookimpl(optionalhook=True)(register_pages)


STORE = {
    "appId": "store", "name": "Store", "dataContract": [],
    "consolePages": [{
        "title": "Shelf stock", "icon": "table",
        "table": {"rpc": "list_stock", "columns": [{"name": "item", "title": "Item"}]},
        "actions": [
            {"title": "Order", "rpc": "order", "body": {"properties": {"n": {"type": "integer"}}}},
            {"title": "Drop", "rpc": "drop", "row": True, "confirm": "Drop it?"},
        ],
    }],
}  # fmt: skip


def test_an_app_declares_pages_for_its_worker(server: Server):
    assert "ignored" not in server.install(STORE)
    [page] = [p for p in server.admin.get(PAGES).json() if p["plugin"] == "store"]
    assert (page["id"], page["table"]["rpc"]) == ("shelf-stock", "list_stock")
    assert page["table"]["path"] == "/api/v1/apps/store/rpc"
    assert [(a["rpc"], a.get("row", False)) for a in page["actions"]] == [
        ("order", False),
        ("drop", True),
    ]
    assert "store" not in [p["plugin"] for p in server.user().get(PAGES).json()]
    wrong = {**STORE, "consolePages": [{"title": "X", "tabel": {}}]}
    assert server.admin.post("/api/v1/apps", json=wrong).status_code == 400


@needs_browser
def test_a_page_whose_worker_is_not_running_says_so(server: Server, new_tab):
    server.install(STORE)
    tab = new_tab().allow(503).sign_in(server.admin).open("pages/store/shelf-stock")
    tab.page.wait_for_selector("[role=alert]")
    tab.page.wait_for_selector("h1:has-text('Shelf stock')")


@needs_browser
def test_a_declared_page_lists_acts_and_asks(server: Server, new_tab):
    page = new_tab().sign_in(server.admin).open("pages/guests/guests").page
    page.click("button:has-text('Greet')")
    page.fill("#p-name", "Ada")
    page.select_option("#p-loud", "true")
    page.click("dialog button.primary")
    page.wait_for_selector(".toast:has-text('Hello, Ada!')")
    page.wait_for_selector("td:has-text('Ada')")
    page.click("td button:has-text('Forget')")
    page.click("dialog button.danger")
    page.wait_for_selector("text=Nothing here yet")


@needs_browser
def test_a_module_gets_the_kit(server: Server, new_tab):
    page = new_tab().sign_in(server.admin).open("pages/guests/module").page
    page.wait_for_selector("h1:has-text('A module: Module')")
    page.wait_for_selector("text=0 guests")


@needs_browser
def test_a_page_that_throws_shows_a_box_and_the_rest_works(server: Server, new_tab):
    tab = new_tab().sign_in(server.admin)
    tab.open("pages/guests/broken", ready=".notice.bad")
    assert "plugin guests" in tab.page.inner_text(".notice.bad")
    assert "the sky fell" in tab.page.inner_text(".notice.bad")
    tab.problems = [p for p in tab.problems if "the sky fell" not in p]
    tab.page.click("nav.side a:has-text('Health')")
    tab.page.wait_for_selector("h1:has-text('Health')")
    tab.open("pages/guests/empty", ready=".notice.bad")
    assert "export default" in tab.page.inner_text(".notice.bad")


@needs_browser
def test_a_page_that_hung_is_not_opened_again_unasked(server: Server, new_tab):
    tab = new_tab().sign_in(server.admin).open("health")
    tab.page.evaluate("sessionStorage.setItem('caudex.opening', 'guests/module')")
    tab.page.evaluate("location.hash = '#/pages/guests/module'")
    tab.page.click("text=Open it anyway")
    tab.page.wait_for_selector("text=0 guests")


@needs_browser
def test_tiles_and_parts_of_records(server: Server, new_tab):
    server.install({"appId": "notes", "name": "Notes", "dataContract": [
        {"entityName": "pages", "fields": [{"name": "title", "type": "text"}]}]})  # fmt: skip
    path = "/api/v1/apps/notes/collections/pages"
    row = server.admin.post(path, json={"title": "One"}).json()
    tab = new_tab().sign_in(server.admin).open("")
    tab.page.wait_for_selector(".card:has-text('0 guests')")
    tab.open(f"record/notes/pages/{row['id']}")
    tab.page.wait_for_selector("text=beside notes.pages: One")
    tab.page.keyboard.press("Control+k")
    tab.page.wait_for_selector(".palette input")
    tab.page.keyboard.type("Guests")
    tab.page.wait_for_selector(".palette li:has-text('Page')")


@needs_browser
def test_every_plugin_has_a_page_of_its_own(server: Server, new_tab):
    tab = new_tab().sign_in(server.admin)
    for info in server.admin.get("/api/v1/plugins").json()["plugins"]:
        tab.open(f"plugins/{info['name']}", ready=f"h1:has-text('{info['name']}')")
    tab.open("plugins/guests")
    assert "GET /api/v1/guests" in tab.page.inner_text("main")
