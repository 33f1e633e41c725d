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

    def __init__(self, connection: pq.PGconn, max_count: int) -> None:
        super().__init__()
        self._pg = connection
        self._max_count = max_count
        self._size = 0
        self._obsolete: list[bytes] = []
        self._count = 0
        self._close: Callable[[bytes], None] = (
            connection.send_close_prepared
            if capabilities.has_send_close_prepared()
            else lambda name: connection.send_query_params(b"deallocate " + name, [])
        )

    def forget_failed(self, commands: Sequence[Command], failed: int, state: bytes | None) -> None:
        """Forget what is not prepared after all: the command number `failed` has failed.

        The next ones were skipped. A number behind the last of them is the statement itself.
        """
        for number, (verb, query, name) in enumerate(commands):
            if number < failed:
                continue
            if verb is Verb.CLOSE:
                if number > failed:
                    self._obsolete.append(name)
            elif verb is Verb.PREPARE or (number == failed and state in STALE):
                self._forget(query, name)

    def forget_stale(self, query: Query, name: bytes, state: bytes | None) -> None:
        """Forget a statement whose execution failed because of how it was prepared."""
        self._forget(query, name)
        if state == STALE[0]:
            self._obsolete.append(name)

    def find_name(self, query: Query, commands: list[Command]) -> bytes:
        """Return the name of a prepared statement, which may have to be prepared first.

        What is sent for that is added to `commands`.
        """
        name = self.get(query)
        if name is None:
            name = self._prepare(query, commands)
        self.move_to_end(query)
        return name

    def _prepare(self, query: Query, commands: list[Command]) -> bytes:
        """Prepare a statement, in place of the least recently used ones, and return its name."""
        self._size += len(query)
        while self and (len(self) >= self._max_count or self._size > MAX_BYTES):
            oldest_query, oldest_name = self.popitem(last=False)
            self._size -= len(oldest_query)
            self._obsolete.append(oldest_name)
        for obsolete in self._obsolete:
            self._close(obsolete)
            commands.append(Command(Verb.CLOSE, b"", obsolete))
        self._obsolete.clear()
        self._count += 1
        name = b"lane_%d" % self._count
        self[query] = name
        self._pg.send_prepare(name, query.encode() if isinstance(query, str) else query)
        commands.append(Command(Verb.PREPARE, query, name))
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
    send.argtypes = [ctypes.c_void_p]  # type: ignore[attr-defined]  # a function of ctypes
    send.restype = ctypes.c_int  # type: ignore[attr-defined]  # a function of ctypes
    return send


send_sync: Final = _find_send_sync()
"""Ends a statement, which is on its way after the next flush; 0 is a failure. None before libpq 17.

It takes `pgconn_ptr`, which is None, and refused by libpq, once the connection is closed.
"""
