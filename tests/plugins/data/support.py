"""The app that the tests of records use: every type, links, an enum, defaults, text ids."""

from __future__ import annotations

from typing import Any

import httpx

from kernel.testing import Client, Server

MANIFEST: dict[str, Any] = {
    "appId": "lab",
    "name": "Lab",
    "dataContract": [
        {
            "entityName": "teams",
            "fields": [
                {"name": "id", "type": "text"},
                {"name": "name", "type": "text", "required": True},
            ],
        },
        {
            "entityName": "samples",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {"name": "code", "type": "text"},
                {"name": "amount", "type": "number"},
                {"name": "ready", "type": "boolean"},
                {"name": "taken_on", "type": "date"},
                {"name": "seen_at", "type": "timestamp"},
                {"name": "details", "type": "json"},
                {"name": "ticket", "type": "uuid"},
                {"name": "tags", "type": "[text]"},
                {"name": "sizes", "type": "[number]"},
                {"name": "scan", "type": "file"},
                {"name": "kind", "type": "text", "enum_values": ["Blood", "Soil", "Water's"]},
                {"name": "parent", "type": "entity_link", "references": {"entity": "samples"}},
                {"name": "team", "type": "entity_link", "references": {"entity": "teams"}},
                {"name": "level", "type": "number", "default_value": 3},
                {"name": "state", "type": "text", "required": True, "default_value": "new"},
            ],
            "indexes": [{"columns": ["code"], "unique": True}],
        },
        {
            "entityName": "notes",
            "fields": [
                {"name": "body", "type": "text"},
                {
                    "name": "sample",
                    "type": "entity_link",
                    "required": True,
                    "references": {"entity": "samples"},
                },
            ],
        },
        {
            "entityName": "papers",
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "front", "type": "text", "default_value": "x" * 60_000},
                {"name": "back", "type": "text", "default_value": "x" * 60_000},
            ],
        },
    ],
}
FIELDS = [field["name"] for field in MANIFEST["dataContract"][1]["fields"]]
SAMPLES = "/api/v1/apps/lab/collections/samples"
TEAMS = "/api/v1/apps/lab/collections/teams"
PAPERS = "/api/v1/apps/lab/collections/papers"
NOTES = "/api/v1/apps/lab/collections/notes"


def installed(server: Server) -> Client:
    """Install the app and return its admin."""
    answer = server.admin.post("/api/v1/apps", json=MANIFEST)
    assert answer.status_code == 200, answer.text
    return server.admin


def create(client: httpx.Client, path: str = SAMPLES, **values: Any) -> dict[str, Any]:
    """Create a record, which must succeed."""
    answer = client.post(path, json={"name": "x", **values} if path == SAMPLES else values)
    assert answer.status_code == 201, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int = 400) -> str:
    """Check that a request was refused in the envelope, and return the sentence."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["error"], body
    return body["error"]


def names(answer: httpx.Response) -> list[str]:
    """The names in a list."""
    assert answer.status_code == 200, answer.text
    return [record["name"] for record in answer.json()]


def clear(server: Server) -> None:
    """Empty the tables."""
    server.sql("truncate lab.notes, lab.papers, lab.samples, lab.teams")
