"""Measure, show a table of ratios, keep every figure as JSON where asked. Never fails on a time."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from . import growth
from .against import peer
from .cases import Figures, bare, contests, fill
from .report import Table, bound, ratio, say, times
from .stage import Stage, crm_manifest, stage

STREAM_LIMIT, IDLE_LIMIT, BOOT_LIMIT = 64, 120, 2.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How long everything takes."""

    rounds: int
    seconds: int
    sizes: tuple[int, ...]


FULL = Plan(rounds=3, seconds=2, sizes=growth.SIZES)
QUICK = Plan(rounds=1, seconds=1, sizes=growth.SIZES[:2])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    options = _parser().parse_args(arguments)
    plan, began = QUICK if options.quick else FULL, time.perf_counter()
    say("Starting a server with a PostgreSQL of its own")
    with stage(options.folder) as server:
        results = _measure(server, plan, options.peer_python)
    results["seconds"] = round(time.perf_counter() - began, 1)
    if options.json:
        Path(options.json).write_bytes(msgspec.json.format(msgspec.json.encode(results)))
        say(f"Every figure is in {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, smaller tables")
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    parser.add_argument("--folder", help="where the database may lie (the temporary folder)")
    parser.add_argument(
        "--peer-python", metavar="PYTHON", help="an interpreter that has the peer's packages"
    )
    return parser


def _measure(server: Stage, plan: Plan, peer_python: str | None) -> dict[str, Any]:
    server.sign_in()
    server.call("POST", "/api/v1/apps", crm_manifest())
    time.sleep(1)
    idle = server.memory()
    fill(server)
    figures = _everyday(server, plan, peer_python)
    say(f"Filling tables of {', '.join(f'{rows:,}' for rows in plan.sizes)} rows")
    growth.prepare(server, plan.sizes)
    pages = growth.pages(server, plan.sizes, plan.rounds)
    trail = growth.audit(server, plan.rounds)
    _show_growth(plan, pages, trail)
    loaded = server.memory()
    server.stop()
    boot = server.start()
    streamed = growth.stream(server, plan.sizes[-1])  # a fresh process has no memory to spare
    _show_bounds(idle, streamed, boot)
    return {
        "machine": {
            "cpus": os.cpu_count(), "system": platform.platform(terse=True),
            "python": platform.python_version(),
        },
        "requests": {name: _raw(each, figures["bare"]) for name, each in figures.items()},
        "pages": pages,
        "audit": dict(zip(("common", "absent"), trail, strict=True)),
        "stream": streamed,
        "memory_mb": {"idle": idle, "after_load": loaded},
        "boot_seconds": boot,
    }  # fmt: skip


def _everyday(server: Stage, plan: Plan, peer_python: str | None) -> dict[str, Figures]:
    busy = os.getloadavg()[0] > 0.75 * (os.cpu_count() or 1)
    with peer(server, peer_python) as url:
        if url is None:
            say("No hand-written peer: fastapi, sqlalchemy, asyncpg are not here (--peer-python)")
        cases = [bare(server), *contests(server, url)]
        for number in range(plan.rounds):
            say(f"Measuring, round {number + 1} of {plan.rounds}")
            for case in cases:
                case.round(plan.seconds)
    figures = {case.name: case.figures for case in cases}
    _show_requests(figures, busy=busy)
    return figures


def _show_requests(figures: Mapping[str, Figures], *, busy: bool) -> None:
    table = Table("Requests, everything on", "of pgbench", "of the peer", "CPU", "p99 / p50")
    for name, each in figures.items():
        if each.pgbench:
            cpu = _cpu(each, figures["bare"])
            table.row(
                name, ratio(each.of_pgbench), times(each.of_peer), times(cpu), times(each.spread)
            )
    table.note("pgbench: the very statements that the server sends, on as many connections.")
    table.note("CPU: of the server process for a request, against a bare reply (GET /health).")
    if busy:
        table.note("Mind: the machine has other work, which costs one process more than pgbench.")
    table.show()


def _cpu(figures: Figures, base: Figures) -> float | None:
    least = median(base.cpu)
    return median(figures.cpu) / least if least else None


def _show_growth(plan: Plan, pages: Any, trail: Any) -> None:
    smallest, *larger = plan.sizes
    table = Table(f"Time against {smallest:,} rows", *[f"{rows:,} rows" for rows in larger])
    for name, by_size in pages.items():
        base = by_size[smallest].p50
        table.row(name, *[times(by_size[rows].p50 / base) for rows in larger])
    table.show()
    common, absent = trail
    table = Table("Audit search of 100 rows", "time")
    table.row("an absent table against a common one", times(absent.p50 / common.p50))
    table.show()


def _show_bounds(idle: float, streamed: growth.Stream, boot: float) -> None:
    table = Table("Bounds", "measured", "bound")
    table.row("memory when idle", *bound(idle, IDLE_LIMIT, "MB"))
    table.row(
        f"memory that a complete list of {streamed.rows:,} adds",
        *bound(streamed.growth, STREAM_LIMIT, "MB"),
    )
    table.row("start on an existing database", *bound(boot, BOOT_LIMIT, "s"))
    table.show()


def _raw(figures: Figures, base: Figures) -> dict[str, Any]:
    found: dict[str, Any] = {"rate": figures.rate, "cpu": _cpu(figures, base), "rounds": figures}
    if figures.pgbench:
        found |= {"of_pgbench": figures.of_pgbench, "of_peer": figures.of_peer}
    return found


if __name__ == "__main__":
    sys.exit(main())
