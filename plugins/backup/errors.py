"""Errors of PostgreSQL and of the system, reported in one line."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from kernel.public import BadRequest, KernelError, Unavailable, dialect


@contextmanager
def reported(place: Path | None = None) -> Generator[None]:
    """Turn psycopg.Error and OSError into BadRequest or Unavailable. `place` is reported where the
    system names no file, as for a full disk."""
    try:
        yield
    except psycopg.Error as error:
        raise _of_database(error) from None
    except BrokenPipeError:
        raise  # the reader of the output is gone
    except OSError as error:
        file = error.filename2 or error.filename or place
        message = error.strerror or str(error)
        if file:
            message = f"{file}: {message}"
        raise BadRequest(message) from None


def _of_database(error: psycopg.Error) -> KernelError:
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        # What libpq says repeats the url, password included.
        remedy = "write postgresql://user:password@host/name"
        return BadRequest(f"database.url is not one of libpq's; {remedy}")
    message = f"database: {error.diag.message_primary or dialect.reason(error)}"
    if isinstance(error, psycopg.OperationalError):
        return Unavailable(message)
    return BadRequest(message)
