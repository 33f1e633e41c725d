"""Undo of many records: of an import, an update and a delete, and the memory that it adds."""

from __future__ import annotations

import time

import httpx
import msgspec

from .beyond import FIELDS, NAMES
from .stage import Stage

RECORDS = 10_000
APP = "undos"
TABLE = f"/api/v1/apps/{APP}/collections/files"
MANIFEST = {
    "appId": APP,
    "name": "Undos",
    "dataContract": [{"entityName": "files", "fields": FIELDS}],
}


class Undos(msgspec.Struct):
    """Seconds on the clock of each undo, and MB that the server grew by in all of them."""

    of_import: float
    of_update: float
    of_delete: float
    memory_mb: float


def measure(stage: Stage, records: int = RECORDS) -> Undos:
    """Change as many records in three ways, and undo each."""
    stage.call("POST", "/api/v1/apps", MANIFEST)
    lines = [",".join(NAMES)]
    lines += [f"Deal {n},{n},Won,2025-01-{1 + n % 28:02},From a file." for n in range(records)]
    content = "\r\n".join(lines).encode()
    memory = stage.memory()
    imported = _send(stage, f"{TABLE}/import", content, "text/csv")
    of_import = _undo(stage, imported, records)
    _send(stage, f"{TABLE}/import", content, "text/csv")
    change = {"where": {}, "set": {NAMES[0]: "wrong", NAMES[1]: 0}, "max": records}
    updated = _send(stage, f"{TABLE}/update-where", msgspec.json.encode(change))
    of_update = _undo(stage, updated, records)
    everything = msgspec.json.encode({"where": {}, "max": records})
    deleted = _send(stage, f"{TABLE}/delete-where", everything)
    of_delete = _undo(stage, deleted, records)
    return Undos(of_import, of_update, of_delete, stage.memory() - memory)


def _send(stage: Stage, path: str, content: bytes, kind: str = "application/json") -> str:
    """Send a request, and return its id."""
    headers = {"authorization": f"Bearer {stage.token}", "content-type": kind}
    answer = httpx.post(stage.url + path, content=content, headers=headers, timeout=None)
    answer.raise_for_status()
    return answer.headers["x-request-id"]


def _undo(stage: Stage, request_id: str, records: int) -> float:
    began = time.perf_counter()
    answer = httpx.post(
        f"{stage.url}/api/v1/apps/{APP}/undo",
        json={"request": request_id},
        headers={"authorization": f"Bearer {stage.token}"},
        timeout=None,
    )
    seconds = time.perf_counter() - began
    if answer.json().get("undone") != records:
        raise RuntimeError(answer.text[:500])
    return seconds
