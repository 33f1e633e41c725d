"""The app of the tests that go beyond single records: companies, contacts, deals."""

from __future__ import annotations

import uuid
from typing import Any

from kernel.testing import Client, Server

MANIFEST: dict[str, Any] = {
    "appId": "shop",
    "name": "Shop",
    "dataContract": [
        {
            "entityName": "companies",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {"name": "industry", "type": "text"},
                {"name": "founded_at", "type": "timestamp"},
                {"name": "note", "type": "text"},
            ],
        },
        {
            "entityName": "contacts",
            "fields": [
                {"name": "email", "type": "text"},
                {
                    "name": "company_id",
                    "type": "entity_link",
                    "references": {"entity": "companies"},
                },
                {"name": "boss_id", "type": "entity_link", "references": {"entity": "contacts"}},
            ],
            "indexes": [{"columns": ["email"], "unique": True}],
        },
        {
            "entityName": "deals",
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "value", "type": "number"},
                {"name": "stage", "type": "text"},
                {"name": "closed_on", "type": "date"},
                {"name": "won_at", "type": "timestamp"},
                {"name": "note", "type": "text"},
                {"name": "founded_at", "type": "text"},
                {"name": "details", "type": "json"},
                {"name": "contact_id", "type": "entity_link", "references": {"entity": "contacts"}},
                {"name": "owner_id", "type": "entity_link", "references": {"entity": "core:users"}},
            ],
        },
        {
            "entityName": "odd",
            "fields": [
                {"name": "fields", "type": "text"},
                {"name": "expand", "type": "text"},
                {"name": "etag", "type": "text"},
                {"name": "raw", "type": "text"},
                {
                    "name": "company_id",
                    "type": "entity_link",
                    "references": {"entity": "companies"},
                },
            ],
        },
    ],
}
BASE = "/api/v1/apps/shop/collections"
COMPANIES, CONTACTS, DEALS, ODD = (
    f"{BASE}/{name}" for name in ("companies", "contacts", "deals", "odd")
)


def install(server: Server, manifest: dict[str, Any] = MANIFEST) -> Client:
    """Install the app and return its admin."""
    answer = server.admin.post("/api/v1/apps", json=manifest)
    assert answer.status_code == 200, answer.text
    return server.admin


def holding(server: Server, *permissions: str, name: str = "") -> Client:
    """A user whose role on the app has just these permissions."""
    user = server.user()
    role = name or f"r{uuid.uuid4().hex[:8]}"
    body: dict[str, Any] = {"name": role, "permissions": list(permissions)}
    assert server.admin.post("/api/v1/apps/shop/roles", json=body).status_code == 200
    body = {"userId": user.id, "role": role}
    assert server.admin.post("/api/v1/apps/shop/roles/assign", json=body).status_code == 200
    return user


def add(client: Client, path: str, **values: Any) -> dict[str, Any]:
    """Create a record, which must succeed."""
    answer = client.post(path, json=values)
    assert answer.status_code == 201, answer.text
    return answer.json()


def query(client: Client, path: str, **body: Any) -> Any:
    """Query, which must succeed, and return the reply."""
    answer = client.post(f"{path}/query", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def empty(server: Server) -> None:
    """Empty the tables."""
    server.sql("truncate shop.odd, shop.deals, shop.contacts, shop.companies")
