"""`make profile`: a flame graph of the server under load, by py-spy of the bench environment."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from . import requests, surroundings
from .load import load
from .peers.program import BENCH, program
from .report import say
from .stage import PIPELINE, POOL, Stage, stage

WANTS = {"get": surroundings.READ, "list": surroundings.PAGE, "create": surroundings.CREATE}
REMEDY = """\
py-spy may not look into the server: {said}
Run as root, or allow it: sysctl kernel.yama.ptrace_scope=0, --cap-add SYS_PTRACE in a container."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Record one."""
    parser = argparse.ArgumentParser(prog="make profile", description=__doc__)
    parser.add_argument("--case", choices=WANTS, default="get", help="which request (get)")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--statements", choices=("pool", "pipeline"), default="pipeline")
    parser.add_argument("--file", default=str(BENCH / "profile.svg"), metavar="FILE")
    options = parser.parse_args(arguments)
    config = PIPELINE if options.statements == "pipeline" else POOL
    with stage(config=config) as server:
        requests.fill(server)
        failure = _record(server, options.case, options.seconds, options.file)
    say(REMEDY.format(said=failure) if failure else f"The flame graph is in {options.file}")
    return 1 if failure else 0


def _record(server: Stage, case: str, seconds: int, file: str) -> str:
    """Send requests and look at the server meanwhile; returns why that was not possible."""
    contestant = surroundings.contestant(server, WANTS[case], case)
    raw = contestant.requests()
    load(server.url, raw, connections=32, seconds=1)
    spy = subprocess.Popen(
        [
            program("py-spy"), "record", "--pid", str(server.pid), "--rate", "250", "--format",
            "flamegraph", "--duration", str(seconds), "--output", file,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    load(server.url, raw, connections=32, seconds=seconds + 1)
    said, _ = spy.communicate(timeout=60)
    lines = said.strip().splitlines() or ["it reported nothing"]
    return lines[-1] if spy.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
