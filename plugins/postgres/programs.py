"""Running a program to its end with an environment that gives nothing away."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

# Only these reach PostgreSQL: our environment holds secrets that its account must not read, and
# PG* variables that would change its behaviour.
PASSED_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")


def environment() -> dict[str, str]:
    """The environment of PostgreSQL's programs: no secrets, no surprises."""
    passed = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
    return {"PATH": os.defpath, **passed, "LC_ALL": "C"}


def run(
    command: Sequence[str | Path], *, uid: int | None = None, gid: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a short program, as another account when ids are given; OSError when it cannot start."""
    return subprocess.run(
        command,
        cwd="/",
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        user=uid,
        group=gid,
        extra_groups=None if uid is None else [],
    )
