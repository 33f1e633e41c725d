"""Pages of plugins and apps over HTTP."""

import pytest

from kernel.public import ConsolePage, PageTable
from kernel.testing import Server
from kernel.testing.options import ServerOptions

from .demo import STORE, GuestsPlugin

PAGES = "/api/v1/console/pages"


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    return {"plugins": [GuestsPlugin]}


def test_a_caller_sees_the_pages_that_it_may(server: Server):
    titles = [page["title"] for page in server.user().get(PAGES).json()]
    assert titles[:6] == ["Guests", "Module", "Broken", "Empty", "Loops", "Tile"]
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
    for path in (
        "guests/nothing.js",
        "no_plugin/works.js",
        "guests/..%2f__init__.py",
        "guests/x.py",
    ):
        assert server.http.get(f"/console/ext/{path}").status_code == 404


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (ConsolePage("X", table=PageTable("GET /api/v1/gests")), "GET /api/v1/guests"),
        (ConsolePage("X", table=PageTable("POST /api/v1/guests")), "must be a GET"),
        (ConsolePage("X", module="missing.js"), "no module"),
        (ConsolePage("X", slot="tile", text="x"), "needs a module"),
        (ConsolePage("X", slot="field", module="works.js"), "needs the names of fields"),
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
