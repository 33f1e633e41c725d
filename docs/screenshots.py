"""Makes the pictures of the console and of two apps in docs/pictures: `make screenshots`.

A server with a database of its own is started, and a Chromium that does what a new user would do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernel.config.settings import load_config
from kernel.contracts.server import DATABASE_SERVER
from kernel.loading.loader import load
from kernel.testing import Postgres, Server, running_server
from kernel.testing.options import NOTHING

FOLDER = Path(__file__).parent / "pictures"
SIZE = {"width": 1200, "height": 720}
PHONE = {"width": 360, "height": 720}
CLOSE_MESSAGES = "document.querySelectorAll('.toast button:last-child').forEach((b) => b.click())"
PASSWORD = "Str0ng-Passw0rd"  # of a server that lives for a minute


@contextmanager
def database() -> Generator[Postgres]:
    """Run a PostgreSQL that is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="caudex-pictures-") as folder:
        Path(folder).chmod(0o755)
        data = {"server.data_dir": folder, "plugins.postgres": {"port": 0, "ephemeral": True}}
        config = load_config(str(NOTHING), environ={}, overrides=data)
        server = load(config).services.build_early(DATABASE_SERVER)
        if server is None:
            raise SystemExit("no plugin runs a PostgreSQL here")
        try:
            yield Postgres(server.start())
        finally:
            server.stop()


def main() -> int:
    """Make every picture."""
    browser = shutil.which("chromium") or shutil.which("chromium-headless-shell")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        browser = None
    if browser is None:
        sys.stderr.write("needs playwright and chromium (apt-get install chromium)\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    config = {"plugins": {"console": {"name": "Acme tools"}}}
    with (
        database() as postgres,
        running_server(postgres, config) as server,
        sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        context = chromium.new_context(viewport=SIZE, locale="en-GB")
        _pictures(context, server)
        _apps(context, server)
        chromium.close()
    return 0


def _pictures(context: Any, server: Server) -> None:
    page = context.new_page()

    def shot(name: str) -> None:
        page.evaluate(CLOSE_MESSAGES)
        page.wait_for_timeout(400)
        page.screenshot(path=str(FOLDER / f"{name}.png"))

    def go(address: str, ready: str) -> None:
        page.evaluate("(h) => { location.hash = h; }", f"#/{address}")
        page.wait_for_selector(ready)

    page.goto(f"{server.url}/")
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.click("text=Create account")
    page.wait_for_selector("text=Try the CRM example")
    shot("start")
    page.click("text=Try the CRM example")
    page.wait_for_selector(".gs .gr")
    page.click("#c-3-1")
    shot("table")
    page.dblclick("#c-3-1")
    page.keyboard.press("Control+a")
    page.keyboard.type("31500")
    page.keyboard.press("Enter")
    page.wait_for_selector("#c-3-1:has-text('31,500')")
    page.click(".gr:nth-child(4) .pick button")
    page.wait_for_selector(".history li")
    shot("record")
    _roles(server)
    go("explain?app=crm&action=deals.update", ".answer")
    shot("explain")
    go("roles/crm?role=sales", "[aria-label='deals read']")
    shot("roles")
    go("apps/crm", ".diagram")
    shot("diagram")
    go("data/crm/deals?layout=board&by=stage", ".board .card")
    shot("board")
    _dashboard(server)
    go("dashboards/crm", ".tile .plot")
    shot("dashboard")
    go("data/crm/deals", ".gs .gr")
    page.click(".gh .add button")
    page.wait_for_selector("dialog [aria-label=Type]")
    page.keyboard.type("Priority")
    page.select_option("dialog [aria-label=Type]", label="Choice")
    page.fill("[aria-label='Choice 1']", "Low")
    page.fill("[aria-label='Choice 2']", "High")
    page.select_option("[aria-label='Colour of choice 2']", label="orange")
    page.wait_for_selector("dialog .card[aria-label=Plan]")
    shot("new-column")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    go("apps/crm/manifest", ".editor")
    text = page.input_value(".editor").replace('"website"', '"homepage"')
    page.fill(".editor", text)
    page.click("text=Show the plan")
    page.wait_for_selector("[aria-label=Plan]")
    shot("plan")
    page.evaluate("(h) => { location.hash = h; }", "#/plugins/rbac")
    page.click("dialog button:has-text('Leave')")  # the manifest was edited
    page.wait_for_selector(".md")
    shot("plugin")
    go("", ".shop")
    page.wait_for_timeout(1500)  # its parts are loaded one after the other
    shot("home")
    page.click(".who")
    page.click("[title=Dark]")
    page.keyboard.press("Escape")
    go("data/crm/deals", ".gs .gr")
    page.keyboard.press("Control+k")
    page.wait_for_selector(".palette input")
    page.keyboard.type("har")
    page.wait_for_selector(".palette li:has-text('Record')")
    shot("palette-dark")
    page.keyboard.press("Escape")
    page.set_viewport_size(PHONE)
    shot("phone-dark")


def _dashboard(server: Server) -> None:
    """Save a dashboard of the CRM."""
    tiles = [
        {"kind": "number", "entity": "deals", "figure": {"$sum": "value"}, "since": 30},
        {"kind": "number", "entity": "contacts"},
        {"kind": "bar", "entity": "deals", "by": "stage", "width": 2},
        {"kind": "line", "entity": "deals", "by": "close_date", "period": "month", "width": 2},
        {"kind": "list", "entity": "deals", "columns": ["value", "stage"], "width": 2},
    ]
    body = {"app": "crm", "name": "Sales", "state": {"tiles": tiles}}
    ada = server.login("ada", PASSWORD)
    assert ada.post("/api/v1/console/views", json=body).status_code == 201


def _apps(context: Any, server: Server) -> None:
    """Make the templates `crm` and `helpdesk`, and show them as ada, who is signed in."""
    page = context.new_page()
    page.goto(_deploy(server, "sales", "crm"))
    page.click("main button")
    page.click("text=Fill with sample data")
    page.wait_for_selector(".board")
    page.reload()  # without the message that it is done
    page.wait_for_selector(".board")
    page.screenshot(path=str(FOLDER / "app-crm.png"))
    page.goto(_deploy(server, "desk", "helpdesk"))
    page.click("main button")
    page.click("text=New ticket")
    page.fill("[name=subject]", "The lamp over the stairs is dark")
    page.fill("[name=description]", "Since Monday. The bulb is new.")
    page.click("dialog >> text=Open")
    picture = str(FOLDER / "start.png")
    page.set_input_files("input[type=file]", picture)
    page.wait_for_selector(".preview img")
    for text, is_internal in (
        ("Third time this year: order a new switch.", True),
        ("Thank you. We change the switch tomorrow morning.", False),
    ):
        page.fill("textarea", text)
        page.set_checked("[type=checkbox]", is_internal)
        page.click("form >> text=Send")
        page.wait_for_selector(f"text={text}")
    page.emulate_media(color_scheme="dark")
    page.reload()
    page.wait_for_selector(".preview img")
    page.screenshot(path=str(FOLDER / "app-helpdesk-dark.png"))


def _deploy(server: Server, name: str, template: str) -> str:
    """Make an app and deploy it. Returns where it is."""
    command = Path(sys.executable).with_name("caudex")
    token = _log_in(server)
    variables = {**os.environ, "CAUDEX_URL": server.url, "CAUDEX_TOKEN": token}
    with tempfile.TemporaryDirectory(prefix="caudex-pictures-") as folder:
        for words in (
            ("app", "new", name, "--template", template, "--dir", f"{folder}/{name}"),
            ("app", "deploy"),
        ):
            place = Path(folder, name) if words[1] == "deploy" else Path(folder)
            subprocess.run([command, *words], cwd=place, env=variables, check=True)
    port = server.url.rpartition(":")[2]
    return f"http://{name}.localhost:{port}/"


def _log_in(server: Server) -> str:
    body = {"username": "ada", "password": PASSWORD}
    return server.http.post("/api/v1/auth/login", json=body).json()["accessToken"]


def _roles(server: Server) -> None:
    """Make a role to show."""
    headers = {"authorization": f"Bearer {_log_in(server)}"}
    held = ["companies.read", "contacts.read", "deals.create", "deals.read", "deals.update.own"]
    role = {"name": "sales", "description": "Sells to companies", "permissions": held}
    server.http.post("/api/v1/apps/crm/roles", json=role, headers=headers)


if __name__ == "__main__":
    sys.exit(main())
