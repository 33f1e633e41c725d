"""A connection that many requests share, or that one transaction holds."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final

import anyio
import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from kernel.public import Query, dialect

from .answers import ReadAnswers, WriteAnswers
from .health import Health
from .requests import Request, SendOutcome, Step
from .wire import Wire

MAX_GROUPED_BYTES: Final = 64_000
"""The most bytes of the values of writes in one transaction. All wait where one takes long."""
CANCEL_INTERVAL: Final = 0.2
"""Seconds until a cancel is sent again: PostgreSQL ignores one that comes before its statement."""


class PipelinedConnection(ABC):
    """Carries requests over a wire, and knows whether others should wait for them.

        idle ──(send)──> busy ──(all are answered)──> idle
        idle ──(hold)──> held ──(release)──> idle
        any ──(close, or the wire breaks)──> closed

    While it is shared, nothing on it is cancelled; it is only closed.
    """

    def __init__(
        self,
        connection: AsyncConnection[Any],
        max_prepared: int,
        max_shared: int,
        on_room: Callable[[], None],
    ) -> None:
        """Take over an idle connection; `on_room` is called when it can take requests again.

        Up to `max_shared` requests have one sync.
        """
        self.wire = Wire(connection, self)
        self.answers = self._make_answers(max_prepared, max_shared)
        self.pending = self.answers.pending
        self.health = Health()
        self.held: asyncio.Future[None] | None = None
        """Done when the transaction that holds the connection releases it."""
        self._loop = asyncio.get_running_loop()
        self._on_room = on_room

    @abstractmethod
    def _make_answers(self, max_prepared: int, max_shared: int) -> ReadAnswers: ...

    # Sending.

    def send(self, request: Request) -> None:
        """Send a request, together with what else is sent until the event loop's next turn."""
        try:
            self.answers.send(request)
        except psycopg.Error as error:
            self.close(error)

    def send_held(
        self,
        query: Query,
        values: list[bytes | None],
        ahead: Sequence[Step] = (),
        *,
        prepare: bool = True,
    ) -> Request:
        """Send a statement of the transaction that holds the connection."""
        answer = self._loop.create_future()
        request = Request(query, values, answer, ahead=ahead, prepare=prepare)
        try:
            self.answers.send(request)
        except psycopg.Error as error:
            self.close(error)
        return request

    def send_script(self, statements: bytes) -> Request:
        """Send several statements of that transaction at once; nothing may be pending."""
        request = Request(statements, [], self._loop.create_future(), prepare=False)
        try:
            self.answers.send_script(request)
        except psycopg.Error as error:
            self.close(error)
        return request

    async def cancel(self, seconds: float) -> None:
        """Cancel the running statement and wait for its end.

        The connection is closed where that takes longer, or is cancelled itself: a cancel still
        under way would hit another request's statement.
        """
        if not self.pending:
            return
        request = self.pending[-1]
        if request.answer.cancelled():  # else a caller still waits for it
            request.answer = self._loop.create_future()
        done = set[asyncio.Future[Any]]()
        try:
            with anyio.move_on_after(seconds, shield=True):
                while not done:
                    await self.wire.cancel(seconds)
                    done, _ = await asyncio.wait([request.answer], timeout=CANCEL_INTERVAL)
        except psycopg.Error as error:
            self.close(error)
        finally:
            if not done:
                self.close()

    # Holding.

    @property
    def is_idle(self) -> bool:
        """Whether no request uses it."""
        return not self.pending and self.held is None

    @property
    def status(self) -> int:
        """See `HeldConnection.status`; ACTIVE while a statement is pending."""
        return self.wire.pg.transaction_status

    def hold(self) -> None:
        """Reserve the connection for one transaction; nothing is pending."""
        self.held = self._loop.create_future()
        self.answers.is_held = True
        self.health.begin_hold()

    def release(self) -> None:
        """Share the connection again, or close it where it is not idle."""
        if self.pending or self.status != TransactionStatus.IDLE:
            self.close()
        if self.held is not None:
            self.held.set_result(None)
            self.held = None
            self.answers.is_held = False
        self.health.note_progress(self.wire.is_open)
        self._on_room()

    # What the wire reports, see `WireUser`.

    def prepare_flush(self) -> None:
        """End the last requests before they are written."""
        if self.answers.unsynced:
            self.answers.send_sync()

    def receive(self) -> None:
        """Read what has arrived and settle the answered requests."""
        if not self.wire.is_open:
            return
        count = len(self.pending)
        try:
            self.wire.pg.consume_input()
            self.answers.receive()
        except psycopg.Error as error:
            self.close(error)
        if len(self.pending) < count:
            self.health.note_progress(self.wire.is_open)
            self._on_room()

    def note_backlog(self) -> None:
        """Note that libpq keeps a large buffer, where what it waits to write is large."""
        if sum(request.size for request in self.pending) > dialect.LARGE:
            self.wire.has_large_buffer = True

    def close(self, reason: psycopg.Error | None = None) -> None:
        """End the connection; what is pending gets no answer any more."""
        if self.wire.is_open:
            self.wire.close(reason)
            self.health.is_stuck = True
        self.answers.settle_lost()

    # Watching.

    def check(self, slow_ticks: int, max_ticks: int) -> None:
        """See, at regular times, whether the first request is the same as at the last time.

        After `slow_ticks` with the same one it is slow. After `max_ticks`, if that is not 0, the
        connection is given up.
        """
        if self.pending:
            self.receive()  # what has arrived is no fault of the server's
        if self.held is not None:
            self.health.check_hold(slow_ticks)
        first = self.pending[0] if self.pending else None
        self.health.check_first(first, slow_ticks)
        # A transaction has timeouts of its own choice, and keepalives for a peer that is gone.
        if max_ticks and self.held is None and self.health.ticks > max_ticks * self._count_first():
            self.close(psycopg.OperationalError("PostgreSQL does not answer"))

    def _count_first(self) -> int:
        """Count the requests that are answered with the first one: each may take its time."""
        return next((n for n, request in enumerate(self.pending, 1) if request.ends), 1)


class ReadConnection(PipelinedConnection):
    """A connection that carries many reads at a time."""

    def relieve(self) -> int:
        """Settle what waits for the first request as CROWDED; the answers here are dropped.

        The first one too, where it shares its sync with the next one, which may be the slow one.
        """
        is_first_alone = bool(self.pending) and self.pending[0].ends
        waiting = [
            request
            for request in islice(self.pending, int(is_first_alone), None)
            if not request.answer.done()
        ]
        for request in waiting:
            request.settle(SendOutcome.CROWDED)
        return len(waiting)

    def _make_answers(self, max_prepared: int, max_shared: int) -> ReadAnswers:
        return ReadAnswers(self.wire, max_prepared, max_shared)


class WriteConnection(PipelinedConnection):
    """A connection that carries a write, writes that share a commit, or a transaction at a time."""

    def __init__(
        self,
        connection: AsyncConnection[Any],
        max_prepared: int,
        max_shared: int,
        on_room: Callable[[], None],
    ) -> None:
        super().__init__(connection, max_prepared, max_shared, on_room)
        self.gathered: list[Request] = []
        """Writes that are sent together when the event loop turns."""
        self._max_shared = max_shared

    @property
    def is_idle(self) -> bool:
        """See `PipelinedConnection.is_idle`."""
        return not self.pending and not self.gathered and self.held is None

    def can_gather(self, write: Request) -> bool:
        """Whether a write may join those that are gathered: others of its text, of other rows."""
        gathered = self.gathered
        if not 0 < len(gathered) < self._max_shared:
            return False
        if write.key is None or gathered[0].query != write.query:
            return False
        if write.key and any(other.key == write.key for other in gathered):
            return False
        return sum(other.size for other in gathered) + write.size <= MAX_GROUPED_BYTES

    def send(self, request: Request) -> None:
        """Send a write, or gather it until the event loop's next turn."""
        if request.key is None:
            super().send(request)
        else:
            self.gathered.append(request)
            self.wire.flush_soon()

    def prepare_flush(self) -> None:
        """Send what was gathered."""
        gathered = self.gathered
        if len(gathered) > 1:
            # In one order everywhere: two groups would wait for each other's rows in another.
            gathered.sort(key=attrgetter("key"))
        while gathered:  # what an error leaves there was not sent
            self.answers.send(gathered.pop(0))
        super().prepare_flush()

    def close(self, reason: psycopg.Error | None = None) -> None:
        """End the connection; what was not sent goes to the pool."""
        for request in self.gathered:
            request.settle(SendOutcome.CROWDED)
        self.gathered.clear()
        super().close(reason)

    def _make_answers(self, max_prepared: int, max_shared: int) -> WriteAnswers:
        return WriteAnswers(self.wire, max_prepared, max_shared)
