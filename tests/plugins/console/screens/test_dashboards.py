"""Dashboards in a real browser: made by clicking, for oneself or for a role."""

from __future__ import annotations

from typing import Any

from kernel.testing import Server
from tests.plugins.console.browser import OpenTab, Tab, needs_browser

pytestmark = needs_browser
VIEWS = "/api/v1/console/views"


def add_tile(page: Any, kind: str, **choices: str) -> None:
    page.click("button:has-text('Add a tile')")
    page.select_option("dialog label:has-text('Shows') select", label=kind)
    for title, label in choices.items():
        page.select_option(f"dialog label:has(span:text-is('{title}')) select", label=label)
    page.click("dialog button:has-text('Done')")


def find_dashboard(server: Server, name: str) -> dict[str, Any]:
    views = server.admin.get(VIEWS, params={"app": "crm"}).json()
    return next(view for view in views if view["name"] == name)


def test_a_dashboard_is_made_by_clicking(tab: Tab, crm: Server):
    page = tab.open("dashboards/crm").page
    page.click("button:has-text('New dashboard')")
    page.fill("dialog input[name=name]", "Sales")
    page.click("dialog button:has-text('Save')")
    page.wait_for_selector("h1:has-text('Sales')")
    add_tile(
        page, "A number", Table="Deals", Figure="Sum of Value", Change="With the change in 30 days"
    )
    page.wait_for_selector(".big:has-text('15,000')")
    page.wait_for_selector(".rise:has-text('+15,000')")
    add_tile(page, "Bars", Table="Deals", **{"Groups by": "Stage", "Width in columns": "2"})
    page.wait_for_selector(".tile .figures:has-text('Qualified')")
    add_tile(page, "A list of records", Table="Companies")
    page.wait_for_selector(".tile a:has-text('Cobalt')")
    page.click("[aria-label='Move to the left: tile 3']")
    page.click("[aria-label='Wider: tile 2']")
    page.click("main button:has-text('Save')")
    page.wait_for_selector(".toast:has-text('saved')")
    tiles = find_dashboard(crm, "Sales")["state"]["tiles"]
    assert [tile["kind"] for tile in tiles] == ["number", "list", "bar"]
    assert tiles[0] == {
        "kind": "number", "entity": "deals", "figure": {"$sum": "value"}, "since": 30,
    }  # fmt: skip
    assert [tile.get("width") for tile in tiles] == [None, 2, 2]
    page.reload()
    page.wait_for_selector(".big:has-text('15,000')")
    page.click("button:has-text('Edit')")
    page.click("button:has-text('Delete')")
    page.click("dialog button:has-text('Delete')")
    page.wait_for_selector("main:has-text('No dashboard yet')")


def test_a_tile_over_a_field_that_is_gone_says_so(tab: Tab, crm: Server):
    tiles = [
        {"kind": "bar", "entity": "deals", "by": "stage"},
        {"kind": "number", "entity": "companies"},
    ]
    body = {"app": "crm", "name": "Gone", "state": {"tiles": tiles}}
    view_id = crm.admin.post(VIEWS, json=body).json()["id"]
    crm.sql(
        "update caudex_console.views set state = replace(state::text, 'stage', 'former')::jsonb "
        "where id = %s", view_id,
    )  # fmt: skip
    page = tab.open(f"dashboards/crm/{view_id}").page
    page.wait_for_selector(".tile .notice:has-text('“former” is no longer a field of deals')")
    page.wait_for_selector(".big:has-text('3')")
    crm.admin.delete(f"{VIEWS}/{view_id}")


def test_a_dashboard_for_a_role_shows_what_its_reader_may_read(crm: Server, new_tab: OpenTab):
    role = {"name": "seller", "permissions": ["deals.read"]}
    crm.admin.post("/api/v1/apps/crm/roles", json=role)
    tiles = [
        {"kind": "number", "entity": "deals"},
        {"kind": "number", "entity": "companies"},
        {"kind": "line", "entity": "deals", "by": "close_date", "period": "month"},
    ]
    body = {"app": "crm", "name": "Sellers", "role": "seller", "state": {"tiles": tiles}}
    view_id = crm.admin.post(VIEWS, json=body).json()["id"]
    seller = crm.user(roles={"crm": ["seller"]})
    page = new_tab().sign_in(seller).open("dashboards/crm").page
    page.wait_for_selector("h1:has-text('Sellers')")
    page.wait_for_selector(".big:has-text('6')")
    page.wait_for_selector(".notice:has-text('“companies” is gone, or you may not read it')")
    page.wait_for_selector(".plot polyline", state="attached")
    assert not page.locator("button:has-text('Edit')").count()
    crm.admin.delete(f"{VIEWS}/{view_id}")


def test_two_tabs_that_edit_a_dashboard_see_both_versions(crm: Server, new_tab: OpenTab):
    tiles = [{"kind": "number", "entity": "deals", "title": "Deals"}]
    body = {"app": "crm", "name": "Shared", "state": {"tiles": tiles}}
    view_id = crm.admin.post(VIEWS, json=body).json()["id"]
    one, two = new_tab().sign_in(crm.admin), new_tab().sign_in(crm.admin).allow(412)
    for tab, title in ((one, "First"), (two, "Second")):
        page = tab.open(f"dashboards/crm/{view_id}").page
        page.click("button:has-text('Edit')")
        page.click("[aria-label='Change: tile 1']")
        page.fill("dialog label:has-text('Title') input", title)
        page.click("dialog button:has-text('Done')")
    one.page.click("main button:has-text('Save')")
    one.page.wait_for_selector(".toast:has-text('saved')")
    two.page.click("main button:has-text('Save')")
    two.page.wait_for_selector("dialog del:has-text('First')")
    assert "Second" in two.page.inner_text("dialog ins")
    two.page.click('dialog button:has-text("Keep the server\'s")')
    two.page.wait_for_selector(".tile h2:has-text('First')")
    crm.admin.delete(f"{VIEWS}/{view_id}")


def test_views_that_a_manifest_declares_are_tiles_and_are_not_edited(crm: Server, new_tab: OpenTab):
    fields = [
        {"name": "name", "type": "text"},
        {"name": "state", "type": "text", "enum_values": ["Open", "Done"]},
    ]
    views = [
        {"name": "States", "entity": "tasks", "layout": "chart", "by": "state"},
        {"name": "Open ones", "entity": "tasks", "where": {"state": "Open"}, "columns": ["name"]},
    ]
    tiles = [{"kind": "view", "view": view["name"], "width": 2} for view in views]
    contract = [{"entityName": "tasks", "fields": fields}]
    crm.install({"appId": "todo", "name": "Todo", "dataContract": contract, "views": views,
        "dashboards": [{"name": "Today", "tiles": tiles}]})  # fmt: skip
    rows = [{"name": "One", "state": "Open"}, {"name": "Two", "state": "Done"}]
    crm.admin.post("/api/v1/apps/todo/collections/tasks/bulk", json=rows)
    page = new_tab().sign_in(crm.admin).open("dashboards/todo").page
    page.wait_for_selector(".tile:has-text('States') .figures:has-text('Done')")
    page.wait_for_selector(".tile:has-text('Open ones') a:has-text('One')")
    assert not page.locator(".tile:has-text('Open ones') a:has-text('Two')").count()
    assert "From the manifest" in page.inner_text("main")
    assert not page.locator("button:has-text('Edit')").count()
    page.click(".tile h2 a:has-text('States')")
    page.wait_for_selector("button[title='Saved views']:has-text('States')")
    page.wait_for_selector(".figures rect")


def make_dashboard(server: Server, name: str, tiles: list[dict[str, Any]]) -> str:
    body = {"app": "crm", "name": name, "state": {"tiles": tiles}}
    made = server.admin.post(VIEWS, json=body)
    assert made.status_code == 201, made.text
    return made.json()["id"]


def test_tiles_show_what_was_written_before_their_stream_began(tab: Tab, crm: Server):
    view_id = make_dashboard(crm, "Begin", [{"kind": "number", "entity": "companies"}])
    path = "/api/v1/apps/crm/collections/companies"
    made: list[str] = []

    def answer(route: Any) -> None:
        page.wait_for_selector(".big:has-text('3')")
        if not made:
            made.append(crm.admin.post(path, json={"name": "Early"}).json()["id"])
        route.continue_()

    page = tab.page
    page.route("**/apps/crm/feed", answer)
    tab.open(f"dashboards/crm/{view_id}")
    page.wait_for_selector(".big:has-text('4')")
    assert crm.admin.delete(f"{path}/{made[0]}").is_success


def test_tiles_follow_the_changes_of_others_without_asking_again(tab: Tab, crm: Server):
    view_id = make_dashboard(
        crm, "Live", [{"kind": "number", "entity": "companies"},
                      {"kind": "number", "entity": "deals", "title": "Deals"}]
    )  # fmt: skip
    asked: list[str] = []
    tab.on("request", lambda r: r.url.endswith("/query") and asked.append(r.url))
    page = tab.open(f"dashboards/crm/{view_id}").page
    page.wait_for_selector(".big:has-text('3')")
    path = "/api/v1/apps/crm/collections/companies"
    made = crm.admin.post(path, json={"name": "Dover"})
    assert made.status_code == 201, made.text
    page.wait_for_selector(".big:has-text('4')")
    assert crm.admin.delete(f"{path}/{made.json()['id']}").is_success
    page.wait_for_selector(".big:has-text('3')")
    # The tile of the other table asked twice at most: at first, and when the stream had begun.
    assert len([url for url in asked if "/companies/" in url]) >= 3
    assert len([url for url in asked if "/deals/" in url]) <= 2
    crm.admin.delete(f"{VIEWS}/{view_id}")


def test_a_list_has_the_columns_that_are_chosen(tab: Tab, crm: Server):
    view_id = make_dashboard(crm, "Lists", [{"kind": "list", "entity": "deals"}])
    page = tab.open(f"dashboards/crm/{view_id}").page
    page.click("button:has-text('Edit')")
    page.click("[aria-label='Change: tile 1']")
    box = "dialog .columnlist label:has-text('{}') input"
    for title in ("Title", "Value", "Stage"):
        if page.is_checked(box.format(title)):
            page.uncheck(box.format(title))
    page.check(box.format("Close date"))
    page.check(box.format("Value"))
    page.select_option("dialog label:has(span:text-is('Records')) select", "10")
    assert not tab.axe("dialog")
    page.click("dialog button:has-text('Done')")
    page.click("main button:has-text('Save')")
    page.wait_for_selector(".toast:has-text('saved')")
    (tile,) = crm.admin.get(f"{VIEWS}/{view_id}").json()["state"]["tiles"]
    assert {"close_date", "value"} <= set(tile["columns"])
    assert "stage" not in tile["columns"]
    assert tile["limit"] == 10
    page.wait_for_selector(".tile td:has-text('2031')")
    heads = page.locator(".tile thead th").evaluate_all("all => all.map((e) => e.textContent)")
    assert {"Close date", "Value"} <= set(heads)
    assert "Stage" not in heads
    crm.admin.delete(f"{VIEWS}/{view_id}")


def test_a_part_of_a_plugin_is_a_tile(tab: Tab, crm: Server):
    view_id = make_dashboard(crm, "Parts", [{"kind": "number", "entity": "companies"}])
    page = tab.open(f"dashboards/crm/{view_id}").page
    page.click("button:has-text('Edit')")
    add_tile(page, "A part of a plugin", Part="Sales (guests)", **{"Width in columns": "2"})
    page.wait_for_selector(".tile:has-text('Sales of crm')")
    page.click("main button:has-text('Save')")
    page.wait_for_selector(".toast:has-text('saved')")
    tiles = crm.admin.get(f"{VIEWS}/{view_id}").json()["state"]["tiles"]
    assert tiles[1] == {"kind": "plugin", "plugin": "guests/sales", "width": 2}
    assert not tab.axe("main")
    page.click("button[aria-label=Reload]")
    page.wait_for_selector(".tile:has-text('round 1')")
    # It is for dashboards of this app only, and the start has none of it.
    assert tab.open("").page.locator("section:has-text('Sales of')").count() == 0
    crm.admin.delete(f"{VIEWS}/{view_id}")


def test_a_tile_of_a_plugin_that_is_gone_says_so(tab: Tab, crm: Server):
    tiles = [{"kind": "plugin", "plugin": "weather/today"}, {"kind": "number", "entity": "deals"}]
    view_id = make_dashboard(crm, "Weather", tiles)
    page = tab.open(f"dashboards/crm/{view_id}").page
    page.wait_for_selector(".tile .notice:has-text('No plugin offers “weather/today”')")
    page.wait_for_selector(".tile .big")
    crm.admin.delete(f"{VIEWS}/{view_id}")
    wrong = {"app": "crm", "name": "W", "state": {"tiles": [{"kind": "plugin"}]}}
    refusal = crm.admin.post(VIEWS, json=wrong)
    assert refusal.status_code == 400
    assert refusal.json()["error"].startswith("state.tiles[0].plugin: is needed")
