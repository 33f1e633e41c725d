"""A body that is refused is freed with its reply: no cycle of an error and a frame keeps it."""

from __future__ import annotations

import copy
import http.client
import json
from collections.abc import Generator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from kernel.testing import Postgres, Server, running_server
from tests.garbage import large_in_cycles
from tests.plugins.data.conftest import overrides
from tests.plugins.data.shop import BASE, CONTACTS, MANIFEST, add, empty, install

LARGE = 200_000
TEXT = "x" * LARGE
ROW = {"email": "taken", "note": TEXT}
MISSING = "00000000-0000-4000-8000-000000000000"
BATCH = "/api/v1/apps/shop/batch"
MANY = f"{BASE}/many"
"""An entity with so many fields that a bulk is coerced in a thread."""


class Sent(NamedTuple):
    """A request that is refused, and what its reply says."""

    path: str
    body: Any
    said: str
    method: str = "POST"
    kind: str = "application/json"


def operation(op: str = "create", **more: Any) -> dict[str, Any]:
    return {"op": op, "entity": "contacts", "data": ROW, **more}


def wide_rows() -> list[dict[str, Any]]:
    row = {f"f{number}": number for number in range(20)}
    return [*[{**row, "note": TEXT[:1000]}] * 600, {**row, "f0": "no number", "note": TEXT}]


TAKEN = "this value is already taken"
REFUSED = {
    "create": Sent(CONTACTS, ROW, TAKEN),
    "link": Sent(CONTACTS, {"note": TEXT, "company_id": MISSING}, "no such companies record"),
    "change": Sent(f"{CONTACTS}/{{other}}", ROW, TAKEN, "PATCH"),
    "bulk": Sent(f"{CONTACTS}/bulk", [{"email": "new", "note": TEXT}, ROW], TAKEN),
    "wide bulk": Sent(f"{MANY}/bulk", wide_rows(), "a number is wanted"),
    "upsert": Sent(f"{CONTACTS}/bulk?on=email&then=fail", [ROW], TAKEN),
    "by condition": Sent(
        f"{CONTACTS}/update-where", {"where": {}, "expect": 2, "set": ROW}, "already taken"
    ),
    "batch": Sent(BATCH, {"operations": [operation()]}, TAKEN),
    "wide batch": Sent(
        BATCH,
        {"operations": [{"op": "create", "entity": "many", "data": row} for row in wide_rows()]},
        "a number is wanted",
    ),
    "mixed batch": Sent(
        BATCH, {"operations": [operation("update", id="{other}"), operation()]}, TAKEN
    ),
    "import": Sent(f"{CONTACTS}/import", f"email,note\ntaken,{TEXT}\n", TAKEN, kind="text/csv"),
    "upserting import": Sent(
        f"{CONTACTS}/import?on=email",
        json.dumps({**ROW, "company_id": MISSING}),
        "no such companies record",
        kind="application/x-ndjson",
    ),
    "header of an import": Sent(f"{CONTACTS}/import", f"emial\n{TEXT}\n", "emial", kind="text/csv"),
}


@pytest.fixture(scope="module", params=["one statement", "transaction"])
def shop(request: pytest.FixtureRequest, postgres: Postgres) -> Generator[Server]:
    manifest = copy.deepcopy(MANIFEST)
    manifest["dataContract"][1]["fields"].append({"name": "note", "type": "text"})
    fields = [{"name": f"f{number}", "type": "number"} for number in range(20)]
    many = {"entityName": "many", "fields": [*fields, {"name": "note", "type": "text"}]}
    manifest["dataContract"].append(many)
    plugins = ["ShopWitnessPlugin"] if request.param == "transaction" else []
    with running_server(postgres, overrides(*plugins)) as running:
        install(running, manifest)
        yield running


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_body_is_freed_with_its_reply(shop: Server, name: str):
    sent = REFUSED[name]
    empty(shop)
    add(shop.admin, CONTACTS, email="taken")
    other = add(shop.admin, CONTACTS, email="other")["id"]
    body = sent.body if isinstance(sent.body, str) else json.dumps(sent.body)
    raw = body.replace("{other}", other).encode()

    def refuse() -> None:
        for _ in range(2):  # the first one also fills caches
            connection = http.client.HTTPConnection(urlsplit(shop.url).netloc)
            headers = {
                "authorization": shop.admin.headers["authorization"],
                "content-type": sent.kind,
            }
            connection.request(sent.method, sent.path.replace("{other}", other), raw, headers)
            assert sent.said in connection.getresponse().read().decode()
            connection.close()

    assert large_in_cycles(refuse, LARGE) == 0
