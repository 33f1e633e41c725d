"""The times that the console promises; `make console-figures` prints them beside its size."""

import os

import pytest

from kernel.testing import Server
from tests.plugins.console.browser import OpenTab, needs_browser
from tests.plugins.console.figures import APP, measure_all, write_table

pytestmark = needs_browser


def test_the_times_that_are_promised_hold(
    server: Server, new_tab: OpenTab, capsys: pytest.CaptureFixture[str]
):
    if not os.environ.get("CAUDEX_TEST_FIGURES"):
        pytest.skip("times say nothing beside other tests: make console-figures measures them")
    assert server.admin.username  # is made before the tab
    figures = measure_all(server, lambda: new_tab().sign_in(server.admin))
    with capsys.disabled():
        print(f"\n{write_table(figures)}")
    server.admin.delete(f"/api/v1/apps/{APP}")
    slow = [figure for figure in figures if not figure.holds]
    assert not slow
