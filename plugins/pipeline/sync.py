"""The end of a statement in a pipeline: a sync, sent together with what follows it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any, Final, cast

from psycopg import OperationalError
from psycopg.pq import PGconn
from psycopg.pq import abc as pq


def _unflushed() -> Callable[[pq.PGconn], None] | None:
    """Find PQsendPipelineSync (libpq 17), which psycopg does not wrap.

    Its `pipeline_sync` makes a system call for each statement. The function is looked up in the
    very library that psycopg's extension is linked with; `pgconn_ptr` is None, and refused by
    libpq, once the connection is closed.
    """
    file = getattr(sys.modules[PGconn.__module__], "__file__", None) or ""
    try:
        send = cast("Callable[[int | None], int]", ctypes.PyDLL(file).PQsendPipelineSync)
    except (OSError, AttributeError):
        return None
    send.argtypes, send.restype = [ctypes.c_void_p], ctypes.c_int  # type: ignore[attr-defined]

    def sync(connection: Any) -> None:
        if not send(connection.pgconn_ptr):
            raise OperationalError("a sync cannot be sent")

    return sync


def _flushed(connection: pq.PGconn) -> None:
    connection.pipeline_sync()


end_request: Final = _unflushed() or _flushed
"""Ends a statement; it is on its way after the next flush."""
