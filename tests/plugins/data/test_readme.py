"""The requests that the README of the plugin shows are ones that the server takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import plugins.data
from kernel.testing import Client, Server

FOLDER = Path(str(plugins.data.__file__)).parent
SHOWN: list[dict[str, Any]] = [
    json.loads(block)
    for block in re.findall(r"(?s)```json\n(.*?)```", (FOLDER / "README.md").read_text("utf-8"))
]
TEXT = {"type": "text"}
SALES = {
    "appId": "shown",
    "name": "Shown",
    "dataContract": [
        {
            "entityName": "companies",
            "fields": [{"name": "name", **TEXT}],
            "indexes": [{"columns": ["name"], "unique": True}],
        },
        {
            "entityName": "contacts",
            "fields": [
                {"name": "company_id", "type": "entity_link", "references": {"entity": "companies"}}
            ],
        },
        {
            "entityName": "deals",
            "fields": [
                {"name": "title", **TEXT},
                {"name": "stage", **TEXT},
                {"name": "industry", **TEXT},
                {"name": "value", "type": "number"},
                {"name": "closed_on", "type": "date"},
                *(
                    {"name": f"{name}_id", "type": "entity_link", "references": {"entity": entity}}
                    for name, entity in (("company", "companies"), ("contact", "contacts"))
                ),
            ],
            "search": {"fields": ["title"], "language": "english"},
        },
    ],
}


@pytest.fixture(scope="module")
def admin(server: Server) -> Client:
    server.install(SALES)
    return server.admin


@pytest.mark.parametrize("body", SHOWN, ids=lambda body: next(iter(body)))
def test_a_shown_request_is_taken(admin: Client, body: dict[str, Any]):
    path = "batch" if "operations" in body else "collections/deals/query"
    answer = admin.post(f"/api/v1/apps/shown/{path}", json=body)
    assert answer.status_code == 200, answer.text


def test_there_are_requests_for_each_part() -> None:
    assert {"expand", "groupBy", "search", "operations"} <= {name for b in SHOWN for name in b}
