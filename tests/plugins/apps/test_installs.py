"""What was installed when: the manifests of an app, of which 50 are kept."""

from __future__ import annotations

from .support import entity, field, fresh_id, manifest


def test_every_install_is_kept_with_its_manifest(server):
    app = fresh_id()
    for version in ("1.0.0", "1.1.0"):
        body = manifest(app, entity("notes", field("text"))) | {"version": version}
        assert server.admin.post("/api/v1/apps", json=body).status_code == 200
    newest, first = server.admin.get(f"/api/v1/apps/{app}/manifests").json()
    assert [each["version"] for each in (newest, first)] == ["1.1.0", "1.0.0"]
    assert newest["by"] == server.admin.id
    assert newest["at"].endswith("Z")
    kept = server.admin.get(f"/api/v1/apps/{app}/manifests/{first['stamp']}")
    assert kept.json()["version"] == "1.0.0"
    assert server.admin.get(f"/api/v1/apps/{app}/manifests/999999").status_code == 404
    assert server.admin.get(f"/api/v1/apps/{app}/manifests/x").status_code == 400
    reader = server.user(permissions={app: ["notes.read"]})
    assert reader.get(f"/api/v1/apps/{app}/manifests").status_code == 403


def test_only_the_newest_are_kept(server):
    app = fresh_id()
    body = manifest(app, entity("notes", field("text")))
    assert server.admin.post("/api/v1/apps", json=body).status_code == 200
    server.sql(
        "insert into caudex_apps.manifests (app_id, stamp, version, manifest)"
        " select %s, -n, 'old', '{}' from generate_series(1, 80) as n",
        app,
    )
    assert server.admin.post("/api/v1/apps", json=body).status_code == 200
    found = server.admin.get(f"/api/v1/apps/{app}/manifests").json()
    assert len(found) == 50
    assert [each["version"] == "old" for each in found[:3]] == [False, False, True]
