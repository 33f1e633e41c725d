"""The CRM's deals in PocketBase (Go, SQLite), with a login and a rule that asks for one."""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec

from tests.benchmarks.stage import PASSWORD, Stage

from .program import Peer, free_port, program, serving

ADMIN = "admin@example.com"
USER = "bench@example.com"
PORTION = 500
SIGNED_IN = "@request.auth.id != ''"
COMPANY = ("name", "industry", "website", "phone", "address", "notes")
COMPANIES = {
    "name": "companies",
    "type": "base",
    **dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule"), SIGNED_IN),
    "fields": [{"name": name, "type": "text"} for name in COMPANY],
}
DEALS = {
    "name": "deals",
    "type": "base",
    **dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule"), SIGNED_IN),
    "fields": [
        {"name": "title", "type": "text", "required": True},
        {"name": "value", "type": "number"},
        {"name": "stage", "type": "text", "required": True},
        {"name": "close_date", "type": "date"},
        {"name": "notes", "type": "text"},
        {"name": "place", "type": "number"},
        {"name": "created", "type": "autodate", "onCreate": True},
        {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
    ],
    "indexes": [
        "create index deals_place on deals (place)",
        "create index deals_stage on deals (stage, place)",
        "create index deals_company on deals (company)",
    ],
}
SETTINGS = {
    "batch": {"enabled": True, "maxRequests": 1000, "timeout": 60, "maxBodySize": 64_000_000},
    "logs": {"maxDays": 0},  # it stores a line for each request otherwise
    "rateLimits": {"enabled": False},
}
ROWS = """
select (json_agg(json_build_object('title', title, 'value', value, 'stage', stage,
    'close_date', close_date, 'notes', notes, 'company', company_id)
    order by created_at desc, id desc))::text
from crm.deals
"""
LINKED = """
select (json_agg(json_build_object('key', id, 'name', name, 'industry', industry)))::text
from crm.companies
"""


class PocketBase:
    """A running PocketBase with the same deals; `token` is a user's, `ids` are of the oldest."""

    def __init__(self, peer: Peer, token: str, ids: Sequence[str]) -> None:
        self.peer, self.token, self.ids = peer, token, ids


@contextmanager
def pocketbase(stage: Stage, ids: int) -> Generator[PocketBase]:
    """The running server, with a copy of the deals; `place` is their order, newest first."""
    url, data = f"http://127.0.0.1:{free_port()}", stage.folder / "pocketbase"
    base = [program("pocketbase"), f"--dir={data}", f"--migrationsDir={data}/migrations"]
    subprocess.run(
        [*base, "superuser", "upsert", ADMIN, PASSWORD], check=True, capture_output=True, timeout=60
    )
    command = [*base, "serve", f"--http={url.removeprefix('http://')}"]
    log = stage.folder / "pocketbase.log"
    with (
        serving(command, log, url, "/api/health", {}) as peer,
        httpx.Client(base_url=f"{url}/api", timeout=120) as http,
    ):
        _sign_in(http, "_superusers", ADMIN)
        _send(http, "PATCH", "/settings", SETTINGS)
        companies = _send(http, "POST", "/collections", COMPANIES)["id"]
        link = {"name": "company", "type": "relation", "collectionId": companies, "maxSelect": 1}
        deals = {**DEALS, "fields": [*DEALS["fields"], link]}
        _send(http, "POST", "/collections", deals)
        account = {"email": USER, "password": PASSWORD, "passwordConfirm": PASSWORD}
        _send(http, "POST", "/collections/users/records", account)
        linked = msgspec.json.decode(stage.ask(LINKED))
        keys = [each.pop("key") for each in linked]
        known = dict(zip(keys, _fill(http, linked, "companies"), strict=True))
        rows = msgspec.json.decode(stage.ask(ROWS))
        for place, row in enumerate(rows):
            row |= {"place": place, "company": known[row["company"]]}
        made = _fill(http, rows, "deals")
        yield PocketBase(peer, _sign_in(http, "users", USER), made[-ids:][::-1])


def batch(rows: Sequence[object], collection: str = "deals") -> dict[str, object]:
    """The body that creates many records at once."""
    url = f"/api/collections/{collection}/records"
    return {"requests": [{"method": "POST", "url": url, "body": row} for row in rows]}


def _fill(http: httpx.Client, rows: Sequence[dict[str, Any]], collection: str) -> list[str]:
    ids: list[str] = []
    for start in range(0, len(rows), PORTION):
        answer = _send(http, "POST", "/batch", batch(rows[start : start + PORTION], collection))
        ids += [one["body"]["id"] for one in answer]
    return ids


def _sign_in(http: httpx.Client, collection: str, name: str) -> str:
    account = {"identity": name, "password": PASSWORD}
    token = _send(http, "POST", f"/collections/{collection}/auth-with-password", account)["token"]
    http.headers["authorization"] = token
    return token


def _send(http: httpx.Client, method: str, path: str, body: object) -> Any:
    answer = http.request(method, path, json=body)
    if not answer.is_success:
        raise RuntimeError(f"PocketBase: {method} {path}: {answer.status_code} {answer.text}")
    return answer.json()
