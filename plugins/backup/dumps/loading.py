"""Loads a dump into a database with pg_restore, also into one that is older than the program."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL as NOTHING
from subprocess import PIPE
from tempfile import TemporaryFile
from typing import IO, Final

from kernel.public import BadRequest

from . import postgres
from .programs import Program
from .running import TIMEOUT, Streams, connection_arguments, failure, run, started

UNKNOWN_SETTING: Final = b"SET transaction_timeout = 0;\n"
"""pg_restore sets it since PostgreSQL 17, whatever the version of the database."""
FIRST_WITH_SETTING: Final = 17
PREAMBLE: Final = 100
"""Lines among which it is."""


def load(programs: Sequence[Program], url: str, file: Path, *, privileges: bool = True) -> None:
    """Restore a dump into an empty database, whole or not at all.

    Takes the first program that can read it: a newer pg_dump writes a newer format. Without
    `privileges` grants are left out, whose roles may be missing.
    """
    program, entries = _read_entries(programs, url, file)
    selection = file.with_name("list")
    # A comment of an extension belongs to its owner, which may be another login.
    excluded = [" COMMENT - EXTENSION "]
    excluded += [f" SCHEMA - {name} " for name in postgres.extension_schemas(url)]
    selected = [entry for entry in entries if not any(part in entry for part in excluded)]
    selection.write_text("\n".join(selected))
    command = [str(program.path), "--single-transaction", "--exit-on-error", "--no-owner"]
    if not privileges:
        command.append("--no-privileges")
    command += [f"--use-list={selection}", str(file)]
    if program.major >= FIRST_WITH_SETTING > postgres.major_of(url):
        _load_script(command, program, url)
    else:
        run([*command, *connection_arguments(url)], url)


def _read_entries(programs: Sequence[Program], url: str, file: Path) -> tuple[Program, list[str]]:
    """Return the first program that reads a dump, and the entries of the dump."""
    for program in programs[:-1]:
        with suppress(BadRequest):
            return program, _list_entries(program, url, file)
    return programs[-1], _list_entries(programs[-1], url, file)


def _list_entries(program: Program, url: str, file: Path) -> list[str]:
    return run([str(program.path), "--list", str(file)], url).splitlines()


def _load_script(command: Sequence[str], program: Program, url: str) -> None:
    """Load a dump as a script, without the setting that the database does not know.

    The script begins and commits the transaction. Where it is cut off, psql ends without a commit.
    Data cannot give commands to psql, which the first lines restrict.
    """
    psql = [str(program.path.with_name("psql")), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    psql += connection_arguments(url)
    source_command = [*command, "--file=-"]
    with (
        TemporaryFile() as source_errors,
        TemporaryFile() as errors,
        started(source_command, url, Streams(NOTHING, PIPE, source_errors)) as source,
        started(psql, url, Streams(PIPE, NOTHING, errors)) as target,
    ):
        if source.stdout and target.stdin:
            with suppress(BrokenPipeError):  # psql has ended, and printed why
                _copy_script(source.stdout, target.stdin)
            source.stdout.close()
        target.communicate(timeout=TIMEOUT)
        source.wait(timeout=TIMEOUT)
        if target.returncode:
            raise failure(psql, _content_of(errors))
        if source.returncode:
            raise failure(source_command, _content_of(source_errors))


def _content_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _copy_script(source: IO[bytes], target: IO[bytes]) -> None:
    head = [source.readline() for _ in range(PREAMBLE)]
    if not any(line.startswith(b"\\restrict ") for line in head):
        raise BadRequest("pg_restore is older than August 2025: update the client programs")
    target.writelines(line for line in head if line != UNKNOWN_SETTING)
    shutil.copyfileobj(source, target, 1 << 20)
