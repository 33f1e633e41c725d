"""Measure, show ratios, write them as JSON and as a chart. Never fails on a time."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from . import (
    assets,
    beyond,
    callers,
    calls,
    exchange,
    feeds,
    growth,
    login,
    queues,
    reach,
    replays,
    requests,
    sealing,
    surroundings,
    undos,
)
from .chart import svg
from .figures import Case, Ratio
from .goals import costs
from .load import WRK
from .machine import machine
from .peers.bare import bare
from .peers.by_hand import by_hand
from .peers.pocketbase import pocketbase
from .peers.program import BENCH, program
from .peers.starlette_alone import starlette_alone
from .report import Table, bound, of_ratios, say
from .stage import PIPELINE, POOL, Stage, stage

STREAM_LIMIT, IDLE_LIMIT, BOOT_LIMIT, GROWTH_LIMIT = 64, 120, 2.0, 16
FILE_LIMIT = 32
UNDO_LIMIT = 5.0
SEAL_LIMIT = 1.0
VERIFY_LEAST = 50_000
REPLAY_LIMIT = 50.0
"""Microseconds of a change in a replay: 20,000 a second."""
GROUPS = {
    "get": "GET by id", "list": "lists of 20 and 100", "filter": "filtered lists",
    "expand": "lists with linked records, and filtered by them",
    "create": "create", "update": "update", "bulk": "bulk of 1000", "login": "login",
    "few": "reads and creates by one caller and by four",
    "members": "reads and creates by a member with a role",
    "mixed": "records with a timestamp, JSON and an array",
    "beyond": "linked records, reports, searches, batches, files",
    "enqueue": "enqueueing alone", "jobs": "jobs, enqueued and run", "rpc": "calls to a worker",
    "assets": "files of a frontend",
    "growth": "tables that grow, the audit trail",
    "processes": "two, four and eight server processes",
    "plugins": "idle plugins and a listener",
    "exchange": "files in and out, beside COPY",
    "feeds": "creates that 100 clients follow, and how soon an event comes",
    "reach": "API keys, large files, the deploy of a frontend",
    "undo": "undo of 10,000 records",
    "sealing": "seals over the audit trail, and their verification",
    "replay": "the trail read as a stream",
    "sse": "100 clients that follow a log", "memory": "memory, streams, the start",
}  # fmt: skip
GROUP_OF = {
    "GET by id": "get", "list of 20": "list", "list of 100": "list",
    "filtered list of 20": "filter", "filtered list of 20, total": "filter",
    "list of 20, one link": "expand", "list of 20 by a link": "expand",
    "create": "create", "update": "update", "bulk of 1000": "bulk",
}  # fmt: skip
READS = {"get", "list", "filter", "expand"}
PROVIDERS = {"pool": (POOL,), "pipeline": (PIPELINE,), "both": (POOL, PIPELINE)}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How long everything takes."""

    rounds: int
    seconds: float
    sizes: tuple[int, ...]
    minutes: float


FULL = Plan(rounds=3, seconds=3, sizes=growth.SIZES, minutes=10)
QUICK = Plan(rounds=1, seconds=1, sizes=growth.SIZES[:2], minutes=0.3)


class Results:
    """What was found, in the order of the groups."""

    def __init__(self) -> None:
        self.ratios: list[Ratio] = []
        self.measured: dict[str, Any] = {}
        self.bounds: dict[str, Any] = {}

    def add(self, cases: Sequence[Case], plan: Plan) -> None:
        """Measure cases, all contenders in turns, and keep their ratios."""
        for number in range(plan.rounds):
            for case in cases:
                say(f"{case.name}, round {number + 1} of {plan.rounds}")
                case.round(plan.seconds)
        for case in cases:
            self.ratios += case.ratios()
            self.measured[case.name] = case.measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    options = _parser().parse_args(arguments)
    program("python")
    if WRK is None:
        say("No wrk here: the benchmark's own client sends the requests (apt install wrk)")
    plan, began, results = _plan(options), time.perf_counter(), Results()
    with ExitStack() as opened:
        stages = [
            opened.enter_context(stage(options.folder, name=_name(config), config=config))
            for config in PROVIDERS[options.statements]
        ]
        reported = machine(stages[0].ask("show server_version").split()[0])
        busy = os.getloadavg()[0] > 0.75 * reported.cores
        try:
            _run(stages, results, plan, set(options.only), options.folder)
        finally:  # what was measured until a case failed took long enough
            found = {
                "machine": reported, "plan": plan, "busy": busy,
                "seconds": round(time.perf_counter() - began, 1),
                "ratios": results.ratios, "bounds": results.bounds, "measured": results.measured,
            }  # fmt: skip
            _show(results.ratios, str(reported), busy=busy)
            costs(results.measured).show()
            _write(Path(options.json), Path(options.chart), found, results.ratios, str(reported))
    return 0


def _show(ratios: Sequence[Ratio], reported: str, *, busy: bool) -> None:
    table = of_ratios(ratios)
    table.note(f"Every figure is ours divided by theirs. {reported}.")
    if busy:
        table.note("Mind: the machine had other work, which costs one process more than many.")
    table.show()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter,
        epilog="groups:\n" + "\n".join(f"  {name:10} {text}" for name, text in GROUPS.items()),
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one short round, smaller tables")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each takes its turn")
    parser.add_argument("--minutes", type=float, metavar="N", help="of load, for the memory")
    parser.add_argument(
        "--only", type=groups, default=list(GROUPS), metavar="GROUPS", help="get,jobs,rpc ..."
    )
    parser.add_argument(
        "--statements", choices=PROVIDERS, default="both", help="the provider of STATEMENTS (both)"
    )
    parser.add_argument(
        "--json", default=str(BENCH / "results.json"), metavar="FILE", help=".bench/results.json"
    )
    parser.add_argument(
        "--chart", default=str(BENCH / "results.svg"), metavar="FILE", help=".bench/results.svg"
    )
    parser.add_argument("--folder", help="folder of the databases (default: the temporary folder)")
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else FULL
    rounds = plan.rounds if options.rounds is None else max(1, options.rounds)
    minutes = plan.minutes if options.minutes is None else options.minutes
    return msgspec.structs.replace(plan, rounds=rounds, minutes=minutes)


def groups(text: str) -> list[str]:
    """The groups of a list with commas. Raises ArgumentTypeError that names them all."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in GROUPS]:
        raise argparse.ArgumentTypeError(
            f"no such group: {', '.join(unknown)} (there are {', '.join(GROUPS)})"
        )
    return names


def _name(config: str) -> str:
    return "caudex (pipeline)" if config == PIPELINE else "caudex (pool)"


def _run(
    stages: Sequence[Stage], results: Results, plan: Plan, only: set[str], folder: str | None
) -> None:
    """Measure every group that is wanted."""
    one = stages[-1]
    """Where one server is enough: the last, which is the pipeline's where there is one."""
    config = PIPELINE if one.name == _name(PIPELINE) else POOL
    for each in stages:
        requests.fill(each)
        queues.install(each)
    time.sleep(1)
    idle = one.memory()
    _everyday(stages, results, plan, only)
    parts: Mapping[str, Callable[[ExitStack], Sequence[Case]]] = {
        "few": lambda _: callers.cases(one, callers.few()),
        "members": lambda _: callers.cases(one, callers.members()),
        "mixed": lambda _: callers.cases(one, callers.mixed()),
        "enqueue": lambda _: [queues.enqueueing(stages)],
        "jobs": lambda _: queues.cases(stages),
        "rpc": lambda _: calls.cases(stages),
        "assets": lambda own: assets.cases(one, own),
        "sse": lambda _: surroundings.streams(one),
        "processes": lambda own: surroundings.processes(own, config, folder),
        "plugins": lambda own: surroundings.plugins(own, config, folder),
    }
    for name, cases in parts.items():
        if name in only:
            with ExitStack() as own:  # servers that others would be measured beside
                results.add(cases(own), plan)
    if only & {"growth", "memory"}:
        say(f"Filling tables of {', '.join(f'{rows:,}' for rows in plan.sizes)} rows")
        one.sign_in()
        growth.prepare(one, plan.sizes)
    if "growth" in only:
        results.ratios += growth.pages(one, plan.sizes, plan.rounds)
        results.ratios += growth.audit(one, plan.rounds)
    if "beyond" in only:
        _beyond(one, results, plan)
    if "exchange" in only:
        _exchange(one, results)
    if "feeds" in only:
        _feeds(one, results, plan)
    if "reach" in only:
        _reach(one, results, plan)
    if "undo" in only:
        _undo(one, results)
    if "sealing" in only:
        _sealing(config, folder, results, plan)
    if "replay" in only:
        _replay(one, results)
    if "memory" in only:
        _bounds(one, idle, results, plan)


def _everyday(stages: Sequence[Stage], results: Results, plan: Plan, only: set[str]) -> None:
    wanted = only & {*GROUP_OF.values(), "login"}
    if not wanted:
        return
    first = stages[0]
    with by_hand(first) as hand, pocketbase(first, requests.IDS) as base, bare(first) as alone:
        # Reads come first: the faster a contender writes, the larger its tables are.
        for part in filter(None, (wanted & READS, wanted - READS)):
            say("Comparing what all answer")
            names = {name for name, group in GROUP_OF.items() if group in part}
            found = requests.cases(stages, hand, base, alone, names)
            if "login" in part:
                found.append(login.case(stages, hand, base))
            results.add(found, plan)


def _beyond(one: Stage, results: Results, plan: Plan) -> None:
    say("Querying, searching and moving many records")
    one.sign_in()
    beyond.prepare(one, plan.sizes[-1])
    results.ratios += beyond.ratios(one, plan.rounds)
    found = results.bounds["beyond"] = beyond.files_and_searches(one)
    table = Table("Searches and files", "measured", "bound")
    milliseconds = 1000 * found.search_database_seconds
    table.row(
        f"PostgreSQL, for a search with {found.search_hits} hits", *bound(milliseconds, 30, "ms")
    )
    table.row("memory that an export adds", *bound(found.export_memory, STREAM_LIMIT, "MB"))
    table.row("memory that an import adds", *bound(found.import_memory, STREAM_LIMIT, "MB"))
    table.note(f"An import has {found.import_of_copy:.2f} of the speed of COPY, by processor time.")
    table.show()


def _exchange(one: Stage, results: Results) -> None:
    say(f"Moving {exchange.ROWS:,} records in and out as files")
    one.sign_in()
    found = results.bounds["exchange"] = exchange.compare(one)
    table = Table("Files of records", "measured", "bound")
    table.row("an import, by COPY (clock)", *bound(found.import_of_copy, 4, "times"))
    table.row("a dry run, by the import (clock)", *bound(found.dry_run_of_import, 0.6, "times"))
    table.row(
        "a dry run with `on`, by the import (clock)",
        *bound(found.keyed_dry_run_of_import, 0.6, "times"),
    )
    table.row("CSV, by JSON (processor)", *bound(found.csv_of_json, 1.2, "times"))
    table.row("CSV, by COPY (clock)", *bound(found.csv_of_copy, 3, "times"))
    table.show()


def _feeds(one: Stage, results: Results, plan: Plan) -> None:
    say("Following changes")
    one.sign_in()
    results.add([feeds.case(one)], plan)
    here, elsewhere = feeds.measure_latencies(one)
    idle = feeds.measure_idle(one)
    results.bounds["feeds"] = {"latency": here, "latency_elsewhere": elsewhere, "idle": idle}
    table = Table("Feeds", "measured", "bound")
    table.row("an event after the reply, p50", *bound(1000 * here.p50, 10, "ms"))
    table.row("an event after the reply, p99", *bound(1000 * here.p99, 20, "ms"))
    table.row("after a write of another process, p99", *bound(1000 * elsewhere.p99, 150, "ms"))
    table.row(f"memory of {feeds.IDLE_STREAMS:,} idle streams", *bound(idle.memory_mb, 60, "MB"))
    table.row("what they take of a core", *bound(idle.percent, 2, "%"))
    table.show()


def _reach(one: Stage, results: Results, plan: Plan) -> None:
    say("Deploying a frontend, and moving files of a gigabyte")
    seconds = reach.deploy(one, reach.make_site())
    with starlette_alone(one) as alone:
        results.add([reach.keys(one)], plan)
        moved = reach.transfers(one, alone)
        results.add(moved.cases, plan)
    results.bounds["reach"] = {"deploy_seconds": seconds, "memory_mb": moved.grown}
    table = Table("Frontends and files", "measured", "bound")
    table.row("deploy of 5 MB to the first byte", *bound(seconds, 2, "s"))
    table.row("memory that files of 1 GB add", *bound(moved.grown, FILE_LIMIT, "MB"))
    table.show()


def _undo(one: Stage, results: Results) -> None:
    say(f"Undoing changes of {undos.RECORDS:,} records")
    one.sign_in()
    found = results.bounds["undo"] = undos.measure(one)
    table = Table(f"Undo of {undos.RECORDS:,} records", "measured", "bound")
    table.row("of an import", *bound(found.of_import, UNDO_LIMIT, "s"))
    table.row("of an update", *bound(found.of_update, UNDO_LIMIT, "s"))
    table.row("of a delete", *bound(found.of_delete, UNDO_LIMIT, "s"))
    table.row("memory that they add", *bound(found.memory_mb, STREAM_LIMIT, "MB"))
    table.show()


def _sealing(config: str, folder: str | None, results: Results, plan: Plan) -> None:
    say("Sealing the audit trail, and verifying it")
    found = results.bounds["sealing"] = sealing.compare(config, folder, 3 * plan.seconds)
    table = Table("Sealing", "measured", "bound")
    table.row("a row, in processor time", f"{found.row_micros:.1f} µs", "")
    table.row("of the processor time of creates", f"{found.percent_of_create:.1f} %", "")
    table.row("of the creates of one caller", *bound(found.lost_by_one, SEAL_LIMIT, "%"))
    table.row("of those of 32 callers", *bound(found.lost_by_many, SEAL_LIMIT, "%"))
    rate = f"{found.verified_per_second:,.0f} rows/s"
    missed = "" if found.verified_per_second > VERIFY_LEAST else "  (under)"
    table.row("verification", rate, f"> {VERIFY_LEAST:,} rows/s{missed}")
    table.row("memory that a verification adds", *bound(found.memory_mb, STREAM_LIMIT, "MB"))
    table.show()


def _replay(one: Stage, results: Results) -> None:
    say(f"Replaying {replays.CHANGES:,} changes")
    one.sign_in()
    found = results.bounds["replay"] = replays.measure(one)
    table = Table(f"Replay of {replays.CHANGES:,} changes", "measured", "bound")
    table.row("a change (clock)", *bound(1e6 / found.per_second, REPLAY_LIMIT, "µs"))
    table.row("memory that the reader adds", *bound(found.memory_mb, STREAM_LIMIT, "MB"))
    table.row("a look that finds one change", *bound(found.poll_ms, 20, "ms"))
    table.row("a look that finds nothing", *bound(found.idle_ms, 2, "ms"))
    table.show()


def _bounds(one: Stage, idle: float, results: Results, plan: Plan) -> None:
    say(f"Watching the memory for {plan.minutes:g} minutes of load")
    memory = surroundings.memory(one, idle, plan.minutes)
    one.stop()
    boot = one.start()
    one.sign_in()
    streamed = growth.stream(one, plan.sizes[-1])  # a fresh process has no memory to spare
    results.bounds |= {"memory_mb": memory, "stream": streamed, "boot_seconds": boot}
    table = Table("Bounds", "measured", "bound")
    table.row("memory when idle, a worker included", *bound(idle, IDLE_LIMIT, "MB"))
    grown = memory.late - memory.early
    table.row(f"what {plan.minutes:g} minutes of load add", *bound(grown, GROWTH_LIMIT, "MB"))
    table.row(
        f"memory that a complete list of {streamed.rows:,} adds",
        *bound(streamed.growth, STREAM_LIMIT, "MB"),
    )
    table.row("start on an existing database", *bound(boot, BOOT_LIMIT, "s"))
    table.show()


def _write(
    file: Path, chart: Path, found: Mapping[str, Any], ratios: Sequence[Ratio], reported: str
) -> None:
    file.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    chart.write_text(svg(ratios, f"Throughput of Caudex. {reported}"), "utf-8")
    say(f"Every figure is in {file}, the chart in {chart}")


if __name__ == "__main__":
    sys.exit(main())
