"""A server with the CRM example, and a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Server

from .browser import OpenTab, chromium, missing, tabs

CRM = json.loads(Path("examples/crm/manifest.json").read_text("utf-8"))
FAILED = pytest.StashKey[bool]()
DATA = "/api/v1/apps/crm/collections"


@pytest.fixture(scope="module")
def browser(server: Server) -> Generator[Any]:
    """Start a Chromium, after the module's server: Playwright keeps an event loop in this thread,
    and a server cannot be made beside it."""
    assert server
    if reason := missing():
        pytest.skip(reason)
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def crm(server: Server) -> Server:
    """A server with the CRM, three companies and six deals."""
    server.install(CRM)
    names = [("Acme", "Technology"), ("Bolt & Co", "Finance"), ("Cobalt", "Retail")]
    companies = server.admin.post(
        f"{DATA}/companies/bulk", json=[{"name": name, "industry": of} for name, of in names]
    ).json()
    deals = [
        {
            "title": f"Deal {n}",
            "value": n * 1000,
            "stage": ("Lead", "Qualified", "Closed Won")[n % 3],
            "company_id": companies[n % 3]["id"],
            "close_date": f"2031-0{n + 1}-15",
        }
        for n in range(6)
    ]
    assert server.admin.post(f"{DATA}/deals/bulk", json=deals).status_code == 201
    return server


@pytest.fixture
def new_tab(browser: Any, server: Server, request: pytest.FixtureRequest) -> Generator[OpenTab]:
    """Return a function that opens a tab of the module's server."""
    name = re.sub(r"[^\w-]+", "-", request.node.name)
    with tabs(browser, server, name, lambda: request.node.stash.get(FAILED, False)) as new:
        yield new


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Remember a failure for the fixtures, which then keep a picture."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests that need a browser out of `make test`: each takes some seconds."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.get_closest_marker("skipif"):
            item.add_marker(pytest.mark.slow)
