"""Compare the processor time of every case with an earlier version; fail where it has grown.

Both versions are measured in turns on the same machine, each by its own benchmark. Other work of
the machine adds to the processor time of a request, so the least of all rounds counts.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from .__main__ import groups
from .figures import Measured
from .peers.program import BENCH
from .report import Table, say

ROOT = Path(__file__).parents[2]
BASES = ("v0.2.0", "cf23c0e")
"""What is compared with: the first of these that the repository has."""
MOST = 1.10
"""Processor time of server and database together, ours divided by theirs."""

Cases = Mapping[str, Mapping[str, Sequence[Measured]]]


class Results(msgspec.Struct):
    """What is read of a file that `make bench` wrote."""

    measured: dict[str, dict[str, list[Measured]]]


def spent(measured: Sequence[Measured]) -> float | None:
    """Return the least seconds of processor time for one request, or None where none are known."""
    sums = [(one.server_cpu or 0.0) + (one.database_cpu or 0.0) for one in measured]
    return min((each for each in sums if each), default=None)


def compare(now: Cases, before: Cases) -> dict[tuple[str, str], float]:
    """Return our processor time divided by the earlier, by case and name, where both have it."""
    found: dict[tuple[str, str], float] = {}
    for case, contenders in now.items():
        for name, measured in contenders.items():
            earlier = spent(before.get(case, {}).get(name, ()))
            if name.startswith("caudex") and earlier and (ours := spent(measured)):
                found[case, name] = ours / earlier
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure both versions twice for each group of `--only`; 1 where a case has become slower.

    The speed of a shared machine changes within minutes, so the turns of a group follow each other.
    """
    parser = argparse.ArgumentParser(prog="make bench-check", description=__doc__)
    parser.add_argument("--only", type=groups, required=True)
    options, others = parser.parse_known_args(arguments)
    base = next(each for each in BASES if _git("rev-parse", "-q", "--verify", f"{each}^{{commit}}"))
    folder = BENCH / "base"
    _git("worktree", "add", "--force", "--detach", str(folder), base)
    ratios = dict[tuple[str, str], float]()
    try:
        for group in options.only:
            words = [*others, "--only", group]
            first, *ours, last = (_measure(each, words) for each in (folder, ROOT, ROOT, folder))
            ratios |= compare(both(*ours), both(first, last))
    finally:
        _git("worktree", "remove", "--force", str(folder))
    return show(ratios, base)


def show(ratios: Mapping[tuple[str, str], float], base: str) -> int:
    """Print the ratios; return 1 where one is too large, or where there are none."""
    table = Table("Processor time of a request", base)
    for (case, name), ratio in ratios.items():
        table.row(f"{case}, {name}", f"{ratio:.2f}{' is too much' if ratio > MOST else ''}")
    table.note(f"Ours divided by that of {base}; at most {MOST:.2f}.")
    table.show()
    return int(not ratios or max(ratios.values()) > MOST)


def both(one: Cases, other: Cases) -> Cases:
    """Return the rounds of two runs together."""
    return {
        case: {name: [*measured, *other[case][name]] for name, measured in contenders.items()}
        for case, contenders in one.items()
    }


def _measure(folder: Path, arguments: Sequence[str]) -> Cases:
    """Run a version's own benchmark with the packages of its own lock file."""
    say(f"Measuring {'this version' if folder == ROOT else 'the earlier version'}")
    file = BENCH / "check.json"
    words = [*arguments, "--json", str(file), "--chart", str(file.with_suffix(".svg"))]
    command = ["make", "--directory", folder, "bench", f"ARGS={shlex.join(words)}"]
    subprocess.run(command, env=_environment(), check=True)
    return msgspec.json.decode(file.read_bytes(), type=Results).measured


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
