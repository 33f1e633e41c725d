"""Apps that come and go while roles are another's affair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kernel.public import ACCESS, Actor, Grant, Needs
from kernel.testing import Client, FakeAccess, MakeServer

CONTACTS = {"entityName": "contacts", "fields": [{"name": "name", "type": "text"}]}


class Everyone(FakeAccess):
    """ACCESS of a server on which everyone may do everything."""

    async def authorize(self, actor: Actor, needs: Needs, path: Mapping[str, str]) -> Grant:
        return Grant()

    async def is_core_admin(self, user_id: str | None) -> bool:
        return True

    async def is_app_admin(self, user_id: str | None, app_id: str) -> bool:
        return True


def install(client: Client, app_id: str) -> None:
    manifest = {"appId": app_id, "name": app_id, "dataContract": [CONTACTS]}
    client.post("/api/v1/apps", json=manifest).raise_for_status()


def holders(client: Client, app_id: str) -> list[dict[str, Any]]:
    """Who has which role on an app, as the admin of core sees it."""
    return client.get(f"/api/v1/apps/{app_id}/roles/assignments").raise_for_status().json()


@pytest.mark.slow
def test_who_had_a_role_on_a_former_app_has_none_on_its_successor(
    make_server: MakeServer, tmp_path: Path
):
    one = make_server(data_dir=tmp_path)
    former = one.user("former")
    for app_id in ("again", "gone", "kept"):
        install(one.admin, app_id)
        one.grant(former, app_id, "contacts.read")
        one.assign(former, app_id, "admin")
    kept = holders(one.admin, "kept")
    one.stop()
    services = {ACCESS: Everyone()}
    elsewhere = make_server(services=services, dsn=one.dsn, data_dir=tmp_path)
    client = elsewhere.login("admin")
    for app_id in ("again", "gone"):
        client.delete(f"/api/v1/apps/{app_id}").raise_for_status()
    install(client, "again")
    elsewhere.stop()
    two = make_server(dsn=one.dsn, data_dir=tmp_path)
    former, admin = two.login("former"), two.login("admin")
    assert former.get("/api/v1/apps/again/collections/contacts").status_code == 403
    assert former.get("/api/v1/apps/again/permissions").json() == {"roles": [], "permissions": []}
    assert holders(admin, "again") == []
    [role] = admin.get("/api/v1/apps/again/roles").json()
    assert role["name"] == "admin"
    assert admin.get("/api/v1/apps/again/collections/contacts").json() == []
    assert admin.get("/api/v1/apps/gone/roles").status_code == 404
    assert holders(admin, "kept") == kept
    assert former.get("/api/v1/apps/kept/collections/contacts").status_code == 200
