"""Manifests in a few words, and installs of them."""

from __future__ import annotations

import itertools
from typing import Any

from kernel.testing import Client

_count = itertools.count(1)


def fresh_id() -> str:
    return f"app{next(_count)}"


def field(name: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def link(name: str, entity: str, **more: Any) -> dict[str, Any]:
    return field(name, "entity_link", references={"entity": entity}, **more)


def entity(name: str, *fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"entityName": name, "fields": list(fields), **more}


def manifest(app_id: str, *entities: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"appId": app_id, "name": app_id.title(), "dataContract": list(entities), **more}


def install(client: Client, wanted: dict[str, Any]) -> dict[str, Any]:
    """Install, and check that a second install would change nothing."""
    answer = client.post("/api/v1/apps", json=wanted)
    assert answer.status_code == 200, answer.text
    assert changes(client, wanted) == []
    return answer.json()


def refused(client: Client, wanted: dict[str, Any]) -> str:
    """Why an install is refused; nothing may have changed."""
    answer = client.post("/api/v1/apps", json=wanted)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def changes(client: Client, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post("/api/v1/apps/schema/verify", json=wanted)
    assert answer.status_code == 200, answer.text
    assert answer.json()["compliant"] is (answer.json()["changes"] == [])
    return answer.json()["changes"]


def kinds(client: Client, wanted: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(c["entity"], c["change_type"], c["column"]) for c in changes(client, wanted)]
