"""Compare the processor time of every case with an earlier version; fail where it has grown.

The servers of both versions run side by side and are measured in short turns, one after the other.
The speed of a shared machine changes within minutes, so each turn of one is compared with the turn
of the other beside it. Two processes of the same code differ by up to a tenth for as long as they
run, so both are started several times. What counts is the mean of the medians of each start.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

from . import calls, login, queues, requests
from .__main__ import GROUP_OF, groups
from .figures import Case, Contender, Measured
from .peers.program import BENCH
from .report import Table, say
from .stage import PIPELINE, ROOT, Stage, python, stage

BASES = ("v0.2.0", "cf23c0e")
"""What is compared with: the first of these that the repository has."""
MOST = 1.10
"""Processor time of server and database together, ours divided by theirs."""
OURS, EARLIER = "ours", "earlier"
EVERYDAY = ("get", "list", "filter", "create", "update", "bulk")
OTHERS: Mapping[str, Mapping[str, Callable[[Stage], Contender]]] = {
    "login": {"login": login.ours_of},
    "jobs": {
        "jobs: enqueue to done": lambda stage: queues.Ours(stage, waiting=False),
        "jobs: work off a queue": lambda stage: queues.Ours(stage, waiting=True),
    },
    "rpc": {
        "rpc, one caller": calls.OverHttp,
        "rpc, 16 callers": lambda stage: calls.Many(stage, queues.APP),
    },
}
NEWER = ("filtered list of 20, total",)
"""Requests that the earlier version takes otherwise."""


def main(arguments: Sequence[str]) -> int:
    """Measure both versions in turns; return 1 where a case has become slower."""
    parser = argparse.ArgumentParser(prog="make bench-check", description=__doc__)
    parser.add_argument("--only", type=groups, default=[*EVERYDAY, *OTHERS], metavar="GROUPS")
    parser.add_argument("--starts", type=int, default=4, help="how often both are started (4)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each after a start (3)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each turn (1.5)")
    options = parser.parse_args(arguments)
    base = next(each for each in BASES if _git("rev-parse", "-q", "--verify", f"{each}^{{commit}}"))
    folder = BENCH / "base"
    _git("worktree", "add", "--force", "--detach", str(folder), base)
    try:
        say(f"Preparing {base}")
        subprocess.run(["make", "--directory", folder, "setup"], env=_environment(), check=True)
        starts = [compare(folder, options, start) for start in range(1, options.starts + 1)]
    finally:
        _git("worktree", "remove", "--force", str(folder))
    return show(starts, base)


def compare(folder: Path, options: argparse.Namespace, start: int) -> dict[str, float]:
    """Start both versions and return the ratios of this start, by case."""
    say(f"Start {start} of {options.starts}")
    with (
        stage(name=OURS, config=PIPELINE) as ours,
        stage(name=EARLIER, config=_config(folder), root=folder) as earlier,
    ):
        for each in (ours, earlier):
            requests.fill(each)
            queues.install(each)
        return measure(cases(ours, earlier, options.only), options.rounds, options.seconds)


def cases(ours: Stage, earlier: Stage, only: Sequence[str]) -> list[Case]:
    """Return what both do, by groups."""
    found: list[Case] = []
    for want in requests.WANTS:
        if GROUP_OF[want.name] in only and want.name not in NEWER:
            pair = [requests.ours_of(each, want) for each in (ours, earlier)]
            requests.same(want.name, want.rows, pair)
            found.append(Case(want.name, pair[:1], pair[1:]))
    for group in only:
        for name, of in OTHERS.get(group, {}).items():
            found.append(Case(name, [of(ours)], [of(earlier)]))
    return found


def measure(found: Sequence[Case], rounds: int, seconds: float) -> dict[str, float]:
    """Return our processor time divided by the earlier, by case."""
    ratios = dict[str, float]()
    for case in found:
        say(f"{case.name}, {rounds} turns of each")
        for _ in range(rounds):
            case.round(seconds)
        pairs = zip(case.measured[OURS], case.measured[EARLIER], strict=True)
        ratios[case.name] = median(_spent(now) / _spent(before) for now, before in pairs)
    return ratios


def show(starts: Sequence[Mapping[str, float]], base: str) -> int:
    """Print the ratios; return 1 where one is too large, or where there are none."""
    table = Table("Processor time of a request", base, "of each start")
    means = {name: fmean(ratios[name] for ratios in starts) for name in starts[0]}
    for name, ratio in means.items():
        each = "; ".join(f"{ratios[name]:.2f}" for ratios in starts)
        table.row(name, f"{ratio:.2f}{' is too much' if ratio > MOST else ''}", each)
    table.note(f"Ours divided by that of {base}; the mean of all starts is at most {MOST:.2f}.")
    table.show()
    return int(not means or max(means.values()) > MOST)


def _spent(measured: Measured) -> float:
    """Return the seconds of processor time for one request."""
    return (measured.server_cpu or 0.0) + (measured.database_cpu or 0.0)


def _config(folder: Path) -> str:
    """Return the configuration that the earlier version's own benchmark has."""
    code = "from tests.benchmarks.stage import CONFIG, PIPELINE; print(CONFIG + PIPELINE)"
    words = [python(folder), "-c", code]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout


def _environment() -> dict[str, str]:
    """Return ours without what a make passes on, and with our Python for a new `.venv`."""
    inner = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "ARGS")
    ours = {name: value for name, value in os.environ.items() if name not in inner}
    return ours | {"PYTHON": os.path.realpath(sys.executable)}


def _git(*words: str) -> bool:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
