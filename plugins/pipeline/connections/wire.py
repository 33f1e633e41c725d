"""The bytes between this process and one server process of PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Protocol

import anyio
import psycopg
from psycopg import AsyncConnection

from .prepared import send_sync


class WireUser(Protocol):
    """To whom a wire reports what happens on it."""

    def prepare_flush(self) -> None:
        """Send the rest of what the next flush writes."""
        ...

    def receive(self) -> None:
        """Read what has arrived."""
        ...

    def note_backlog(self) -> None:
        """Note that the socket does not take all that was sent, for now."""
        ...

    def close(self, reason: psycopg.Error | None = None, /) -> None:
        """End the connection."""
        ...


class Wire:
    """A connection of libpq in pipeline mode, without knowledge of requests.

    What is sent stays in the buffer of libpq until the event loop's next turn: one system call
    writes the statements of a turn.

        open ──(close, or an error of libpq)──> closed
    """

    def __init__(self, connection: AsyncConnection[Any], user: WireUser) -> None:
        """Take over an idle connection."""
        self.pg = connection.pgconn
        self.is_open = True
        """The opposite of `closed` as an attribute: a statement asks three times."""
        self.closed = anyio.Event()
        self.reason: psycopg.Error | None = None
        """Why it was closed, where that was an error."""
        self.has_large_buffer = False
        """Whether libpq allocated a large buffer, which it keeps while the connection is open."""
        self._connection = connection
        self._user = user
        self._socket = self.pg.socket
        self._loop = asyncio.get_running_loop()
        self._flush_is_due = False
        self._is_full = False
        self.pg.enter_pipeline_mode()
        self._loop.add_reader(self._socket, user.receive)

    def send_sync(self) -> None:
        """End an implicit transaction; the sync is on its way after the next flush."""
        if send_sync is None:
            self.pg.pipeline_sync()
        elif not send_sync(self.pg.pgconn_ptr):  # type: ignore[attr-defined]  # of its C class
            raise psycopg.OperationalError("a sync cannot be sent")

    def send_script(self, statements: bytes) -> None:
        """Send several statements outside of the pipeline; nothing may be on its way."""
        self.pg.exit_pipeline_mode()
        self.pg.send_query(statements)
        self.flush_soon()

    def flush_soon(self) -> None:
        """Write what was sent at the event loop's next turn."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    async def cancel(self, seconds: float) -> None:
        """Ask PostgreSQL to cancel the statement that runs."""
        await self._connection.cancel_safe(timeout=seconds)

    def close(self, reason: psycopg.Error | None) -> None:
        """Close the socket; nothing arrives any more."""
        self.reason = reason
        self.is_open = False
        self.closed.set()
        with suppress(OSError):  # libpq has closed the socket, and the loop asks epoll for it
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self.pg.finish()

    def _flush(self) -> None:
        """Write what was sent; what the socket does not take follows when it can."""
        if not self.is_open:
            return
        try:
            self._user.prepare_flush()
            self._flush_is_due = False  # not before: what that has sent is part of this flush
            is_full = self.pg.flush() != 0
        except psycopg.Error as error:
            self._user.close(error)
            return
        if is_full and not self._is_full:
            self._loop.add_writer(self._socket, self._flush)
            self._user.note_backlog()
        elif self._is_full and not is_full:
            self._loop.remove_writer(self._socket)
        self._is_full = is_full
