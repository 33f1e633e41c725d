"""What a request sends around its statement: preparations before it, a sync after it."""

from __future__ import annotations

import ctypes
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple, cast

from psycopg import capabilities
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


class Preparations(OrderedDict[Query, bytes]):
    """The names of prepared statements by their texts, the least recently used one first."""

    def __init__(self, connection: pq.PGconn, most: int) -> None:
        super().__init__()
        self._pg = connection
        self._most = most
        self._size = 0
        self._obsolete: list[bytes] = []
        self._count = 0
        self._close: Callable[[bytes], None] = (
            connection.send_close_prepared
            if capabilities.has_send_close_prepared()
            else lambda name: connection.send_query_params(b"deallocate " + name, [])
        )

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

    def prepare(self, query: Query, before: list[Command]) -> bytes:
        """Prepare a statement, in place of the least recently used ones, and return its name.

        What is sent for it is noted in `before`.
        """
        self._size += len(query)
        while self and (len(self) >= self._most or self._size > MAX_BYTES):
            oldest, name = self.popitem(last=False)
            self._size -= len(oldest)
            self._obsolete.append(name)
        for name in self._obsolete:
            self._close(name)
            before.append(Command(Verb.CLOSE, b"", name))
        self._obsolete.clear()
        self._count += 1
        name = self[query] = b"lane_%d" % self._count
        self._pg.send_prepare(name, query.encode() if isinstance(query, str) else query)
        before.append(Command(Verb.PREPARE, query, name))
        return name

    def _forget(self, query: Query, name: bytes) -> None:
        if self.get(query) == name:
            del self[query]
            self._size -= len(query)
        elif name in self._obsolete:
            self._obsolete.remove(name)


def _find_send_sync() -> Callable[[int | None], int] | None:
    """Find PQsendPipelineSync (libpq 17), which psycopg does not wrap.

    Its `pipeline_sync` makes a system call for each statement. The function is looked up in the
    very library that psycopg's extension is linked with.
    """
    file = getattr(sys.modules[PGconn.__module__], "__file__", None) or ""
    try:
        send = cast("Callable[[int | None], int]", ctypes.PyDLL(file).PQsendPipelineSync)
    except (OSError, AttributeError):
        return None
    send.argtypes, send.restype = [ctypes.c_void_p], ctypes.c_int  # type: ignore[attr-defined]
    return send


send_sync: Final = _find_send_sync()
"""Ends a statement, which is on its way after the next flush; 0 is a failure. None before libpq 17.

It takes `pgconn_ptr`, which is None, and refused by libpq, once the connection is closed.
"""
