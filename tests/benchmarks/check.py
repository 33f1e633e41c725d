"""Compare the processor time of every case with an earlier version; fail where it has grown.

Both versions are measured one after the other on the same machine, each by its own benchmark.
Throughput depends on what else the machine does; processor time for one request hardly does.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from .figures import Measured, middle
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
    """Return the seconds of processor time for one request, or None where they are not known."""
    parts = [middle(measured, name) for name in ("server_cpu", "database_cpu")]
    known = [part for part in parts if part is not None]
    return sum(known) or None


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
    """Measure both versions with the same arguments; 1 where a case has become slower."""
    base = next(each for each in BASES if _git("rev-parse", "-q", "--verify", f"{each}^{{commit}}"))
    folder = BENCH / "base"
    _git("worktree", "add", "--force", "--detach", str(folder), base)
    try:
        say(f"Measuring {base}")
        before = _measure(folder, BENCH / "base.json", arguments)
        say("Measuring this version")
        now = _measure(ROOT, BENCH / "now.json", arguments)
    finally:
        _git("worktree", "remove", "--force", str(folder))
    return show(compare(now, before), base)


def show(ratios: Mapping[tuple[str, str], float], base: str) -> int:
    """Print the ratios; return 1 where one is too large, or where there are none."""
    table = Table("Processor time of a request", base)
    for (case, name), ratio in ratios.items():
        table.row(f"{case}, {name}", f"{ratio:.2f}{' is too much' if ratio > MOST else ''}")
    table.note(f"Ours divided by that of {base}; at most {MOST:.2f}.")
    table.show()
    return int(not ratios or max(ratios.values()) > MOST)


def _measure(folder: Path, file: Path, arguments: Sequence[str]) -> Cases:
    """Run a version's own benchmark with the packages of its own lock file."""
    words = [*arguments, "--json", str(file), "--chart", str(file.with_suffix(".svg"))]
    command = ["make", "--directory", folder, "bench", f"ARGS={shlex.join(words)}"]
    subprocess.run(command, env=_environment(), check=True)
    return msgspec.json.decode(file.read_bytes(), type=Results).measured


def _environment() -> dict[str, str]:
    """Return ours without what a make passes on to those that it starts."""
    inner = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "ARGS")
    return {name: value for name, value in os.environ.items() if name not in inner}


def _git(*words: str) -> bool:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
