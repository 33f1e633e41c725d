"""Any identifier may be a field's name or an entity's, also one that a statement uses itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import plugins.apps.schema.checks
import plugins.data.statements.column_lists
import plugins.data.statements.entity
import plugins.data.statements.lists
import plugins.data.statements.write_statements
from kernel.testing import Server
from plugins.apps.manifest.fields import SERVER_COLUMNS
from plugins.data.models import PARAMETERS

OWN = ("id", "created_at", "updated_at")
STATEMENTS = "".join(
    Path(str(module.__file__)).read_text("utf-8")
    for module in (
        plugins.apps.schema.checks,
        plugins.data.statements.column_lists,
        plugins.data.statements.entity,
        plugins.data.statements.lists,
        plugins.data.statements.write_statements,
    )
)
FIELDS = sorted(
    {*re.findall(r"\b[a-z][a-z0-9_]{0,40}\b", STATEMENTS), *"abcdefghijklmnopqrstuvwxyz", "made"}
    - {*OWN, *SERVER_COLUMNS}
)
"""Every word of the code that makes the statements, and what could be an alias."""
ENTITIES = sorted(
    {*re.findall(r"\b(?:as|from|with|,) ([a-z][a-z0-9_]*)\b", STATEMENTS), *"abcdeorstx", "made"}
)


@pytest.mark.slow
def test_a_field_may_have_any_name(lab: Server) -> None:
    assert {"t", "x", "json", "place", "settings", "value", "r"} <= {*FIELDS}
    parts = {"even": FIELDS[::2], "odd": FIELDS[1::2]}  # an entity has 500 fields at most
    made = {"appId": "odd_fields", "name": "Odd", "dataContract": [
        {"entityName": entity, "fields": [{"name": name, "type": "number"} for name in names]}
        for entity, names in parts.items()
    ]}  # fmt: skip
    lab.install(made)
    for entity, names in parts.items():
        walk(lab, f"/api/v1/apps/odd_fields/collections/{entity}", names)


@pytest.mark.slow
def test_an_entity_may_have_any_name(lab: Server) -> None:
    assert {"o", "t", "x", "made"} <= {*ENTITIES}

    def manifest(kind: dict[str, Any]) -> dict[str, Any]:
        fields = [{"name": "name", "type": "number"}, {"name": "link", **kind}]
        return {"appId": "odd_entities", "name": "Odd", "dataContract": [
            {"entityName": name, "fields": fields} for name in ENTITIES
        ]}  # fmt: skip

    lab.install(manifest({"type": "text"}))
    for name in ENTITIES:
        walk(lab, f"/api/v1/apps/odd_entities/collections/{name}", ["name"])
    # Existing values are checked before the field becomes a link.
    lab.install(manifest({"type": "entity_link", "references": {"entity": "core:users"}}))


def walk(server: Server, path: str, fields: list[str]) -> None:
    """Do with a record what can be done with one."""
    admin, whole = server.admin, dict.fromkeys(fields, 1)
    one = admin.post(path, json=whole)
    assert one.status_code == 201, one.text
    many = admin.post(f"{path}/bulk", json=[whole, dict.fromkeys(fields, 2)])
    assert many.status_code == 201, many.text
    assert [row[fields[0]] for row in many.json()] == [1, 2]
    place = f"{path}/{one.json()['id']}"
    some = [name for name in fields[:: len(fields) // 20 + 1] if name not in PARAMETERS]
    for question in (
        place, path, f"{path}?limit=2", f"{path}?limit=2&after={one.json()['id']}",
        *(f"{path}?limit=5&sort={name}&{name}=1" for name in some),
    ):  # fmt: skip
        found = admin.get(question)
        assert found.status_code == 200, (question, found.text)
    where = {"where": {name: {"$gte": 1} for name in fields}}
    assert admin.post(f"{path}/query", json=where).json()["total"] == 3
    changed = admin.patch(place, json=dict.fromkeys(fields, 3))
    assert changed.status_code == 200, changed.text
    assert {name: changed.json()[name] for name in fields} == dict.fromkeys(fields, 3)
    assert admin.delete(place).status_code == 200


@pytest.fixture(autouse=True)
def swept(lab: Server) -> Any:
    """Remove the apps of a test."""
    yield
    for app_id in ("odd_fields", "odd_entities"):
        lab.admin.delete(f"/api/v1/apps/{app_id}")
