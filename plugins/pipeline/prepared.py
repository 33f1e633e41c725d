"""What a request sends around its statement: preparations before it, a sync behind it."""

from __future__ import annotations

import ctypes
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any, Final, NamedTuple, cast

from psycopg import OperationalError, capabilities
from psycopg.pq import PGconn
from psycopg.pq import abc as pq

from kernel.public import Query

MAX_BYTES: Final = 400_000
"""Texts of all prepared statements of a connection: PostgreSQL keeps each in thirty times its size,
and a caller's filter can be 40 kB."""
STALE: Final = (b"0A000", b"26000")
"""The result of a prepared statement has another type; or there is no such statement."""


class Verb(Enum):
    """What goes before a statement."""

    CLOSE = auto()
    PREPARE = auto()
    EXECUTE = auto()


class Command(NamedTuple):
    """What goes before a statement, about the prepared statement of this name."""

    verb: Verb
    query: Query
    name: bytes


class Preparations:
    """Which statements have been prepared under which names."""

    def __init__(self, connection: pq.PGconn, most: int) -> None:
        self._pg = connection
        self._most = most
        self._names: OrderedDict[Query, bytes] = OrderedDict()
        self._size = 0
        self._obsolete: list[bytes] = []
        self._count = 0
        self._close: Callable[[bytes], None] = (
            connection.send_close_prepared
            if capabilities.has_send_close_prepared()
            else lambda name: connection.send_query_params(b"deallocate " + name, [])
        )

    def name(self, query: Query, before: list[Command]) -> bytes:
        """Return the name of a statement; what has to be sent for it is sent, and noted."""
        name = self._names.get(query)
        if name is None:
            name = self._prepare(query, before)
        self._names.move_to_end(query)
        return name

    def failed(self, before: Sequence[Command], at: int, state: bytes | None) -> None:
        """Forget what is not prepared after all: command number `at` failed, the next were skipped.

        With `at` behind the last of them it was the statement itself.
        """
        for number, (verb, query, name) in enumerate(before):
            if number < at:
                continue
            if verb is Verb.CLOSE:
                if number > at:
                    self._obsolete.append(name)
            elif verb is Verb.PREPARE or (number == at and state in STALE):
                self._forget(query, name)

    def stale(self, query: Query, name: bytes, state: bytes | None) -> None:
        """Forget a statement whose execution failed because of how it was prepared."""
        self._forget(query, name)
        if state == STALE[0]:
            self._obsolete.append(name)

    def _prepare(self, query: Query, before: list[Command]) -> bytes:
        """Drop the least recently used statements."""
        self._size += len(query)
        while self._names and (len(self._names) >= self._most or self._size > MAX_BYTES):
            oldest, name = self._names.popitem(last=False)
            self._size -= len(oldest)
            self._obsolete.append(name)
        for name in self._obsolete:
            self._close(name)
            before.append(Command(Verb.CLOSE, b"", name))
        self._obsolete.clear()
        self._count += 1
        name = self._names[query] = b"lane_%d" % self._count
        self._pg.send_prepare(name, query.encode() if isinstance(query, str) else query)
        before.append(Command(Verb.PREPARE, query, name))
        return name

    def _forget(self, query: Query, name: bytes) -> None:
        if self._names.get(query) == name:
            del self._names[query]
            self._size -= len(query)
        elif name in self._obsolete:
            self._obsolete.remove(name)


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
