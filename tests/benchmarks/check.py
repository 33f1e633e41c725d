"""Compare the processor time of every case with an earlier version; fail where it has grown.

Both versions get the same requests at the same time, everything runs on one processor, and the
servers take turns of 50 ms. The speed of a shared machine changes from second to second, and
differs between its processors: ratios of turns of a second or two vary by a sixth. Two processes of
the same code still differ by some hundredths for as long as they run, so both are started several
times. What counts is the mean of the medians of each start.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from statistics import fmean, median
from threading import Event, Thread

from . import callers, calls, login, queues, requests
from .__main__ import GROUP_OF, groups
from .figures import Case, Contender, Measured
from .peers.program import BENCH
from .report import Table, say
from .stage import PIPELINE, ROOT, Stage, python, stage

BASES = ("v0.2.0", "cf23c0e")
"""What is compared with: the first of these that the repository has."""
MOST = 1.10
"""Processor time of server and database together, ours divided by theirs."""
TURN = 0.05
"""Seconds that one server runs while the other one is stopped."""
OURS, EARLIER = "ours", "earlier"
EVERYDAY = ("get", "list", "filter", "create", "update", "bulk")
OTHERS: Mapping[str, Mapping[str, Callable[[Stage], Contender]]] = {
    "few": callers.few(),
    "members": callers.members(),
    "mixed": callers.mixed(),
    "login": {"login": login.ours_of},
    "enqueue": {
        "enqueue": queues.enqueuer,
        "enqueue, one caller": lambda stage: queues.enqueuer(stage, 1),
    },
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
    """Measure both versions together; return 1 where a case has become slower."""
    parser = argparse.ArgumentParser(prog="make bench-check", description=__doc__)
    parser.add_argument("--only", type=groups, default=[*EVERYDAY, *OTHERS], metavar="GROUPS")
    parser.add_argument("--starts", type=int, default=3, help="how often both are started (3)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds after each start (3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round (3)")
    parser.add_argument("--base", metavar="COMMIT", help="what to compare with (the last tag)")
    options = parser.parse_args(arguments)
    base = options.base or next(filter(_is_commit, BASES))
    folder = BENCH / "base"
    _git("worktree", "add", "--force", "--detach", str(folder), base)
    try:
        say(f"Preparing {base}")
        subprocess.run(["make", "--directory", folder, "setup"], env=_environment(), check=True)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        starts = [compare(folder, options) for _ in range(options.starts)]
    finally:
        _git("worktree", "remove", "--force", str(folder))
    return show(starts, base)


def _is_commit(name: str) -> bool:
    return _git("rev-parse", "-q", "--verify", f"{name}^{{commit}}")


def compare(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Start both versions and return the ratios of this start, by case."""
    with (
        stage(name=OURS, config=PIPELINE) as ours,
        stage(name=EARLIER, config=_config(folder), root=folder) as earlier,
    ):
        for each in (ours, earlier):
            requests.fill(each)
            queues.install(each)
        found = cases(ours, earlier, options.only)
        with taking_turns([ours.pid, earlier.pid]):
            return measure(found, options.rounds, options.seconds)


@contextmanager
def taking_turns(pids: Sequence[int]) -> Generator[None]:
    """Let one of these processes run at a time, all of them equally long."""
    over, order = Event(), deque(pids)

    def alternate() -> None:
        for pid in pids[1:]:
            os.kill(pid, SIGSTOP)
        while not over.wait(TURN):
            os.kill(order[0], SIGSTOP)
            order.rotate()
            os.kill(order[0], SIGCONT)
        for pid in pids:
            os.kill(pid, SIGCONT)

    thread = Thread(target=alternate)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


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
        say(f"{case.name}, {rounds} rounds")
        for _ in range(rounds):
            case.together(seconds)
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
