"""Views with layouts, dashboards, and those that manifests declare, over HTTP."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest

from kernel.testing import Server

from .conftest import CRM

VIEWS = "/api/v1/console/views"
PIPELINE = {"layout": "board", "by": "stage", "columns": "title,value"}
TILES: list[dict[str, Any]] = [
    {
        "kind": "number",
        "title": "Open",
        "entity": "deals",
        "figure": {"$sum": "value"},
        "since": 30,
    },
    {"kind": "bar", "entity": "deals", "by": "stage", "width": 2},
    {"kind": "line", "entity": "deals", "by": "close_date", "period": "month"},
    {"kind": "list", "entity": "deals", "columns": ["title", "value"], "orderBy": "value"},
]


def save(server: Server, state: dict[str, Any], **more: Any) -> Any:
    body = {"app": "crm", "entity": "deals", "name": "V", "state": state} | more
    return server.admin.post(VIEWS, json=body)


def save_dashboard(server: Server, tiles: Any) -> Any:
    body = {"app": "crm", "name": "D", "state": {"tiles": tiles}}
    return server.admin.post(VIEWS, json=body)


def test_a_view_is_changed_by_the_tag_that_was_read(crm: Server):
    view_id = save(crm, PIPELINE).json()["id"]
    path = f"{VIEWS}/{view_id}"
    reply = crm.admin.get(path)
    assert (reply.headers["etag"], reply.json()["state"]) == ('"1"', PIPELINE)

    content = {"name": "Pipeline", "state": PIPELINE | {"columns": "title"}}
    changed = crm.admin.put(path, json=content, headers={"if-match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert changed.json()["name"] == "Pipeline"

    late = crm.admin.put(path, json={"name": "Mine", "state": {}}, headers={"if-match": '"1"'})
    assert late.status_code == 412
    assert late.json()["etag"] == '"2"'
    assert late.json()["view"]["name"] == "Pipeline"
    assert crm.admin.put(path, json=content).status_code == 400
    assert crm.admin.put(path, json=content, headers={"if-match": "*"}).json()["version"] == 3


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"layout": "kanban"}, "state.layout: 'kanban' is not one of table, board"),
        ({"layout": "board"}, "state.by: is needed: the choice or the link"),
        ({"layout": "board", "by": "title"}, "state.by: 'title' is text; wanted is the choice"),
        ({"layout": "board", "by": "stag"}, "deals has no field 'stag'; did you mean 'stage'?"),
        ({"layout": "calendar", "by": "value"}, "state.by: 'value' is number; wanted is the date"),
        ({"layout": "gallery", "by": "title"}, "wanted is the field of files"),
        ({"layout": "chart", "by": "stage", "period": "month"}, "'stage' is text, which has no p"),
        ({"layout": "chart", "by": "close_date", "period": "era"}, "period: 'era' is not one of"),
        ({"layout": "chart", "by": "stage", "figure": "sum"}, "state.figure: 'sum' is no FIELD."),
        ({"layout": "chart", "by": "stage", "figure": "title.sum"}, "'title' is text, and no num"),
        ({"layout": "board", "by": "stage", "columns": "title,nothing"}, "state.columns[1]: deals"),
        ({"layout": "board", "by": 5}, "view: by is no text"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(crm: Server, state, sentence: str):
    reply = save(crm, state)
    assert reply.status_code == 400
    assert sentence in reply.json()["error"]


@pytest.mark.parametrize(
    "state",
    [
        {"layout": "board", "by": "company_id"},
        {"layout": "calendar", "by": "close_date"},
        {"layout": "calendar", "by": "created_at"},
        {"layout": "chart", "by": "created_at", "period": "week", "figure": "value.avg"},
        {"layout": "chart", "by": "stage", "chart": "line"},
        {"layout": "table", "of": "another version"},
    ],
)
def test_a_layout_that_fits_is_kept(crm: Server, state):
    view_id = save(crm, state).json()["id"]
    assert crm.admin.get(f"{VIEWS}/{view_id}").json()["state"] == state


def test_a_dashboard_is_a_view_without_a_table(crm: Server):
    view_id = save_dashboard(crm, TILES).json()["id"]
    shown = crm.admin.get(f"{VIEWS}/{view_id}").json()
    assert (shown["entity"], shown["state"]["tiles"]) == (None, TILES)
    ids = [view["id"] for view in crm.admin.get(VIEWS, params={"app": "crm"}).json()]
    assert view_id in ids
    of_table = crm.admin.get(VIEWS, params={"app": "crm", "entity": "deals"}).json()
    assert view_id not in [view["id"] for view in of_table]


@pytest.mark.parametrize(
    ("tile", "sentence"),
    [
        ({"kind": "pie"}, "state: Invalid enum value 'pie' - at `$.tiles[0].kind`"),
        ({"kind": "number"}, "state.tiles[0].entity: is needed"),
        ({"kind": "number", "entity": "deels"}, "state.tiles[0].entity: the app has no entity"),
        ({"kind": "bar", "entity": "deals"}, "state.tiles[0].by: is needed: the field that makes"),
        ({"kind": "view"}, "state.tiles[0].view: is needed"),
        ({"kind": "number", "entity": "deals", "width": 9}, "state: Expected `int` <= 4"),
        ({"kind": "number", "entity": "deals", "figure": {"$median": "value"}}, "'$median'"),
        ({"kind": "number", "entity": "deals", "colour": "red"}, "unknown field `colour`"),
    ],
)
def test_a_tile_that_does_not_fit_is_refused(crm: Server, tile, sentence: str):
    reply = save_dashboard(crm, [tile])
    assert reply.status_code == 400
    assert sentence in reply.json()["error"]


def test_a_dashboard_has_few_tiles_and_nothing_else(crm: Server):
    assert save_dashboard(crm, []).status_code == 201
    assert save_dashboard(crm, TILES * 7).status_code == 400
    body = {"app": "crm", "name": "D", "state": {"tiles": TILES, "q": "x"}}
    assert crm.admin.post(VIEWS, json=body).status_code == 400


def test_views_for_a_role_are_changed_by_admins_of_the_app(crm: Server):
    crm.admin.post("/api/v1/apps/crm/roles", json={"name": "lead", "permissions": ["deals.read"]})
    lead = crm.user(roles={"crm": ["lead"]})
    path = f"{VIEWS}/{save(crm, PIPELINE, role='lead').json()['id']}"
    assert lead.get(path).json()["editable"] is False
    content = {"name": "X", "state": {}}
    assert lead.put(path, json=content, headers={"if-match": "*"}).status_code == 403
    assert lead.delete(path).status_code == 403
    other = crm.user(roles={"crm": ["admin"]})
    assert other.get(path).json()["editable"] is True
    changed = other.put(path, json=content | {"role": "lead"}, headers={"if-match": "*"})
    assert changed.json()["name"] == "X"
    stranger = crm.user()
    assert stranger.get(path).status_code == 404
    own = lead.post(VIEWS, json={"app": "crm", "entity": "deals", "name": "O", "state": PIPELINE})
    content["role"] = "lead"
    own_path = f"{VIEWS}/{own.json()['id']}"
    assert lead.put(own_path, json=content, headers={"if-match": "*"}).status_code == 403
    assert lead.delete(own_path).status_code == 200


def test_a_layout_needs_the_right_to_read(crm: Server):
    user = crm.user(permissions={"crm": ["contacts.read"]})
    body = {"app": "crm", "entity": "deals", "name": "V", "state": PIPELINE}
    assert user.post(VIEWS, json=body).status_code == 403


# --- manifests


def make_manifest(app_id: str, **sections: Any) -> dict[str, Any]:
    fields = [
        {"name": "title", "type": "text"},
        {"name": "stage", "type": "text", "enum_values": ["Lead", "Won"]},
        {"name": "value", "type": "number"},
        {"name": "day", "type": "date"},
    ]
    entity = {"entityName": "deals", "fields": fields}
    return {"appId": app_id, "name": app_id, "dataContract": [entity], **sections}


DECLARED: list[dict[str, Any]] = [
    {"name": "Pipeline", "entity": "deals", "layout": "board", "by": "stage",
     "where": {"value": {"$gt": 5}}, "columns": ["title", "value"], "orderBy": "value"},
    {"name": "Sums", "entity": "deals", "role": "lead", "layout": "chart", "by": "day",
     "period": "month", "figure": {"$sum": "value"}},
]  # fmt: skip


def list_views(client: Any, app_id: str) -> dict[str, Any]:
    return {view["name"]: view for view in client.get(VIEWS, params={"app": app_id}).json()}


def test_a_manifest_declares_views_and_dashboards(server: Server):
    tiles = [*TILES[:2], {"kind": "view", "view": "Pipeline"}]
    manifest = make_manifest(
        "declared", views=DECLARED, dashboards=[{"name": "Day", "tiles": tiles}]
    )
    assert "ignored" not in server.install(manifest)
    server.admin.post("/api/v1/apps/declared/roles", json={"name": "lead", "permissions": []})
    server.admin.post("/api/v1/apps/declared/roles", json={"name": "other", "permissions": []})
    shown = list_views(server.admin, "declared")
    assert set(shown) == {"Pipeline", "Sums", "Day"}
    pipeline = shown["Pipeline"]
    assert (pipeline["declared"], pipeline["editable"], pipeline["own"]) == (True, False, False)
    assert pipeline["state"] == {
        "layout": "board", "by": "stage", "where": '{"value":{"$gt":5}}', "sort": "value",
        "order": "desc", "columns": "title,value",
    }  # fmt: skip
    assert shown["Sums"]["state"] == {
        "layout": "chart", "by": "day", "period": "month", "figure": "value.sum", "chart": "bar",
    }  # fmt: skip
    assert shown["Day"]["state"] == {"tiles": tiles}

    other = server.user(roles={"declared": ["other"]})
    assert set(list_views(other, "declared")) == {"Pipeline", "Day"}
    assert set(list_views(server.user(roles={"declared": ["lead"]}), "declared")) == set(shown)
    assert list_views(server.user(), "declared") == {}
    path = f"{VIEWS}/{pipeline['id']}"
    assert server.admin.delete(path).status_code == 400
    reply = server.admin.put(path, json={"name": "X", "state": {}}, headers={"if-match": "*"})
    assert "the manifest declares the view 'Pipeline'" in reply.json()["error"]


def test_a_declared_view_keeps_its_id_and_goes_with_its_section(server: Server):
    server.install(make_manifest("kept", views=DECLARED))
    before = list_views(server.admin, "kept")
    changed = deepcopy(DECLARED[:1])
    changed[0]["columns"] = ["title"]
    server.install(make_manifest("kept", views=changed))
    after = list_views(server.admin, "kept")
    assert list(after) == ["Pipeline"]
    assert after["Pipeline"]["id"] == before["Pipeline"]["id"]
    assert after["Pipeline"]["version"] == 2
    server.install(make_manifest("kept", views=changed, version="0.0.2"))
    assert list_views(server.admin, "kept")["Pipeline"]["version"] == 2
    server.install(make_manifest("kept"))
    assert list_views(server.admin, "kept") == {}


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"views": [{"name": "V", "entity": "deels"}]}, "views[0].entity: the app has no entity"),
        ({"views": [DECLARED[0], {**DECLARED[1], "by": "dy"}]}, "views[1].by: deals has no field"),
        ({"views": [DECLARED[0], DECLARED[0]]}, "views[0].name: 'Pipeline' is declared twice"),
        ({"views": [{**DECLARED[0], "layout": "map"}]}, "views[0].layout: "),
        ({"views": [{**DECLARED[0], "colour": 1}]}, "views[0].colour: is not known"),
        ({"views": [{"entity": "deals"}]}, "views[0].name: is required"),
        (
            {"dashboards": [{"name": "D", "tiles": [{"kind": "view", "view": "V"}]}]},
            "dashboards[0].tiles[0].view: the manifest declares no view 'V'",
        ),
        (
            {"dashboards": [{"name": "D", "tiles": [{"kind": "bar", "entity": "deals"}]}]},
            "dashboards[0].tiles[0].by: is needed",
        ),
    ],
)
def test_what_a_manifest_declares_is_checked(server: Server, sections, sentence: str):
    reply = server.admin.post("/api/v1/apps", json=make_manifest("wrong", **sections))
    assert reply.status_code == 400
    assert sentence in reply.json()["error"]
    assert server.admin.get("/api/v1/apps/wrong").status_code == 404


def test_a_slip_in_the_name_of_a_role_is_refused(server: Server):
    views = [{**DECLARED[0], "role": "sellers"}]
    server.install(make_manifest("slips", views=views))  # its roles are made later
    server.admin.post("/api/v1/apps/slips/roles", json={"name": "seller", "permissions": []})
    server.admin.post("/api/v1/apps/slips/roles", json={"name": "lead", "permissions": []})
    server.install(make_manifest("slips", views=views, version="0.0.2"))  # as it was before

    wrong = make_manifest(
        "slips",
        views=[*views, {**DECLARED[1], "role": "leads"}],
        dashboards=[{"name": "Day", "role": "Seller", "tiles": TILES[:1]}],
    )
    for path in ("/api/v1/apps", "/api/v1/apps/schema/verify"):
        reply = server.admin.post(path, json=wrong)
        assert reply.status_code == 400, reply.text
        assert reply.json()["error"] == (
            "views[1].role: the app has no role 'leads'; did you mean 'lead'? "
            "A new role is made before a view is for it; "
            "dashboards[0].role: the app has no role 'Seller'; did you mean 'seller'? "
            "A new role is made before a view is for it"
        )
    assert set(list_views(server.admin, "slips")) == {"Pipeline"}

    right = make_manifest("slips", views=[{**DECLARED[0], "role": "seller"}, DECLARED[1]])
    server.install(right)
    new = [DECLARED[0] | {"role": "auditor"}]  # like none there is: it is made later
    server.install(make_manifest("slips", views=new))


def test_views_follow_renames_and_sections_may_name_what_was(server: Server):
    tiles = [TILES[0], {**TILES[1], "where": {"stage": "Lead"}}]
    server.install(
        make_manifest("moved", views=DECLARED, dashboards=[{"name": "Day", "tiles": tiles}])
    )
    saved = {"app": "moved", "name": "Mine", "entity": "deals", "state": PIPELINE}
    own = server.admin.post(VIEWS, json=saved).json()["id"]
    saved = {"app": "moved", "name": "Own day", "state": {"tiles": tiles}}
    own_day = server.admin.post(VIEWS, json=saved).json()["id"]

    manifest_path = "/api/v1/apps/moved/manifest"
    etag = server.admin.get(manifest_path).headers["etag"]
    operations = [
        {"op": "rename_field", "entity": "deals", "field": "stage", "name": "state"},
        {"op": "rename_entity", "entity": "deals", "name": "chances"},
    ]
    edit = {"operations": operations}
    headers = {"if-match": etag}
    reply = server.admin.post(f"{manifest_path}/edit", json=edit, headers=headers)
    assert reply.status_code == 200, reply.text
    shown = list_views(server.admin, "moved")
    assert (shown["Pipeline"]["entity"], shown["Pipeline"]["state"]["by"]) == ("chances", "state")
    assert shown["Day"]["state"]["tiles"][1]["where"] == {"state": "Lead"}
    view = server.admin.get(f"{VIEWS}/{own}").json()
    assert (view["entity"], view["state"]["by"]) == ("chances", "state")
    tile = server.admin.get(f"{VIEWS}/{own_day}").json()["state"]["tiles"][1]
    assert (tile["entity"], tile["by"], tile["where"]) == ("chances", "state", {"state": "Lead"})

    # The section still has the former names: the next edit is not refused for them.
    headers = {"if-match": reply.headers["etag"]}
    edit = {"operations": [{"op": "set", "key": "name", "value": "Moved"}]}
    assert server.admin.post(f"{manifest_path}/edit", json=edit, headers=headers).is_success
    assert list_views(server.admin, "moved")["Pipeline"]["state"]["by"] == "state"


def test_a_removed_field_of_a_declared_view_is_named(server: Server):
    server.install(make_manifest("less", views=DECLARED))
    etag = server.admin.get("/api/v1/apps/less/manifest").headers["etag"]
    edit = {"operations": [{"op": "remove_field", "entity": "deals", "field": "stage"}]}
    reply = server.admin.post(
        "/api/v1/apps/less/manifest/edit", json=edit, headers={"if-match": etag}
    )
    assert reply.status_code == 400
    assert "views[0].by: deals has no field 'stage'" in reply.json()["error"]


def test_a_view_that_a_manifest_declares_is_exported(crm: Server):
    manifest = deepcopy(CRM) | {"views": [{"name": "All", "entity": "deals", "columns": ["title"]}]}
    crm.install(manifest)
    view_id = list_views(crm.admin, "crm")["All"]["id"]
    reply = crm.admin.post("/api/v1/apps/crm/exports", json={"view": view_id})
    assert reply.status_code == 201, reply.text
    crm.install(CRM)


def test_an_exported_view_is_in_its_order(crm: Server):
    state = {"group": "stage", "sort": "value,title", "order": "desc,asc", "columns": "stage,value"}
    view_id = save(crm, state).json()["id"]
    link = crm.admin.post("/api/v1/apps/crm/exports", json={"view": view_id})
    assert link.status_code == 201, link.text
    address = link.json()["url"]
    head, *lines = httpx.get(address).text.splitlines()
    assert head == "id,value,stage"
    rows = [(stage, -int(value)) for _, value, stage in (line.split(",") for line in lines)]
    assert rows == sorted(rows)
    assert len(rows) == 6


def test_what_was_installed_while_the_console_was_off_is_declared_later(
    make_server, tmp_path: Path
):
    off = make_server({"plugins": {"console": {"enabled": False}}}, data_dir=tmp_path)
    off.install(make_manifest("late", views=DECLARED))
    on = make_server(dsn=off.dsn, data_dir=tmp_path)
    assert set(list_views(on.login(off.admin.username), "late")) == {"Pipeline", "Sums"}


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"views": [{"name": "V", "entity": "deels"}]}, "views[0].entity: the app has no entity"),
        ({"views": [{**DECLARED[1], "by": "dy"}]}, "views[0].by: deals has no field 'dy'"),
        (
            {"dashboards": [{"name": "D", "tiles": [{"kind": "list", "entity": "deals",
                                                     "columns": ["titel"]}]}]},
            "dashboards[0].tiles[0].columns[0]: deals has no field 'titel'",
        ),
    ],
)  # fmt: skip
def test_a_plan_is_refused_as_the_install_is(server: Server, sections, sentence: str):
    app_id = "planned"
    server.install(make_manifest(app_id))
    wrong = make_manifest(app_id, **sections)
    verified = server.admin.post("/api/v1/apps/schema/verify", json=wrong)
    installed = server.admin.post("/api/v1/apps", json=wrong)
    operations = [{"op": "set", "key": key, "value": value} for key, value in sections.items()]
    path = f"/api/v1/apps/{app_id}/manifest/edit"
    match = {"if-match": "*"}
    planned = server.admin.post(
        path, json={"operations": operations, "dryRun": True}, headers=match
    )
    for answer in (verified, installed, planned):
        assert answer.status_code == 400
        assert answer.json()["error"] == installed.json()["error"]
    assert sentence in installed.json()["error"]
    assert list_views(server.admin, app_id) == {}


def test_a_plan_that_takes_away_what_a_view_shows_names_it(server: Server):
    server.install(make_manifest("plans", views=DECLARED))
    edit = {"operations": [{"op": "remove_field", "entity": "deals", "field": "stage"}],
            "dryRun": True}  # fmt: skip
    path = "/api/v1/apps/plans/manifest/edit"
    reply = server.admin.post(path, json=edit, headers={"if-match": "*"})
    assert reply.status_code == 400
    assert "views[0].by: deals has no field 'stage'" in reply.json()["error"]
