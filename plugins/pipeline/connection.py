"""One connection in libpq's pipeline mode: many statements on their way at once.

Each statement is a unit of its own: an implicit transaction that ends with its own sync (libpq
34.5, "Pipeline Mode"). PostgreSQL answers in the order of sending, one sync for each unit, so the
first unit that is pending is the one that the next sync answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import islice
from typing import Any, Final, NamedTuple

import anyio
import psycopg
from psycopg import AsyncConnection
from psycopg.pq import DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from kernel.public import Query, dialect

from .prepared import STALE, Command, Preparations, Verb
from .sync import end_of_unit

# Plain numbers: an enum's member is looked up anew for each of three results of a statement.
IDLE: Final = TransactionStatus.IDLE
BEGUN: Final = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
FOUND: Final = int(ExecStatus.TUPLES_OK)
DONE: Final = int(ExecStatus.COMMAND_OK)
FAILED: Final = int(ExecStatus.FATAL_ERROR)
SYNC: Final = int(ExecStatus.PIPELINE_SYNC)
SKIPPED: Final = int(ExecStatus.PIPELINE_ABORTED)
ANSWERS: Final = (FOUND, DONE, FAILED, int(ExecStatus.EMPTY_QUERY))

AGAIN: Final = 0.2
"""Seconds until a wish to cancel is repeated: PostgreSQL pays no heed to one that it gets before
the statement."""

LASTING: Final = (b"BEGIN", b"START TRANSACTION")
"""What would make the statements of others part of a transaction that nobody ends."""


class Fate(Enum):
    """What becomes of a unit that gets no answer."""

    LOST = "the connection broke: nobody knows whether it was carried out"
    CROWDED = "it waits behind a slow one"


class Step(NamedTuple):
    """A statement that goes before another one, in the same unit."""

    query: bytes
    values: list[bytes | None]


class Unit:
    """A statement on its way, and who waits for it."""

    __slots__ = ("ahead", "answer", "before", "name", "prepare", "query", "since", "values")
    query: Query

    def __init__(
        self,
        query: Query,
        values: list[bytes | None],
        answer: asyncio.Future[PGresult | Fate],
        ahead: Sequence[Step] = (),
        prepare: bool = True,
    ) -> None:
        self.query = query
        self.values = values
        self.answer = answer
        self.ahead = ahead
        self.prepare = prepare
        self.name = b""
        """The prepared statement that it is sent by, if any."""
        self.before: list[Command] | None = None
        """What goes before it: preparations, and what is `ahead`."""
        self.since = 0
        """Since which tick of its lane it waits to be sent."""

    def settle(self, outcome: PGresult | Fate) -> None:
        """Wake up who waits; whoever gave up is left alone."""
        if not self.answer.done():
            self.answer.set_result(outcome)


class Pipe:
    """A connection that is shared by whoever sends on it, or held by one for a transaction.

    While it is shared nothing on it is cancelled; it is only closed.
    """

    def __init__(
        self, connection: AsyncConnection[Any], max_prepared: int, answered: Callable[[], None]
    ) -> None:
        """Take over a connection that is idle; `answered` is called when there is room again."""
        self.pending: deque[Unit] = deque()
        self.stuck = False
        """Whether the first unit takes so long that nobody should wait behind it."""
        self.held: asyncio.Future[None] | None = None
        """Done when whoever has the connection to himself gives it back."""
        self.worn = False
        """Whether libpq took a large buffer for it, which it keeps as long as it is open."""
        self.closed = anyio.Event()
        self.reason: psycopg.Error | None = None
        self._connection = connection
        self._pg = connection.pgconn
        self._socket = self._pg.socket
        self._loop = asyncio.get_running_loop()
        self._answered = answered
        self._prepared = Preparations(self._pg, max_prepared)
        self._flush_is_due = False
        self._is_full = False
        self._runs_script = False
        self._outcome: PGresult | None = None
        self._successes = 0
        self._watched: Unit | None = None
        self._ticks = 0
        self._held_ticks = 0
        self._pg.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._readable)

    # Sending.

    def send(self, unit: Unit) -> None:
        """Send a unit, together with what else is sent until the event loop's next turn."""
        self.pending.append(unit)
        try:
            before: list[Command] = []
            unit.before = before
            for step in unit.ahead:
                name = self._prepared.name(step.query, before)
                self._pg.send_query_prepared(name, step.values)
                before.append(Command(Verb.EXECUTE, step.query, name))
            if unit.prepare:
                unit.name = self._prepared.name(unit.query, before)
                self._pg.send_query_prepared(unit.name, unit.values)
            else:
                self._pg.send_query_params(_bytes(unit.query), unit.values)
            self._end()
        except psycopg.Error as error:  # half a unit would shift every answer after it
            self.close(error)

    def ask(
        self,
        query: Query,
        values: list[bytes | None],
        ahead: Sequence[Step] = (),
        *,
        prepare: bool = True,
    ) -> Unit:
        """Send a statement on a connection that one has to oneself."""
        unit = Unit(query, values, self._loop.create_future(), ahead, prepare)
        if self.closed.is_set():
            unit.settle(Fate.LOST)
        else:
            self.send(unit)
        return unit

    def script(self, statements: bytes) -> Unit:
        """Send several statements at once, which no pipeline takes; nothing may be pending."""
        unit = Unit(statements, [], self._loop.create_future(), prepare=False)
        if self.closed.is_set():
            unit.settle(Fate.LOST)
            return unit
        self.pending.append(unit)
        try:
            self._pg.exit_pipeline_mode()
            self._pg.send_query(statements)
            self._runs_script = True
            self._flush_soon()
        except psycopg.Error as error:
            self.close(error)
        return unit

    async def give_up(self, seconds: float) -> None:
        """Have PostgreSQL give up the statement that runs, and see its end.

        The connection is closed where that takes longer, or is given up itself: a wish to cancel
        that is still on its way would meet somebody else's statement.
        """
        if not self.pending:
            return
        unit = self.pending[-1]
        if unit.answer.cancelled():  # else somebody waits for it still
            unit.answer = self._loop.create_future()
        try:
            with anyio.move_on_after(seconds, shield=True):
                done = set[asyncio.Future[Any]]()
                while not done:
                    await self._connection.cancel_safe(timeout=seconds)
                    done, _ = await asyncio.wait([unit.answer], timeout=AGAIN)
                return
        except psycopg.Error as error:
            self.close(error)
        except BaseException:
            self.close()
            raise
        self.close()

    def _send_again(self, unit: Unit) -> None:
        """Send a unit that failed before it did anything, without a prepared statement."""
        unit.name, unit.before = b"", None
        self.pending.append(unit)
        self._pg.send_query_params(_bytes(unit.query), unit.values)
        self._end()

    def _end(self) -> None:
        end_of_unit(self._pg)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write what was sent; what the socket does not take follows when it can."""
        self._flush_is_due = False
        if self.closed.is_set():
            return
        try:
            full = self._pg.flush() != 0
        except psycopg.Error as error:
            self.close(error)
            return
        if full and not self._is_full:
            self._loop.add_writer(self._socket, self._flush)
            values = (value for unit in self.pending for value in unit.values)
            self.worn = self.worn or any(value and len(value) > dialect.LARGE for value in values)
        elif self._is_full and not full:
            self._loop.remove_writer(self._socket)
        self._is_full = full

    # Holding.

    @property
    def idle(self) -> bool:
        """Whether nobody uses it."""
        return not self.pending and self.held is None

    @property
    def in_transaction(self) -> bool:
        """Whether one has begun, be it one that has failed; while nothing is pending."""
        return self._pg.transaction_status in BEGUN

    def hold(self) -> None:
        """Let one have the connection to himself; nothing is pending."""
        self.held = self._loop.create_future()
        self._held_ticks = 0

    def give_back(self) -> None:
        """Share the connection again, which has to be as it was."""
        if self.pending or self._pg.transaction_status != IDLE:
            self.close()
        if self.held is not None:
            self.held.set_result(None)
            self.held = None
        self.stuck = self.closed.is_set()
        self._answered()

    # Receiving.

    def _readable(self) -> None:
        """Take in what has arrived and hand it out."""
        if self.closed.is_set():
            return
        pending = len(self.pending)
        try:
            self._pg.consume_input()
            if self._runs_script:
                self._hand_out_script()
            else:
                self._hand_out()
        except psycopg.Error as error:
            self.close(error)
        if len(self.pending) < pending:
            self.stuck = self.closed.is_set()
            self._answered()

    def _hand_out(self) -> None:
        pg, pending, ended = self._pg, self.pending, False
        while pending and not pg.is_busy():
            result = pg.get_result()
            if result is None:  # the end of one command's results; twice is the end of all
                if ended:
                    raise psycopg.OperationalError("the connection is out of step")
                ended = True
                continue
            ended, status = False, result.status
            if status == SYNC:
                self._settle(pending.popleft())
            elif status in ANSWERS:
                self._outcome = result
                self._successes += status != FAILED
            elif status != SKIPPED:
                raise psycopg.NotSupportedError("COPY cannot be used in a pipeline")

    def _hand_out_script(self) -> None:
        """The last result counts: PostgreSQL ends a script with the first statement that fails."""
        while not self._pg.is_busy():
            result = self._pg.get_result()
            if result is None:
                self._runs_script = False
                self._pg.enter_pipeline_mode()
                self._settle(self.pending.popleft())
                return
            if result.status not in ANSWERS:
                raise psycopg.NotSupportedError("COPY cannot be used in a script")
            self._outcome = result

    def _settle(self, unit: Unit) -> None:
        """End a unit whose sync has arrived."""
        outcome, self._outcome = self._outcome, None
        successes, self._successes = self._successes, 0
        if outcome is None:
            unit.settle(Fate.LOST)
            raise psycopg.OperationalError("the connection is out of step")
        if outcome.status == FOUND and len(dialect.first(outcome) or b"") > dialect.LARGE:
            self.worn = True
        if outcome.status == FAILED and self._is_stale(unit, outcome, successes):
            self._send_again(unit)
            return
        unit.settle(outcome)
        if self.held is None and outcome.status == DONE and outcome.command_status in LASTING:
            raise psycopg.ProgrammingError("a single statement cannot begin a transaction")

    def _is_stale(self, unit: Unit, failure: PGresult, successes: int) -> bool:
        """Forget preparations that are no good, and tell whether to send the statement again.

        A transaction has failed with its statement: whoever holds the connection begins anew.
        """
        state = failure.error_field(DiagnosticField.SQLSTATE)
        before = unit.before or ()
        self._prepared.failed(before, successes, state)
        if not unit.name or state not in STALE:
            return False
        if successes == len(before):
            self._prepared.stale(unit.query, unit.name, state)
        return self.held is None

    # Watching.

    def tick(self, patience: int) -> None:
        """See, at regular times, whether the first unit is the same as at the last time.

        After `patience` ticks with the same one the connection is given up, if that is not 0.
        """
        self._readable()  # what has arrived is no fault of the server's
        if self.held is not None:
            self._held_ticks += 1
            self.stuck = self.stuck or self._held_ticks > 1  # nobody should wait for its end
        first = self.pending[0] if self.pending else None
        if first is None or first is not self._watched:
            self._watched, self._ticks = first, 0
            return
        self.stuck = True
        self._ticks += 1
        # A transaction has timeouts of its own choice, and keepalives for a peer that is gone.
        if patience and self.held is None and self._ticks > patience:
            self.close(psycopg.OperationalError("PostgreSQL does not answer"))

    def relieve(self) -> int:
        """Send those who wait behind the first unit elsewhere; what is answered here is dropped."""
        waiting = [unit for unit in islice(self.pending, 1, None) if not unit.answer.done()]
        for unit in waiting:
            unit.settle(Fate.CROWDED)
        return len(waiting)

    def close(self, reason: psycopg.Error | None = None) -> None:
        """End the connection; what is pending gets no answer any more."""
        if self.closed.is_set():
            return
        self.reason = reason
        self.closed.set()
        self.stuck = True
        self._loop.remove_reader(self._socket)
        if self._is_full:
            self._loop.remove_writer(self._socket)
        self._pg.finish()
        while self.pending:
            self.pending.popleft().settle(Fate.LOST)


def _bytes(query: Query) -> bytes:
    return query.encode() if isinstance(query, str) else query
