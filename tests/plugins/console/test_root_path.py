"""The console below the path of a proxy: `[server] root_path`."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Server, ServerOptions
from kernel.testing.servers import PASSWORD
from tests.plugins.console.browser import Pages, chromium, needs_browser

pytestmark = [needs_browser, pytest.mark.slow]

ROOT = "/tools/caudex"


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    return {"config": {"server": {"root_path": ROOT}}}


def test_everything_is_asked_for_below_the_path(crm: Server):
    outside = list[str]()

    def note(request: Any) -> None:
        if not request.url.startswith(f"{crm.url}{ROOT}/"):
            outside.append(request.url)

    with chromium() as browser:
        page = Pages(browser).new()
        page.on("request", note)
        page.goto(f"{crm.url}{ROOT}/")
        page.fill("[name=username]", "admin")
        page.fill("[name=password]", PASSWORD)
        page.click("button:has-text('Sign in')")
        page.wait_for_selector(".who")
        page.goto(f"{crm.url}{ROOT}/console/#/data/crm/companies")
        page.wait_for_selector("text=Bolt & Co")
        page.reload()
        page.wait_for_selector("text=Bolt & Co")
    assert [url for url in outside if not url.startswith("data:")] == []
