"""Pages of plugins in a real browser: declared ones, modules, and those that fail."""

from typing import Any

from kernel.testing import Server
from tests.plugins.console.browser import needs_browser, until
from tests.plugins.console.demo import STORE
from tests.waiting import eventually

pytestmark = needs_browser


def test_a_page_whose_worker_is_not_running_says_so(server: Server, new_tab):
    server.install(STORE)
    tab = new_tab().allow(503).sign_in(server.admin).open("pages/store/shelf-stock")
    tab.page.wait_for_selector("[role=alert]")
    tab.page.wait_for_selector("h1:has-text('Shelf stock')")


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


def test_a_module_gets_the_kit(server: Server, new_tab):
    page = new_tab().sign_in(server.admin).open("pages/guests/module").page
    page.wait_for_selector("h1:has-text('A module: Module')")
    page.wait_for_selector("text=0 guests")


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


def test_a_module_that_is_missing_shows_a_box_and_can_be_tried_again(server: Server, new_tab):
    tab = new_tab(fresh=True).allow(404).sign_in(server.admin).open("health")
    tab.page.route("**/works.js", lambda route: route.fulfill(status=404, body="gone"))
    tab.open("pages/guests/module", ready=".notice.bad")
    assert "plugin guests" in tab.page.inner_text(".notice.bad")
    tab.page.click("nav.side a:has-text('Health')")
    tab.page.wait_for_selector("h1:has-text('Health')")
    tab.page.unroute("**/works.js")
    held: list[Any] = []  # not answered: its name is seen
    tab.page.route("**/loops.js", lambda route: held.append(route))
    tab.open("pages/guests/loops", ready="main p:has-text('Opening “Loops” of plugin guests')")
    eventually(lambda: tab.page.wait_for_timeout(20) or held)
    # Never by the file: a page that never ends answers the browser no more, which waits for it.
    held[0].fulfill(status=404, body="gone")
    tab.page.wait_for_selector(".notice.bad")


def test_a_page_that_never_ends_stops_its_tab_alone_and_is_not_opened_again(
    server: Server, new_tab
):
    tab = new_tab(fresh=True).sign_in(server.admin).open("health")
    page, other = tab.page, tab.page.context.new_page()
    page.evaluate("setInterval(() => { localStorage.beat = Date.now(); }, 20)")
    page.evaluate("setTimeout(() => { location.hash = '#/pages/guests/loops'; })")
    tab.page = other
    tab.open("health", ready="h1:has-text('Health')")
    until(other, "(beat => localStorage.beat && Date.now() - localStorage.beat > 1600)()")
    tab.page.click("nav.side a:has-text('Plugins')")
    tab.page.wait_for_selector("td a:has-text('guests')")
    page.close()
    tab.open("pages/guests/loops", ready=".notice.warn")
    assert "plugin guests did not answer" in tab.page.inner_text(".notice.warn")
    assert tab.page.is_visible("text=Open it anyway")
    tab.open("pages/guests/module", ready="h1:has-text('A module: Module')")
    tab.open("health")
    tab.page.evaluate("localStorage['caudex.opening.guests/module'] = 1")
    tab.open("pages/guests/module", ready=".notice.warn")
    tab.page.click("text=Open it anyway")
    tab.page.wait_for_selector("text=0 guests")


def test_a_page_that_is_left_at_once_did_not_hang(server: Server, new_tab):
    tab = new_tab().sign_in(server.admin).open("pages/guests/module")
    tab.page.evaluate("localStorage['caudex.opening.guests/module'] = 1")  # opened long ago
    tab.page.reload()
    tab.page.wait_for_selector("h1:has-text('A module: Module')")


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


def test_every_plugin_has_a_page_of_its_own(server: Server, new_tab):
    tab = new_tab().sign_in(server.admin).open("plugins")
    for info in server.admin.get("/api/v1/plugins").json()["plugins"]:
        tab.open(f"plugins/{info['name']}", ready=f"h1:has-text('{info['name']}')")
    tab.open("plugins/guests")
    assert "GET /api/v1/guests" in tab.page.inner_text("main")
    assert "Whom we greeted" not in tab.page.inner_text("main")


def test_parts_of_plugins_in_tables_forms_and_the_palette(server: Server, new_tab):
    server.install({"appId": "notes", "name": "Notes", "dataContract": [
        {"entityName": "pages", "fields": [
            {"name": "title", "type": "text"}, {"name": "colour", "type": "text"},
            {"name": "mood", "type": "text"}]}]})  # fmt: skip
    path = "/api/v1/apps/notes/collections/pages"
    row = server.admin.post(path, json={"title": "Two", "colour": "#c02020", "mood": "calm"}).json()
    tab = new_tab().sign_in(server.admin).open("data/notes/pages", ready=".gs .gr")
    page = tab.page
    page.wait_for_selector(".gs .swatch:has-text('#c02020')")
    page.wait_for_selector(".gs :text('mood: calm')")
    page.focus(".grid")
    page.keyboard.press("Shift+Space")
    page.click(".selection button:has-text('Print')")
    page.wait_for_selector(f"dialog :text('printing 1 of notes.pages: {row['id']}')")
    page.click("dialog button:has-text('Done')")
    page.wait_for_selector("dialog", state="detached")
    tab.open(f"record/notes/pages/{row['id']}")
    page.click(".head button:has-text('Print')")
    page.click("dialog button:has-text('Done')")
    page.click("button.blue")  # the editor of the field
    page.fill("#f-mood", "wild")  # a part without an editor: the console's own
    page.click("button:has-text('Save')")
    page.wait_for_selector(".toast:has-text('Saved')")
    now = server.admin.get(f"{path}/{row['id']}").json()
    assert (now["colour"], now["mood"]) == ("#2020c0", "wild")
    page.keyboard.press("Control+k")
    page.wait_for_selector(".palette input")
    page.keyboard.type("print")
    page.click(".palette li:has-text('Action')")
    page.wait_for_selector("dialog :text('printing nothing')")
