"""Runs PostgreSQL's programs to their end."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL as NOTHING
from subprocess import PIPE
from typing import IO, Final, NamedTuple

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kernel.public import BadRequest, Unavailable

TIMEOUT: Final = 24 * 3600


class Streams(NamedTuple):
    """What a program reads from, and writes its output and errors to."""

    source: IO[bytes] | int
    target: IO[bytes] | int
    errors: IO[bytes] | int


def connection_arguments(url: str) -> list[str]:
    """Return the connection for an argument list, which every account of the machine can read."""
    parts = conninfo_to_dict(url)
    return [f"--dbname={make_conninfo('', **{**parts, 'password': None})}"]


def run(command: Sequence[str], url: str) -> str:
    """Run a program to its end and return what it prints. Raises BadRequest with its error."""
    with started(command, url, Streams(NOTHING, PIPE, PIPE)) as process:
        output, errors = process.communicate(timeout=TIMEOUT)
    if process.returncode:
        raise failure(command, errors)
    return output.decode("utf-8", "replace")


@contextmanager
def started(
    command: Sequence[str], url: str, streams: Streams
) -> Generator[subprocess.Popen[bytes]]:
    """Start a program, which gets the password of a connection. It ends with us: a signal, too,
    comes as an exception. Raises Unavailable where it does not start or end."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    password = conninfo_to_dict(url).get("password")
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    try:
        with subprocess.Popen(
            command,
            env=environment,
            stdin=streams.source,
            stdout=streams.target,
            stderr=streams.errors,
        ) as process:
            try:
                yield process
            except BaseException:
                _end(process)
                raise
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]} did not end: {error}") from None


def failure(command: Sequence[str], errors: bytes) -> BadRequest:
    """Return the error that a program ended with, from what it printed."""
    return BadRequest(f"{Path(command[0]).name}: {_error_in(errors.decode('utf-8', 'replace'))}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program with SIGTERM, by which it cancels its statement in PostgreSQL."""
    process.terminate()
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()


def _error_in(text: str) -> str:
    """Return the line with the error rather than the statement that it is of."""
    error = re.search(r"\berror: +(.*)(?:\n.*\bdetail: +(?!Query was)(.*))?", text, re.IGNORECASE)
    if error:
        return "; ".join(filter(None, error.groups()))
    return (text.strip().splitlines() or ["it said nothing"])[-1]
