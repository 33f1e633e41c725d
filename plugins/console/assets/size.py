"""Prints the size of the console, and fails beyond its budget.

`python -m plugins.console.assets.size` is a part of CI.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from . import lean
from .files import WEB

ALL_BYTES: Final = 200_000
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
    return {name: len(_compress(name)) for name in names}


def _compress(name: str) -> bytes:
    return lean.pack(lean.shorten(name, (WEB / name).read_bytes()))


def first_paint() -> set[str]:
    """Return the files that the form to sign in needs: the page, its style, and static imports."""
    names = {"index.html", "console.css"}
    waiting = ["main.js", "screens/signin.js"]
    while waiting:
        name = waiting.pop()
        if name in names:
            continue
        names.add(name)
        path = WEB / name
        for imported in IMPORT.findall(path.read_text("utf-8")):
            imported_path = (path.parent / imported).resolve()
            waiting.append(imported_path.relative_to(WEB).as_posix())
    return names


class Sums(NamedTuple):
    """What the budget is compared with."""

    all_bytes: int
    first_bytes: int
    first_requests: int


def add_up() -> Sums:
    """Add up the files."""
    bytes_by_name = sizes()
    first_names = first_paint()
    return Sums(
        all_bytes=sum(bytes_by_name.values()),
        first_bytes=sum(bytes_by_name[name] for name in first_names),
        first_requests=len(first_names) + len(CALLS),
    )


def budget() -> list[str]:
    """Return what is beyond the budget, as sentences."""
    sums = add_up()
    return [
        f"{title}: {value:,} of {limit:,}"
        for title, value, limit in (
            ("all files, bytes", sums.all_bytes, ALL_BYTES),
            ("first paint, bytes", sums.first_bytes, FIRST_BYTES),
            ("first paint, requests", sums.first_requests, FIRST_REQUESTS),
        )
        if value > limit
    ]


def main() -> int:
    """Print every file and the sums."""
    first_names = first_paint()
    lines: list[str] = []
    for name, size in sizes().items():
        mark = "*" if name in first_names else " "
        lines.append(f"{size:>8,}  {mark} {name}")

    sums = add_up()
    problems = budget()
    lines += [
        f"{sums.all_bytes:>8,}  all, of {ALL_BYTES:,} (bytes after gzip)",
        f"{sums.first_bytes:>8,}  first paint (*), of {FIRST_BYTES:,}",
        f"{sums.first_requests:>8}  requests until then, of {FIRST_REQUESTS}",
        *problems,
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if problems:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
