"""Settings and saved views of users."""

import pytest

from kernel.testing import Server

SETTINGS, VIEWS = "/api/v1/console/settings", "/api/v1/console/views"


def test_settings_are_kept_for_each_user(server: Server):
    one, two = server.user(), server.user()
    assert one.patch(SETTINGS, json={"theme": "dark", "columns:crm.deals": ["a", "b"]}).is_success
    assert one.get(SETTINGS).json() == {"theme": "dark", "columns:crm.deals": ["a", "b"]}
    assert two.get(SETTINGS).json() == {}
    one.patch(SETTINGS, json={"theme": None})
    assert one.get(SETTINGS).json() == {"columns:crm.deals": ["a", "b"]}


@pytest.mark.parametrize("body", [{"": 1}, {"a b": 1}, {"x" * 200: 1}, {"a": "x" * 20_000}])
def test_bad_settings_are_refused(server: Server, body):
    assert server.user().patch(SETTINGS, json=body).status_code == 400


def test_there_is_a_bound(server: Server):
    user = server.user()
    for start in range(0, 1000, 500):
        body = {f"k{n}": n for n in range(start, start + 500)}
        assert user.patch(SETTINGS, json=body).is_success
    assert user.patch(SETTINGS, json={"more": 1}).status_code == 400
    assert "more" not in user.get(SETTINGS).json()


def test_views_are_for_oneself_or_for_a_role(crm: Server):
    crm.admin.post("/api/v1/apps/crm/roles", json={"name": "sales", "permissions": ["deals.read"]})
    seller, other = crm.user(roles={"crm": ["sales"]}), crm.user()
    view = {"app": "crm", "entity": "deals", "name": "Open", "state": {"sort": "value"}}
    own = seller.post(VIEWS, json=view)
    assert own.status_code == 201
    shared = crm.admin.post(VIEWS, json={**view, "name": "For all", "role": "sales"})
    assert shared.status_code == 201
    query = {"app": "crm", "entity": "deals"}
    found = seller.get(VIEWS, params=query).json()
    assert [(each["name"], each["own"], each["role"]) for each in found] == [
        ("For all", False, "sales"),
        ("Open", True, None),
    ]
    assert other.get(VIEWS, params=query).json() == []
    assert seller.post(VIEWS, json={**view, "role": "sales"}).status_code == 403
    assert seller.delete(f"{VIEWS}/{shared.json()['id']}").status_code == 403
    assert seller.delete(f"{VIEWS}/{own.json()['id']}").status_code == 200
    assert seller.delete(f"{VIEWS}/nonsense").status_code == 404


def test_a_view_of_an_unknown_app_is_refused(crm: Server):
    view = {"app": "nothing", "entity": "deals", "name": "x", "state": {}}
    assert crm.admin.post(VIEWS, json=view).status_code == 404


def test_a_deleted_account_leaves_nothing(crm: Server):
    user = crm.user()
    user.patch(SETTINGS, json={"theme": "dark"})
    user.post(VIEWS, json={"app": "crm", "entity": "deals", "name": "x", "state": {}})
    assert crm.admin.delete(f"/api/v1/users/{user.id}").is_success
    kept = "select count(*) from caudex_console.settings where user_id = %s"
    views = "select count(*) from caudex_console.views where owner_id = %s"
    assert crm.sql(kept, user.id) == [(0,)]
    assert crm.sql(views, user.id) == [(0,)]


def test_an_app_shows_its_fields_to_its_users(crm: Server):
    found = crm.admin.get("/api/v1/apps/crm").json()
    deals = next(each for each in found["entities"] if each["name"] == "deals")
    link = next(each for each in deals["fields"] if each["name"] == "company_id")
    assert (link["type"], link["references"]) == ("entity_link", "companies")
    assert crm.user().get("/api/v1/apps/crm").status_code == 403
    manifest = crm.admin.get("/api/v1/apps/crm/manifest").json()
    assert manifest["appId"] == "crm"
    reader = crm.user(permissions={"crm": ["deals.read"]})
    assert reader.get("/api/v1/apps/crm").status_code == 200
    assert reader.get("/api/v1/apps/crm/manifest").status_code == 403
