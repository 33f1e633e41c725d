"""One connection in libpq's pipeline mode: many statements on their way at once.

A sync ends an implicit transaction (libpq 34.5, "Pipeline Mode"). It belongs to one request, or to
a few reads or writes of the same turn of the event loop: PostgreSQL answers those in one piece.
Where one of them fails, PostgreSQL skips those after it, and undoes the writes before it. Both are
sent again. Answers come in the order of sending.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from itertools import islice
from typing import Any, Final, NamedTuple

import anyio
import psycopg
from psycopg import AsyncConnection
from psycopg.pq import DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from kernel.public import Query, dialect

from .prepared import STALE, Command, Preparations, Verb, send_sync

# Plain numbers: looking up an enum's member takes time for each of three results of a statement.
FOUND: Final = int(ExecStatus.TUPLES_OK)
DONE: Final = int(ExecStatus.COMMAND_OK)
FAILED: Final = int(ExecStatus.FATAL_ERROR)
SYNC: Final = int(ExecStatus.PIPELINE_SYNC)
SKIPPED: Final = int(ExecStatus.PIPELINE_ABORTED)
ANSWERS: Final = (FOUND, DONE, FAILED, SKIPPED, int(ExecStatus.EMPTY_QUERY))

LOCKED: Final = b"55P03"
"""The error of a statement that has waited for a lock for `lock_timeout`."""
TIMED_OUT: Final = b"57014"
"""The error of a statement that has taken `statement_timeout`: on connections for writes, less than
it may take."""
LASTING: Final = (b"BEGIN", b"START TRANSACTION")
"""Statements that would put those of other requests into a transaction that never ends."""


class SendOutcome(Enum):
    """Why a request gets no answer on its connection."""

    LOST = "the connection broke: the request may have been executed"
    CROWDED = "it would wait behind a slow request"
    BLOCKED = "it has waited for a lock, and had no effect"
    SLOW = "it has taken long, and had no effect"
    UNDONE = "another one of its transaction failed, and it had no effect"
    BEGUN = "it began a transaction, whose connection is closed"


class Step(NamedTuple):
    """A statement that runs before another one, in the same request."""

    query: bytes
    values: list[bytes | None]


class Request:
    """A statement under way, and the future of its answer."""

    __slots__ = (
        "ahead", "answer", "before", "ends", "key", "name", "owner", "prepare", "query", "release",
        "sent", "since", "values",
    )  # fmt: skip
    query: Query

    def __init__(
        self,
        query: Query,
        values: list[bytes | None],
        answer: asyncio.Future[PGresult | SendOutcome],
        ahead: Sequence[Step] = (),
        prepare: bool = True,
        key: str | None = None,
    ) -> None:
        """With a `key` it may share its sync with others, which have other keys or an empty one."""
        self.query = query
        self.values = values
        self.answer = answer
        self.ahead = ahead
        self.prepare = prepare
        self.key = key
        self.name = b""
        """The prepared statement that it is sent by, if any."""
        self.before: list[Command] | None = None
        """What goes before it: preparations, and what is `ahead`."""
        self.ends = False
        """Whether a sync follows it."""
        self.since = 0
        """The tick of its group since which it waits to be sent."""
        self.sent = 0.0
        """When it was sent, by the clock of the event loop."""
        self.owner: Any = None
        """Whom it counts for once it is slow."""
        self.release: Callable[[Any], None] | None = None
        """To be called with the owner at the end, where it is counted."""

    @property
    def size(self) -> int:
        """The bytes of its values."""
        return sum(map(len, filter(None, self.values)))

    def settle(self, outcome: PGresult | SendOutcome) -> None:
        """Set the answer, unless its caller was cancelled."""
        if self.release is not None:
            self.release(self.owner)
            self.release = None
        if not self.answer.done():
            self.answer.set_result(outcome)


class PipelinedConnection:
    """A connection that many requests share, or that one transaction holds.

    While it is shared, nothing on it is cancelled; it is only closed.
    """

    WRITES = False
    """Whether a request is sent again only where it had no effect."""

    def __init__(
        self,
        connection: AsyncConnection[Any],
        max_prepared: int,
        answered: Callable[[], None],
        shared: int = 1,
    ) -> None:
        """Take over an idle connection; `answered` is called when there is room again.

        Up to `shared` requests have one sync.
        """
        self.pending: deque[Request] = deque()
        self.gathered: list[Request] = []
        """Writes that are sent together when the event loop turns."""
        self.stuck = False
        """Whether the first request takes so long that no other should wait behind it."""
        self.held: asyncio.Future[None] | None = None
        """Done when the transaction that holds the connection releases it."""
        self.oversized = False
        """Whether libpq allocated a large buffer, which it keeps while the connection is open."""
        self.closed = anyio.Event()
        self._is_open = True
        """The opposite of `closed` as an attribute: a statement asks three times."""
        self.reason: psycopg.Error | None = None
        self._connection = connection
        self._pg = connection.pgconn
        self._socket = self._pg.socket
        self._loop = asyncio.get_running_loop()
        self._answered = answered
        self._prepared = Preparations(self._pg, max_prepared)
        self._shared = shared
        self._without_sync = 0
        self._flush_is_due = False
        self._is_full = False
        self._runs_script = False
        self._results: list[PGresult] = []
        """Of the requests that the next sync ends."""
        self._watched: Request | None = None
        self._ticks = 0
        self._held_ticks = 0
        self._pg.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._readable)

    # Sending.

    def send(self, request: Request) -> None:
        """Send a request, together with what else is sent until the event loop's next turn."""
        self.pending.append(request)
        request.sent = self._loop.time()
        try:
            before: list[Command] = []
            request.before = before
            for step in request.ahead:
                name = self._name(step.query, before)
                self._pg.send_query_prepared(name, step.values)
                before.append(Command(Verb.EXECUTE, step.query, name))
            if request.prepare:
                request.name = self._name(request.query, before)
                self._pg.send_query_prepared(request.name, request.values)
            else:
                self._pg.send_query_params(_bytes(request.query), request.values)
            self._without_sync += 1
            if self._without_sync >= self._shared or request.key is None:
                self._end()
            self._flush_soon()
        except psycopg.Error as error:  # half a request would shift every answer after it
            self.close(error)

    def ask(
        self,
        query: Query,
        values: list[bytes | None],
        ahead: Sequence[Step] = (),
        *,
        prepare: bool = True,
    ) -> Request:
        """Send a statement on a held connection."""
        request = Request(query, values, self._loop.create_future(), ahead, prepare)
        self.send(request)
        return request

    def script(self, statements: bytes) -> Request:
        """Send several statements at once, which no pipeline takes; nothing may be pending."""
        request = Request(statements, [], self._loop.create_future(), prepare=False)
        request.ends = True
        self.pending.append(request)
        try:
            self._pg.exit_pipeline_mode()
            self._pg.send_query(statements)
            self._runs_script = True
            self._flush_soon()
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
                    await self._connection.cancel_safe(timeout=seconds)
                    # PostgreSQL ignores a cancel that arrives before its statement.
                    done, _ = await asyncio.wait([request.answer], timeout=0.2)
        except psycopg.Error as error:
            self.close(error)
        finally:
            if not done:
                self.close()

    def _send_again(self, request: Request) -> None:
        """Send a request that has done nothing, with a sync of its own."""
        try:
            if self._without_sync:
                self._end()
        except psycopg.Error:
            request.settle(SendOutcome.LOST)  # it is among the pending ones no more
            raise
        request.name, request.key, self._watched = b"", None, None
        self.send(request)

    def _name(self, query: Query, before: list[Command]) -> bytes:
        """Return the name of a prepared statement, which may have to be prepared first."""
        name = self._prepared.get(query) or self._prepared.prepare(query, before)
        self._prepared.move_to_end(query)
        return name

    def _end(self) -> None:
        self._without_sync = 0
        self.pending[-1].ends = True
        if send_sync is None:
            self._pg.pipeline_sync()
        elif not send_sync(self._pg.pgconn_ptr):  # type: ignore[attr-defined]  # of its C class
            raise psycopg.OperationalError("a sync cannot be sent")

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write what was sent; what the socket does not take follows when it can."""
        self._flush_is_due = False
        if not self._is_open:
            return
        try:
            if self._without_sync:
                self._end()
            full = self._pg.flush() != 0
        except psycopg.Error as error:
            self.close(error)
            return
        if full and not self._is_full:
            self._loop.add_writer(self._socket, self._flush)
            if sum(request.size for request in self.pending) > dialect.LARGE:
                self.oversized = True
        elif self._is_full and not full:
            self._loop.remove_writer(self._socket)
        self._is_full = full

    # Holding.

    @property
    def idle(self) -> bool:
        """Whether no request uses it."""
        return not self.pending and not self.gathered and self.held is None

    @property
    def status(self) -> int:
        """See `HeldConnection.status`; ACTIVE while a statement is pending."""
        return self._pg.transaction_status

    def hold(self) -> None:
        """Reserve the connection for one transaction; nothing is pending."""
        self.held = self._loop.create_future()
        self._held_ticks = 0

    def release(self) -> None:
        """Share the connection again, or close it where it is not idle."""
        if self.pending or self.status != TransactionStatus.IDLE:
            self.close()
        if self.held is not None:
            self.held.set_result(None)
            self.held = None
        self.stuck = not self._is_open
        self._answered()

    # Receiving.

    def _readable(self) -> None:
        """Read what has arrived and settle the answered requests."""
        if not self._is_open:
            return
        pending = len(self.pending)
        try:
            self._pg.consume_input()
            if self._runs_script:
                self._dispatch_script()
            else:
                self._dispatch()
        except psycopg.Error as error:
            self.close(error)
        if len(self.pending) < pending:
            self.stuck = not self._is_open
            self._answered()

    def _dispatch(self) -> None:
        pg, pending, ended = self._pg, self.pending, False
        while pending and not pg.is_busy():
            result = pg.get_result()
            if result is None:  # the end of one command's results; twice is the end of all
                if ended and self._without_sync:
                    return  # `consume_input` has sent them already, and their sync follows
                if ended:
                    raise psycopg.OperationalError("the connection is out of step")
                ended = True
                continue
            ended, status = False, result.status
            if status == SYNC:
                self._settle_ended()
            elif status in ANSWERS:
                self._results.append(result)
            else:
                raise psycopg.NotSupportedError("COPY cannot be used in a pipeline")

    def _dispatch_script(self) -> None:
        """The last result counts: PostgreSQL ends a script with the first statement that fails."""
        while not self._pg.is_busy():
            result = self._pg.get_result()
            if result is None:
                self._runs_script = False
                self._pg.enter_pipeline_mode()
                self._settle_ended()
                return
            if result.status not in ANSWERS:
                raise psycopg.NotSupportedError("COPY cannot be used in a script")
            self._results = [result]

    def _settle_ended(self) -> None:
        """End the requests whose sync has arrived."""
        results, self._results = self._results, []
        failed = self.WRITES and any(each.status == FAILED for each in results)
        begin, ended = 0, False
        while self.pending and not ended:
            request = self.pending.popleft()
            ended = request.ends
            end = begin + len(request.before or ()) + 1
            # The rest belongs to the last one: its commit can fail as well.
            undone = failed and not (ended and begin == 0)  # a lone one was not undone by another
            self._settle(request, results[begin:] if ended else results[begin:end], undone)
            begin = end

    def _settle(self, request: Request, results: Sequence[PGresult], undone: bool) -> None:
        if not results:
            request.settle(SendOutcome.LOST)
            raise psycopg.OperationalError("the connection is out of step")
        outcome = results[-1]
        if undone or outcome.status in (FAILED, SKIPPED):
            failure = next((each for each in results if each.status == FAILED), None)
            if self._must_repeat(request, results, failure) and not undone:
                self._send_again(request)
                return
            if (why := self._no_effect(failure, undone)) is not None:
                request.settle(why)
                return
            outcome = failure or outcome
        status = outcome.status
        if status == FOUND and len(dialect.first(outcome) or b"") > dialect.LARGE:
            self.oversized = True
        begins = self.held is None and status == DONE and outcome.command_status in LASTING
        request.settle(SendOutcome.BEGUN if begins else outcome)
        if begins:
            raise psycopg.ProgrammingError("a single statement cannot begin a transaction")

    def _must_repeat(
        self, request: Request, results: Sequence[PGresult], failure: PGresult | None
    ) -> bool:
        """Drop stale preparations; return whether to send a request again that did nothing.

        Not in a transaction, which has failed with its statement and is repeated as a whole.
        """
        before = request.before or ()
        if failure is None:  # another one failed that shares its sync
            if results[-1].status == SKIPPED:
                self._prepared.failed(before, -1, None)
            return True
        successes, state = results.index(failure), failure.error_field(DiagnosticField.SQLSTATE)
        self._prepared.failed(before, successes, state)
        if not request.name or state not in STALE:
            return False
        if successes == len(before):
            self._prepared.stale(request.query, request.name, state)
        request.prepare = False
        return self.held is None

    def _no_effect(self, failure: PGresult | None, undone: bool) -> SendOutcome | None:
        """Say why a write has to be sent elsewhere; None where its failure is its answer."""
        state = failure.error_field(DiagnosticField.SQLSTATE) if failure else None
        if self.held is None and state == LOCKED:
            return SendOutcome.BLOCKED
        if self.WRITES and self.held is None and state == TIMED_OUT:
            return SendOutcome.SLOW
        return SendOutcome.UNDONE if undone else None

    # Watching.

    def tick(self, slow: int, patience: int) -> None:
        """See, at regular times, whether the first request is the same as at the last time.

        After `slow` ticks with the same one it is slow. After `patience`, if that is not 0, the
        connection is given up.
        """
        self._readable()  # what has arrived is no fault of the server's
        if self.held is not None:
            self._held_ticks += 1
            self.stuck = self.stuck or self._held_ticks > slow  # no other should wait for its end
        first = self.pending[0] if self.pending else None
        if first is None or first is not self._watched:
            self._watched, self._ticks = first, 0
            return
        self._ticks += 1
        self.stuck = self.stuck or self._ticks >= slow
        # A transaction has timeouts of its own choice, and keepalives for a peer that is gone.
        if patience and self.held is None and self._ticks > patience * self._first_group():
            self.close(psycopg.OperationalError("PostgreSQL does not answer"))

    def _first_group(self) -> int:
        """Count the requests that are answered with the first one: each may take its time."""
        return next((n for n, each in enumerate(self.pending, 1) if each.ends), 1)

    def relieve(self) -> int:
        """Settle what waits for the first request as CROWDED; the answers here are dropped.

        The first one too, where it shares its sync with the next one, which may be the slow one.
        """
        if self.WRITES:  # sent, so they must not be carried out elsewhere
            return 0
        alone = bool(self.pending) and self.pending[0].ends
        waiting = [
            request for request in islice(self.pending, alone, None) if not request.answer.done()
        ]
        for request in waiting:
            request.settle(SendOutcome.CROWDED)
        return len(waiting)

    def close(self, reason: psycopg.Error | None = None) -> None:
        """End the connection; what is pending gets no answer any more."""
        if self._is_open:
            self.reason = reason
            self._is_open = False
            self._without_sync = 0
            self.closed.set()
            self.stuck = True
            with suppress(OSError):  # libpq has closed the socket, and the loop asks epoll for it
                self._loop.remove_reader(self._socket)
                self._loop.remove_writer(self._socket)
            self._pg.finish()
        while self.pending:
            self.pending.popleft().settle(SendOutcome.LOST)


def _bytes(query: Query) -> bytes:
    return query.encode() if isinstance(query, str) else query
