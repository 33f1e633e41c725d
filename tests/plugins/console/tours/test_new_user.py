"""What a new user does: from an empty server to an app, on a phone, and on to a folder of files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from examples.crm.server import own_server
from kernel.testing import Server
from kernel.testing.servers import PASSWORD
from tests.plugins.console.browser import OpenTab, Pages, chromium, needs_browser, tabs, until
from tests.plugins.console.hand import Hand

pytestmark = [needs_browser, pytest.mark.slow]

MOST_CLICKS = 40
PHONE: Any = {"width": 360, "height": 740}
APP = "boat_yard"
DATA = f"/api/v1/apps/{APP}/collections"


def test_a_new_user_builds_an_app_uses_it_on_a_phone_and_keeps_it_as_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with own_server() as url, chromium() as browser, httpx.Client(base_url=url) as http:
        served = cast("Server", SimpleNamespace(url=url, http=http))
        with tabs(Pages(browser), served, "new-user") as new_tab:
            started = time.monotonic()
            hand = build(new_tab, http)
            seconds = time.monotonic() - started
            clicks = hand.clicks
            change_on_a_phone(new_tab, http)
            change_in_a_folder(hand, url, http, tmp_path)
    with capsys.disabled():
        print(f"\na new user's tour: {clicks} clicks, {seconds:.1f} s by a machine")
    assert clicks <= MOST_CLICKS


# --- two tables, three records, a rename, a board and a chart


def build(new_tab: OpenTab, http: httpx.Client) -> Hand:
    tab = new_tab().allow(409).open(ready="[name=username]")  # an edit of an app of files
    hand = Hand(tab.page)
    make_account(hand)
    authorize(http)
    make_customers(hand)
    make_orders(hand)
    fill(hand, http)
    rename(hand, http)
    see_layouts(hand)
    return hand


def make_account(hand: Hand) -> None:
    hand.type("ada")
    hand.go_to("[name=password]")
    hand.type(PASSWORD)
    hand.press("Enter")
    hand.see("text=Begin with a blank table")


def authorize(http: httpx.Client) -> None:
    """Sign in beside the browser, to see what the server has."""
    body = {"username": "ada", "password": PASSWORD}
    reply = http.post("/api/v1/auth/login", json=body)
    http.headers["authorization"] = f"Bearer {reply.json()['accessToken']}"


def make_customers(hand: Hand) -> None:
    hand.click("text=Begin with a blank table")
    hand.see("text=Name of the app")
    hand.type("Boat yard")
    hand.go_to("input[placeholder=Orders]")
    hand.type("Customers")
    hand.go_to("[aria-label='Name of column 2']")
    hand.type("Mail")
    hand.choose("[aria-label='Type of column 2']", "E-mail")
    hand.go_to("[aria-label='Name of column 3']")
    hand.press("Enter")
    hand.see("text=No customers yet")


def make_orders(hand: Hand) -> None:
    hand.click("button.addtable")
    hand.see("dialog input")
    hand.type("Orders")
    hand.go_to("[aria-label='Name of column 2']")
    hand.type("Price")
    hand.choose("[aria-label='Type of column 2']", "Money")
    hand.go_to("[aria-label='Name of column 3']")
    hand.type("Due")
    hand.choose("[aria-label='Type of column 3']", "Date")
    accept(hand, "Make table")
    hand.see("text=No orders yet")
    add_column(hand, "Customer", "Link to a record")
    hand.choose("dialog [aria-label=Table]", "Customers")
    accept(hand, "Add column")
    hand.see(".toast:has-text('“Customer” was added')")
    add_column(hand, "State", "Choice")
    hand.go_to("[aria-label='Choice 1']")
    hand.type("Open")
    hand.go_to("[aria-label='Choice 2']")
    hand.type("Done")
    accept(hand, "Add column")
    hand.see(".toast:has-text('“State” was added')")


def add_column(hand: Hand, title: str, kind: str) -> None:
    hand.click("main button:has-text('Add a column')")
    hand.see("dialog [aria-label=Type]")
    hand.type(title)
    hand.choose("dialog [aria-label=Type]", kind)


def accept(hand: Hand, verb: str) -> None:
    """Install a step when its plan is shown."""
    hand.see("dialog .card[aria-label=Plan]")
    hand.click(f"dialog .actions button:has-text('{verb}')")
    hand.page.wait_for_selector("dialog", state="detached")


def fill(hand: Hand, http: httpx.Client) -> None:
    open_table(hand, "Customers")
    create(hand, {"name": "Ada Bell", "mail": "ada@example.org"})
    hand.see("h1:has-text('Ada Bell')")
    for name, price, state in (("Mast", "1250.5", "Open"), ("Sails", "800", "Done")):
        open_table(hand, "Orders")
        create(hand, {"name": name, "price": price, "due": "02022031"}, customer="Ada", state=state)
        hand.see(f"h1:has-text('{name}')")
    (customer,) = http.get(f"{DATA}/customers").json()
    orders = http.get(f"{DATA}/orders", params={"sort": "price", "order": "asc"}).json()
    shown = [(order["name"], order["price"], order["due"], order["state"]) for order in orders]
    assert shown == [("Sails", 800, "2031-02-02", "Done"), ("Mast", 1250.5, "2031-02-02", "Open")]
    assert {order["customer"] for order in orders} == {customer["id"]}


def open_table(hand: Hand, title: str) -> None:
    hand.click(f"nav.side a:has-text('{title}')")
    hand.see(f"main h1:has-text('{title}')")


def create(hand: Hand, texts: dict[str, str], customer: str = "", state: str = "") -> None:
    """Fill a new record; the order of its fields is that of the table."""
    hand.click("button[aria-label=New]")
    for name, text in texts.items():
        hand.go_to(f"#n-{name}")
        hand.type(text)
    if customer:
        hand.go_to("#n-customer")
        hand.type(customer)
        hand.click(f"[role=option]:has-text('{customer}')")
    if state:
        hand.choose("#n-state", state)
    hand.press("Control+Enter")


def rename(hand: Hand, http: httpx.Client) -> None:
    open_table(hand, "Orders")
    hand.page.hover("[data-column=price]")
    hand.click("[data-column=price] .menu > button")
    hand.click(".popup button:has-text('Rename')")
    hand.see("dialog input")
    hand.press("Control+a")
    hand.type("Amount")
    accept(hand, "Rename")
    hand.see("[data-column=amount]")
    hand.see(".gs .gr:has-text('1,250.50')")
    orders = http.get(f"{DATA}/orders").json()
    assert {order["amount"] for order in orders} == {800, 1250.5}


def see_layouts(hand: Hand) -> None:
    show_layout(hand, "Board")
    for state, name in (("Open", "Mast"), ("Done", "Sails")):
        hand.see(f".board [aria-label='{state}'] .card:has-text('{name}')")
    show_layout(hand, "Chart")
    hand.see(".layout svg rect")
    hand.see(".layout table:has-text('Open'):has-text('Done')")


def show_layout(hand: Hand, title: str) -> None:
    hand.click("button[title=Layout]")
    hand.click(f".popup button:has-text('{title}')")


# --- on a phone


def change_on_a_phone(new_tab: OpenTab, http: httpx.Client) -> None:
    tab = new_tab(viewport=PHONE, has_touch=True, is_mobile=True).open(ready="[name=username]")
    hand = Hand(tab.page)
    hand.tap("[name=username]")
    hand.type("ada")
    hand.tap("[name=password]")
    hand.type(PASSWORD)
    hand.tap("button:has-text('Sign in')")
    hand.tap("main a:has-text('Orders')")
    hand.see(".gs .gr:has-text('Sails')")
    hand.tap("[aria-label='Find in this table']")
    hand.type("mast")
    until(tab.page, "document.querySelectorAll('.gs .gr').length === 1")
    hand.tap("[aria-label='Open Mast']")
    hand.see("h1:has-text('Mast')")
    hand.tap("#f-amount")
    hand.press("Control+a")
    hand.type("1300")
    hand.tap("button:has-text('Save')")
    hand.see(".toast:has-text('Saved')")
    assert tab.overflow() <= 0
    (order,) = http.get(f"{DATA}/orders", params={"name": "Mast"}).json()
    assert order["amount"] == 1300


# --- as files


def change_in_a_folder(hand: Hand, url: str, http: httpx.Client, folder: Path) -> None:
    token = http.headers["authorization"].removeprefix("Bearer ")
    environment = {**os.environ, "CAUDEX_URL": url, "CAUDEX_TOKEN": token}

    def call(*words: str) -> None:
        command = [str(Path(sys.executable).with_name("caudex")), "app", *words]
        subprocess.run(command, cwd=folder, env=environment, check=True, timeout=120)

    call("pull", "--app", APP)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    (orders,) = (each for each in manifest["dataContract"] if each["entityName"] == "orders")
    assert "amount" in [field["name"] for field in orders["fields"]]
    orders["fields"].append({"name": "berth", "type": "text"})
    path.write_text(json.dumps(manifest), "utf-8")
    call("deploy")
    page = hand.page
    page.goto(f"{url}/console/#/data/{APP}/orders")
    page.reload()
    page.wait_for_selector("[data-column=berth]")
    assert len(http.get(f"{DATA}/orders").json()) == 2
    # The builder knows where the app is looked after, and asks before it is changed here.
    hand.click(".gh .add button")
    hand.see("dialog [aria-label=Type]")
    hand.type("Note")
    hand.see("dialog [role=alert]:has-text('deployed from a folder')")
