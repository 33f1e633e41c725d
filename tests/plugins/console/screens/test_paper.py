"""What comes out of a printer: a table, a record and a dashboard."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from kernel.testing import Server
from tests.plugins.console.browser import OpenTab, Tab, needs_browser
from tests.plugins.console.conftest import DATA

pytestmark = needs_browser
PAPER: Any = {"width": 720, "height": 1000}
"""A4 between its margins, in pixels of style sheets."""
WHITE = (255, 255, 255)
CUT_OFF = """() => [...document.querySelectorAll('main *')]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => element.outerHTML.slice(0, 120)).slice(0, 3)"""
"""What is wider than the paper."""
HIDDEN = ".side, .top, .toasts, .datahead button, .gr .pick, .savebar"


@pytest.fixture
def dark(crm: Server, new_tab: OpenTab) -> Tab:
    """A tab of someone who likes it dark: paper stays white."""
    return new_tab(color_scheme="dark").sign_in(crm.admin)


def to_paper(tab: Tab) -> None:
    tab.page.emulate_media(media="print")
    tab.page.set_viewport_size(PAPER)


def assert_printable(tab: Tab) -> None:
    """Nothing to press is on the paper, which is white, and nothing is cut off at its right."""
    page = tab.page
    shown = [element.is_visible() for element in page.query_selector_all(HIDDEN)]
    assert not any(shown)
    assert page.evaluate(CUT_OFF) == []
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        assert picture.convert("RGB").getpixel((2, 2)) == WHITE


def test_a_table_is_printed_in_columns_that_fit(crm: Server, dark: Tab):
    page = dark.open("data/crm/deals", ready=".gs .gr").page
    rows = page.locator(".gs .gr").count()
    to_paper(dark)
    assert page.locator(".gs .gr").count() >= rows
    title = page.locator("[data-column=title]").bounding_box()
    cell = page.locator("#c-0-0").bounding_box()
    assert abs(title["x"] - cell["x"]) < 2
    assert_printable(dark)


def test_a_record_is_printed_with_its_history(crm: Server, dark: Tab):
    notes = "line\n" * 30 + "the last line"
    body = {"title": "On paper", "stage": "Lead", "notes": notes}
    deal = crm.admin.post(f"{DATA}/deals", json=body).json()["id"]
    page = dark.open(f"record/crm/deals/{deal}", ready=".history li").page
    to_paper(dark)
    assert page.is_visible("h1:has-text('On paper')")
    assert page.is_visible(".history li")
    notes = page.locator("#f-notes")
    assert notes.evaluate("element => element.scrollHeight - element.clientHeight") <= 2
    assert_printable(dark)


def test_a_dashboard_is_printed(crm: Server, dark: Tab):
    tiles = [
        {"kind": "number", "entity": "deals"},
        {"kind": "bar", "entity": "deals", "by": "stage"},
    ]
    view = {"app": "crm", "name": "Paper", "state": {"tiles": tiles}}
    dashboard = crm.admin.post("/api/v1/console/views", json=view).json()["id"]
    page = dark.open(f"dashboards/crm/{dashboard}", ready=".tile .figures").page
    to_paper(dark)
    assert page.is_visible(".tile .figures")
    assert_printable(dark)
