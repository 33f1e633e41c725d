"""As a new user would, from an empty folder: new, dev, change, deploy, and a second user.

Nothing is used but what the commands print: an address, an account, and where the app is.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from kernel.testing import PASSWORD, MakeServer, Server
from tests.kernel.processes import open_folder
from tests.plugins.authoring.support import Author
from tests.plugins.authoring.test_dev import Development
from tests.plugins.console.browser import Pages, chromium, needs_browser

pytestmark = [pytest.mark.slow, needs_browser]

MINUTES = 5


def test_an_app_is_in_use_within_minutes(make_server: MakeServer) -> None:
    target = make_server()
    began = time.monotonic()
    with open_folder() as folder:
        author = Author(folder)
        author.ok("app", "new", "desk", "--template", "helpdesk")
        project = author.inside("desk")
        work_on_it(project)
        url = ship(project, target)
    ada = target.login("ada")
    bob = target.user("bob")
    with chromium() as browser:
        page = open_app(browser, url, "bob", PASSWORD)
        page.wait_for_selector("text=no role in this app yet")
        role = {"userId": bob.get("/api/v1/auth/me").json()["id"], "role": "customer"}
        assert ada.post("/api/v1/apps/desk/roles/assign", json=role).is_success
        page.click("text=Try again")
        page.click("text=New ticket")
        page.fill("[name=subject]", "The lamp is dark")
        page.click("dialog >> text=Open")
        page.set_input_files(
            "input[type=file]",
            {"name": "lamp.txt", "mimeType": "text/plain", "buffer": b"Since Monday."},
        )
        page.wait_for_selector(".files >> text=lamp.txt")
        page.click("nav >> text=Requests")
        page.wait_for_selector("td >> text=The lamp is dark")
    assert time.monotonic() - began < MINUTES * 60
    [ticket] = ada.get("/api/v1/apps/desk/collections/tickets").json()
    assert ticket["attachment"]["name"] == "lamp.txt"


def work_on_it(project: Author) -> None:
    """Run the app, look at it, and change a word and a field, which the browser then has."""
    development = Development(project, "--port", "0")
    try:
        server = development.wait(event="server")
        frontend = development.wait(event="deployed", part="frontend", state="changed")
        with chromium() as browser:
            page = open_app(browser, frontend["url"], server["username"], server["password"])
            page.wait_for_selector("nav >> text=Tickets")
            project.edit("frontend/app.js", "label: 'Tickets'", "label: 'Requests'")
            development.wait(event="deployed", part="frontend", state="changed")
            page.reload()
            page.wait_for_selector("nav >> text=Requests")
            project.edit("manifest.json", '"name": "category"', '"name": "kind"')
            development.wait(event="deployed", part="manifest", state="changed")
            project.edit("manifest.json", '"name": "kind"', '"name": "category"')
            development.wait(event="deployed", part="manifest", state="changed")
    finally:
        assert development.stop() == 130


def ship(project: Author, target: Server) -> str:
    """Make an account at another server and deploy there. Returns where the app is."""
    words = ("login", "--url", target.url, "--username", "ada", "--register")
    project.ok(*words, typed=f"{PASSWORD}\n")
    parts = project.json("app", "deploy")["parts"]
    assert [part["state"] for part in parts] == ["changed"] * 4
    assert parts[-1]["part"] == "frontend"
    return parts[-1]["url"]


def open_app(browser: Any, url: str, username: str, password: str) -> Any:
    """Open the app in a new window, and pass the sign-in of its server."""
    page = Pages(browser).new()
    page.set_default_timeout(20_000)
    page.goto(url)
    page.click("main button")
    page.fill("[name=username]", username)
    page.fill("[name=password]", password)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{url}**")
    return page
