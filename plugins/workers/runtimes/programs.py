"""Finds the language of some code, and the programs that run it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from kernel.public import BadRequest, Runtime

Usable = Callable[[str], bool]
"""Whether the account of a worker can run a program."""


def find(names: Iterable[str], usable: Usable) -> str | None:
    """Return the first program, a name on PATH or a path, that workers can run.

    Where there are some and workers can run none of them, the first.
    """
    found = [path for name in names if name and (path := shutil.which(name))]
    paths = [os.path.abspath(path) for path in found]
    return next(filter(usable, paths), paths[0] if paths else None)


@cache
def output(program: str, *arguments: str) -> str:
    """What a program prints, or nothing where it fails."""
    try:
        done = subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=20, check=False, cwd="/",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def version(program: str, *arguments: str) -> tuple[int, ...]:
    """The version that a program prints, as numbers; `(0,)` where it prints none."""
    words = output(program, *(arguments or ("--version",))).split()
    numbers = words[-1].lstrip("v").split(".") if words else []
    return tuple(int(number) for number in numbers if number.isdecimal()) or (0,)


class Runtimes:
    """The languages of this server, asked in order for the one of some code."""

    def __init__(self, runtimes: Sequence[Runtime]) -> None:
        self._runtimes = runtimes

    def find(self, folder: Path) -> tuple[Runtime, Path]:
        """Return the runtime of unpacked code and its entry file. Raises BadRequest for none."""
        for runtime in self._runtimes:
            if (entry := runtime.entry(folder)) is not None:
                return runtime, entry
        names = ", ".join(runtime.name for runtime in self._runtimes)
        raise BadRequest(
            "the archive has no entry file at its top: worker.py, main.py, index.ts, index.js, "
            f"main.ts or main.js, the last four under src/ too (runtimes: {names})"
        )
