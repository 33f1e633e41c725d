"""Bounds of time: a statement that takes too long, and a request that waits for its twin."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Any

import httpx
import psycopg
import pytest

from kernel.testing import Postgres, Server, running_server
from tests.plugins.data.conftest import overrides
from tests.plugins.data.shop import COMPANIES, DEALS, add, install, query
from tests.plugins.data.support import refused


@pytest.fixture(scope="module")
def shop(postgres: Postgres) -> Generator[Server]:
    tree = overrides()
    tree["database"] = {"statement_timeout": 1.0, "lock_timeout": 20.0}
    with running_server(postgres, tree) as running:
        install(running)
        yield running


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        {"where": {"title": {"$ilike": "%x%"}}},
        {"groupBy": ["title"]},
        {"expand": ["contact_id"]},
        {"where": {"contact_id": {"$has": {}}}},
    ],
    ids=["where", "aggregate", "expand", "relation"],
)
def test_a_statement_that_takes_too_long_is_503(shop: Server, body: dict[str, Any]):
    """By default after 10 s. A lock of another transaction simulates a long read."""
    add(shop.admin, DEALS, title="x")
    with psycopg.connect(shop.dsn) as other:
        other.execute("lock table shop.deals in access exclusive mode")
        began = time.monotonic()
        said = refused(shop.admin.post(f"{DEALS}/query", json=body), 503)
        other.rollback()
    assert said == "a statement took longer than it may"
    assert time.monotonic() - began < 5
    assert shop.admin.post(f"{DEALS}/query", json=body).status_code == 200


@pytest.mark.slow
def test_a_request_waits_for_its_twin_and_is_503_after_ten_seconds(
    shop: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("plugins.idempotency.service.WAIT_SECONDS", 0.6)
    found: list[httpx.Response] = []

    def send() -> None:
        headers = {"idempotency-key": "twin"}
        found.append(shop.admin.post(COMPANIES, json={"name": "twin"}, headers=headers))

    with psycopg.connect(shop.dsn) as other:
        # The first one has its key, and waits for a lock of another transaction.
        other.execute("lock table shop.companies in access exclusive mode")
        first = threading.Thread(target=send)
        first.start()
        first.join(0.3)
        send()
        assert refused(found[0], 503)
        other.rollback()
        first.join()
    assert found[1].status_code in (201, 503)
    send()
    assert found[2].status_code == 201
    assert query(shop.admin, COMPANIES)["total"] == 1
