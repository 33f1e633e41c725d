"""Prints the size of the console, and fails beyond its budget: `python -m plugins.console.size`."""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Mapping
from typing import Final

from .files import WEB, lean

ALL_BYTES: Final = 120_000
"""All files together, each compressed by gzip as it is sent."""
FIRST_BYTES: Final = 60_000
"""What a browser loads until something is shown."""
FIRST_REQUESTS: Final = 15
"""Requests until then, those to the API included."""
CALLS: Final = ("POST /api/v1/console/session", "GET /api/v1/auth/mode")
IMPORT: Final = re.compile(r"""(?:\bfrom\s*|^import\s*)["'](\.[^"']+)["']""", re.MULTILINE)


def sizes() -> Mapping[str, int]:
    """Return the bytes of every file after gzip, by its path."""
    names = [path.relative_to(WEB).as_posix() for path in sorted(WEB.rglob("*.*"))]
    names = [name for name in names if not name.endswith(".d.ts")]
    return {name: len(_sent(name)) for name in names}


def _sent(name: str) -> bytes:
    return gzip.compress(lean(name, (WEB / name).read_bytes()), 9, mtime=0)


def first_paint() -> set[str]:
    """Return the files that the form to sign in needs: the page, its style, and static imports."""
    found = {"index.html", "console.css"}
    waiting = ["main.js", "screens/signin.js"]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        path = WEB / name
        waiting += [
            (path.parent / given).resolve().relative_to(WEB).as_posix()
            for given in IMPORT.findall(path.read_text("utf-8"))
        ]
    return found


def budget() -> list[str]:
    """Return what is beyond the budget, as sentences."""
    every, first = sizes(), first_paint()
    total, shown = sum(every.values()), sum(every[name] for name in first)
    requests = len(first) + len(CALLS)
    return [
        f"{what}: {value:,} of {most:,}"
        for what, value, most in (
            ("all files, bytes", total, ALL_BYTES),
            ("first paint, bytes", shown, FIRST_BYTES),
            ("first paint, requests", requests, FIRST_REQUESTS),
        )
        if value > most
    ]


def main() -> int:
    """Print every file and the sums."""
    every, first = sizes(), first_paint()
    lines = [f"{size:>8,}  {'*' if name in first else ' '} {name}" for name, size in every.items()]
    total, shown = sum(every.values()), sum(every[name] for name in first)
    lines += [
        f"{total:>8,}  all, of {ALL_BYTES:,} (bytes after gzip)",
        f"{shown:>8,}  first paint (*), of {FIRST_BYTES:,}",
        f"{len(first) + len(CALLS):>8}  requests until then, of {FIRST_REQUESTS}",
        *budget(),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if budget() else 0


if __name__ == "__main__":
    sys.exit(main())
