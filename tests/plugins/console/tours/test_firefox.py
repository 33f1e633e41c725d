"""The smoke tour in Firefox, over WebDriver BiDi, where it is installed."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from examples.crm.server import own_server
from kernel.testing import Server
from kernel.testing.servers import PASSWORD
from tests.plugins.console.browser import Pages, Tab, tabs
from tests.plugins.console.hand import Hand

OLDER = Path(__file__).with_name("older_firefox.cjs")
PROGRAMS = ("firefox-esr", "firefox")
OPTIONS: Any = {"permissions": [], "color_scheme": "null"}
"""Firefox knows no permissions of the clipboard; its own colour scheme is kept."""


def find_program() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def missing() -> str:
    """Return why Firefox cannot be driven here; empty where it can."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed (pip install playwright)"
    if find_program() is None:
        return "Firefox is not installed (apt-get install firefox-esr)"
    return ""


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


@contextmanager
def environment(**variables: str) -> Generator[None]:
    """Set variables for what is started in the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@contextmanager
def firefox() -> Generator[Any]:
    """Start the Firefox of the system: the channel speaks WebDriver BiDi, which every one knows."""
    from playwright.sync_api import sync_playwright

    with environment(NODE_OPTIONS=f"--require={OLDER}"), sync_playwright() as playwright:
        browser = playwright.firefox.launch(channel="moz-firefox", executable_path=find_program())
        yield browser
        browser.close()


def test_firefox_builds_shows_and_changes_records() -> None:
    with own_server() as url, firefox() as browser, httpx.Client(base_url=url) as http:
        served = cast("Server", SimpleNamespace(url=url, http=http))
        with tabs(Pages(browser), served, "firefox") as new_tab:
            tour(new_tab(**OPTIONS).open(ready="[name=username]"))


def tour(tab: Tab) -> None:
    hand = Hand(tab.page)
    hand.type("ada")
    hand.go_to("[name=password]")
    hand.type(PASSWORD)
    hand.click("button:has-text('Create account')")
    hand.click("text=Try the CRM example")
    hand.see(".gs .gr")
    change_a_cell(hand)
    add_a_column(hand)
    hand.click("button[title=Layout]")
    hand.click(".popup button:has-text('Board')")
    hand.see(".board .card")
    hand.click(".who")
    hand.click("[title=Dark]")
    hand.press("Escape")
    background = "getComputedStyle(document.body).backgroundColor"
    assert tab.page.evaluate(background) == "rgb(20, 22, 27)"
    tab.page.set_viewport_size({"width": 360, "height": 740})
    tab.page.wait_for_timeout(100)
    assert tab.overflow() <= 0
    tab.page.reload()
    hand.see(".board .card")


def change_a_cell(hand: Hand) -> None:
    hand.click("#c-0-1")
    hand.press("F2")
    hand.see("#cell")
    hand.press("Control+a")
    hand.type("4321")
    hand.press("Enter")
    hand.see("#c-0-1:has-text('4,321')")


def add_a_column(hand: Hand) -> None:
    hand.click(".gh .add button")
    hand.see("dialog [aria-label=Type]")
    hand.type("Next step")
    hand.see("dialog .card[aria-label=Plan]")
    hand.click("dialog .actions button:has-text('Add column')")
    hand.see("[data-column=next_step]")
