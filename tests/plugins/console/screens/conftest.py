"""One server and one browser for all tests of the screens that a process runs."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Postgres, Server
from kernel.testing.options import ServerOptions
from kernel.testing.servers import run_server
from tests.plugins.console.browser import OpenTab, Pages, Tab, chromium, missing, tabs
from tests.plugins.console.demo import GuestsPlugin

FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="package")
def server(postgres: Postgres) -> Generator[Server]:
    """A server with crons, OpenAPI, and pages of a plugin; `tools` is another name of its host."""
    plugins = {"cron": {}, "openapi": {}, "console": {"name": "Caudex"}}
    config = {"plugins": plugins, "server": {"allowed_hosts": ["tools"]}}
    options: ServerOptions = {"plugins": [GuestsPlugin], "config": config}
    with run_server(postgres, options) as running:
        yield running


@pytest.fixture(scope="package")
def browser(server: Server) -> Generator[Any]:
    """Start a Chromium, after the server: Playwright keeps an event loop in this thread, and a
    server cannot be made beside it."""
    assert server
    if reason := missing():
        pytest.skip(reason)
    with chromium() as started:
        yield started


@pytest.fixture(scope="package")
def pages(browser: Any) -> Pages:
    """The pages that tests take turns with."""
    return Pages(browser)


@pytest.fixture
def new_tab(pages: Pages, server: Server, request: pytest.FixtureRequest) -> Generator[OpenTab]:
    """Return a function that opens a tab."""
    name = re.sub(r"[^\w-]+", "-", request.node.name)
    failed = lambda: request.node.stash.get(FAILED, False)  # noqa: E731
    with tabs(pages, server, name, failed) as new:
        yield new


@pytest.fixture
def tab(new_tab: OpenTab, crm: Server) -> Tab:
    """A tab of the admin."""
    return new_tab().sign_in(crm.admin)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Remember a failure for the fixtures, which then keep a picture."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests that need a browser out of `make test`."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.slow)
