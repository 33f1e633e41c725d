"""The figures that the console promises: `make console-figures` prints them, a test holds them.

Sizes are those of the files. Times are those of a Chromium and a server on one machine: each is
taken several times, and the smallest counts, since the machine may have other work.

The clock runs on while a machine does other work, so no test asserts it. Beside each time is
the processor time of the process that does the work, which other work hardly changes: that of the
page's thread, and for plans that of PostgreSQL. A test in the slow lane holds it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import psycopg

from docs.screenshots import database
from kernel.testing import Server, running_server
from plugins.console.assets import size

from .browser import Pages, Tab, chromium, missing, tabs

APP: Final = "figures"
CARDS: Final = 50_000
ROWS: Final = 10_000
MANY: Final = 1_000_000
BOARD_SECONDS: Final = 0.5
PLAN_SECONDS: Final = 1.0
SCROLL_SECONDS: Final = 10.0
BOARD_WORK: Final = 0.5
PLAN_WORK: Final = 1.5
SCROLL_WORK: Final = 2.5
"""Seconds of processor time, four times what was measured, and more."""
ROUNDS: Final = 5
SCROLL_ROUNDS: Final = 3
STATES: Final = ("New", "Open", "Waiting", "Done")
MANIFEST: Final[dict[str, Any]] = {
    "appId": APP,
    "name": "Figures",
    "dataContract": [
        {"entityName": "cards", "fields": [
            {"name": "title", "type": "text"},
            {"name": "state", "type": "text", "enum_values": [*STATES]},
            {"name": "value", "type": "number"}]},
        {"entityName": "rows", "fields": [
            {"name": "title", "type": "text"}, {"name": "number", "type": "number"}]},
        {"entityName": "many", "fields": [
            {"name": "title", "type": "text"}, {"name": "number", "type": "number"}]},
    ],
}  # fmt: skip
STEPS: Final[Sequence[tuple[str, dict[str, Any]]]] = (
    ("a new column", {"op": "add_field", "field": {"name": "note", "type": "text"}}),
    ("another name", {"op": "rename_field", "field": "title", "name": "subject"}),
    ("a column becomes required", {"op": "change_field", "field": "title",
                                   "set": {"required": True}}),
    ("a text becomes a number", {"op": "change_field", "field": "title",
                                 "set": {"type": "number"}}),
    ("a column goes", {"op": "remove_field", "field": "number"}),
)  # fmt: skip
"""What is planned on a million rows."""
DRAW_BOARD: Final = """async (address) => {
    const began = performance.now();
    location.hash = address;
    const cards = () => document.querySelectorAll('.board .card').length;
    while (cards() === 0) await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return (performance.now() - began) / 1000;
}"""
"""Opens a board and waits until its cards are drawn. Returns seconds."""
SCROLL: Final = """async (last) => {
    const began = performance.now();
    const grid = document.querySelector('.grid');
    const rows = () => [...document.querySelectorAll('.gs .gr')];
    while (!rows().some((row) => row.textContent.includes(last))) {
        grid.scrollTop = grid.scrollHeight;
        await new Promise(requestAnimationFrame);
        if (performance.now() - began > 120_000) throw new Error(`row ${last} is not in sight`);
    }
    return (performance.now() - began) / 1000;
}"""
"""Scrolls to the end of what is loaded until the last row is in sight. Returns seconds."""


class Figure(NamedTuple):
    """What was measured, in seconds: the smallest and the median of its times, and the bound.

    `work` is the smallest processor time, with a bound of its own.
    """

    title: str
    least: float
    middle: float
    limit: float
    work: float
    work_limit: float

    @property
    def holds(self) -> bool:
        return self.least <= self.limit

    @property
    def is_cheap(self) -> bool:
        return self.work <= self.work_limit


class Taken(NamedTuple):
    """The seconds of one round: on the clock, and of a processor."""

    clock: float
    work: float


class PageClock:
    """The processor time of the thread that draws a page."""

    def __init__(self, page: Any) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def read(self) -> float:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        [seconds] = [metric["value"] for metric in metrics if metric["name"] == "TaskDuration"]
        return seconds


class PostgresClock:
    """The processor time of PostgreSQL: of its processes, and of those that have ended.

    Linux counts both (`man proc_pid_stat`); elsewhere it is 0.
    """

    def __init__(self, server: Server) -> None:
        [[folder]] = server.sql("select current_setting('data_directory')")
        self._pid = (Path(folder) / "postmaster.pid").read_text().split()[0]

    def read(self) -> float:
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                name = path.parent.name
                # The name of the program is in brackets, and may hold spaces.
                numbers = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            if name == self._pid:
                ticks += sum(int(number) for number in numbers[11:15])
            elif numbers[1] == self._pid:
                ticks += sum(int(number) for number in numbers[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")


def fill(server: Server) -> None:
    """Install the app and its records. They have no trail: what is measured does not read it."""
    server.install(MANIFEST)
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        states = "array['" + "', '".join(STATES) + "']"
        columns = {
            "cards": f"title, state, value) select %s, 'Card ' || n, ({states})[n % 4 + 1], n",
            "rows": "title, number) select %s, 'Row ' || n, n",
            "many": "title, number) select %s, n::text, n",
        }
        counts = {"cards": CARDS, "rows": ROWS, "many": MANY}
        for entity, rest in columns.items():
            # Ids in order, and no write-ahead log, take a third of the time.
            identity = "lpad(to_hex(n), 32, '0')::uuid"
            connection.execute(f"alter table {APP}.{entity} set unlogged")
            connection.execute(
                f"insert into {APP}.{entity} (id, {rest.replace('%s', identity)}"
                f" from generate_series(1, {counts[entity]}) as n"
            )
            connection.execute(f"analyze {APP}.{entity}")


def measure_board(tab: Tab) -> Figure:
    """Open the board of 50,000 cards from another screen."""
    page = tab.open(f"apps/{APP}").page
    clock = PageClock(page)
    rounds: list[Taken] = []
    for _ in range(ROUNDS):
        started = clock.read()
        seconds = page.evaluate(DRAW_BOARD, f"#/data/{APP}/cards?layout=board&by=state")
        rounds.append(Taken(seconds, clock.read() - started))
        assert page.locator(".board .column").count() >= len(STATES)
        tab.open(f"apps/{APP}")
    return make_figure(f"a board of {CARDS:,} records", rounds, BOARD_SECONDS, BOARD_WORK)


def measure_plans(server: Server) -> list[Figure]:
    """Plan steps on the table of a million rows, as the builder does while it is typed."""
    path = f"/api/v1/apps/{APP}/manifest/edit"
    clock = PostgresClock(server)
    figures: list[Figure] = []
    for title, step in STEPS:
        body = {"operations": [{**step, "entity": "many"}], "dryRun": True}
        rounds: list[Taken] = []
        for _ in range(ROUNDS):
            worked = clock.read()
            started = time.perf_counter()
            reply = server.admin.post(path, json=body, headers={"if-match": "*"})
            rounds.append(Taken(time.perf_counter() - started, clock.read() - worked))
            assert reply.is_success, reply.text
            assert reply.json()["changes"]
        heading = f"plan, {MANY:,} rows: {title}"
        figures.append(make_figure(heading, rounds, PLAN_SECONDS, PLAN_WORK))
    return figures


def measure_scroll(tab: Tab) -> Figure:
    """Scroll from the first to the last of 10,000 rows."""
    page = tab.open(f"apps/{APP}").page
    clock = PageClock(page)
    rounds: list[Taken] = []
    for _ in range(SCROLL_ROUNDS):
        tab.open(f"data/{APP}/rows?sort=number&order=asc", ready=".gs .gr")
        started = clock.read()
        seconds = page.evaluate(SCROLL, f"Row {ROWS}")
        rounds.append(Taken(seconds, clock.read() - started))
        tab.open(f"apps/{APP}")
    return make_figure(f"scrolling {ROWS:,} rows", rounds, SCROLL_SECONDS, SCROLL_WORK)


def make_figure(title: str, rounds: Sequence[Taken], limit: float, work_limit: float) -> Figure:
    times = [each.clock for each in rounds]
    work = min(each.work for each in rounds)
    return Figure(title, min(times), median(times), limit, work, work_limit)


def measure_all(server: Server, sign_in: Callable[[], Tab]) -> list[Figure]:
    """Fill the server, and take every time."""
    fill(server)
    tab = sign_in()
    return [measure_board(tab), *measure_plans(server), measure_scroll(tab)]


def write_table(figures: Sequence[Figure]) -> str:
    """Write the times beside their bounds."""
    lines = [f"{'seconds':>8}  {'median':>7}  {'bound':>6}  {'processor':>9}  {'bound':>6}"]
    for title, least, middle, limit, work, work_limit in figures:
        clock = f"{least:>8.2f}  {middle:>7.2f}  {limit:>6.1f}"
        lines.append(f"{clock}  {work:>9.2f}  {work_limit:>6.1f}  {title}")
    return "\n".join(lines)


@contextmanager
def _open_console() -> Generator[tuple[Server, Callable[[], Tab]]]:
    with (
        database() as postgres,
        running_server(postgres, {}) as server,
        chromium() as browser,
        tabs(Pages(browser), server, "figures") as new_tab,
    ):
        assert server.admin.username
        yield server, lambda: new_tab().sign_in(server.admin)


def main() -> int:
    """Print sizes and times. Returns 1 where one of them is beyond its bound."""
    status = size.main()
    if reason := missing():
        sys.stdout.write(f"the times are not taken: {reason}\n")
        return status
    with _open_console() as (server, sign_in):
        figures = measure_all(server, sign_in)
    sys.stdout.write(f"{write_table(figures)}\n")
    if all(figure.holds and figure.is_cheap for figure in figures):
        return status
    return 1


if __name__ == "__main__":
    sys.exit(main())
