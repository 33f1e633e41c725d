"""One connection in libpq's pipeline mode: many statements on their way at once.

Each statement is a unit of its own: an implicit transaction that ends with its own sync (libpq
34.5, "Pipeline Mode"). PostgreSQL answers in the order of sending, one sync for each unit, so the
first unit that is pending is the one that the next sync answers.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum
from itertools import islice
from typing import Any, Final

import anyio
import psycopg
from psycopg import AsyncConnection
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from kernel.public import Query

from .sync import end_of_unit

# Plain numbers: an enum's member is looked up anew for each of three results of a statement.
DONE: Final = int(ExecStatus.COMMAND_OK)
FAILED: Final = int(ExecStatus.FATAL_ERROR)
SYNC: Final = int(ExecStatus.PIPELINE_SYNC)
SKIPPED: Final = int(ExecStatus.PIPELINE_ABORTED)
ANSWERS: Final = (int(ExecStatus.TUPLES_OK), DONE, FAILED, int(ExecStatus.EMPTY_QUERY))

STALE: Final = (b"0A000", b"26000")
"""The result of a prepared statement has changed its type; or its preparation failed before."""
LASTING: Final = (b"BEGIN", b"START TRANSACTION")
"""What would make the statements of others part of a transaction that nobody ends."""


class Fate(Enum):
    """What becomes of a unit that gets no answer."""

    LOST = "the connection broke: nobody knows whether it was carried out"
    CROWDED = "it waits behind a slow one"


class Unit:
    """A statement on its way, and who waits for it."""

    __slots__ = ("answer", "name", "query", "since", "steps", "values")
    query: Query

    def __init__(
        self, query: Query, values: list[bytes | None], answer: asyncio.Future[PGresult | Fate]
    ) -> None:
        self.query = query
        self.values = values
        self.answer = answer
        self.name = b""
        """The prepared statement that it is sent by, if any."""
        self.steps = 0
        """Commands that go before it: deallocate, prepare."""
        self.since = 0
        """Since which tick of its lane it waits to be sent."""

    def settle(self, outcome: PGresult | Fate) -> None:
        """Wake up who waits; whoever gave up is left alone."""
        if not self.answer.done():
            self.answer.set_result(outcome)


class Pipe:
    """A connection that is shared by whoever sends on it; it is never cancelled, only closed."""

    def __init__(
        self, connection: AsyncConnection[Any], max_prepared: int, answered: Callable[[], None]
    ) -> None:
        """Take over a connection that is idle; `answered` is called when there is room again."""
        self.pending: deque[Unit] = deque()
        self.stuck = False
        """Whether the first unit takes so long that nobody should wait behind it."""
        self.closed = anyio.Event()
        self.reason: psycopg.Error | None = None
        self._connection = connection
        self._pg = connection.pgconn
        self._socket = self._pg.socket
        self._loop = asyncio.get_running_loop()
        self._answered = answered
        self._prepared: OrderedDict[Query, bytes] = OrderedDict()
        self._max_prepared = max_prepared
        self._obsolete: list[bytes] = []
        self._names = 0
        self._flush_is_due = False
        self._is_full = False
        self._outcome: PGresult | None = None
        self._steps = 0
        self._watched: Unit | None = None
        self._ticks = 0
        self._pg.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._readable)

    # Sending.

    def send(self, unit: Unit) -> None:
        """Send a unit, together with what else is sent until the event loop's next turn."""
        self.pending.append(unit)
        try:
            unit.name = self._prepared.get(unit.query) or self._prepare(unit)
            self._prepared.move_to_end(unit.query)
            self._pg.send_query_prepared(unit.name, unit.values)
            self._end()
        except psycopg.Error as error:  # half a unit would shift every answer after it
            self.close(error)

    def _send_again(self, unit: Unit) -> None:
        """Send a unit that failed before it did anything, without a prepared statement."""
        unit.name, unit.steps = b"", 0
        self.pending.append(unit)
        self._pg.send_query_params(_bytes(unit.query), unit.values)
        self._end()

    def _end(self) -> None:
        end_of_unit(self._pg)
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _prepare(self, unit: Unit) -> bytes:
        """Prepare a statement on the way, in place of the one that was not used for longest."""
        if len(self._prepared) >= self._max_prepared:
            self._obsolete.append(self._prepared.popitem(last=False)[1])
        for name in self._obsolete:
            self._pg.send_query_params(b"deallocate " + name, [])
        unit.steps = 1 + len(self._obsolete)
        self._obsolete.clear()
        self._names += 1
        name = self._prepared[unit.query] = b"lane_%d" % self._names
        self._pg.send_prepare(name, _bytes(unit.query))
        return name

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
        elif self._is_full and not full:
            self._loop.remove_writer(self._socket)
        self._is_full = full

    # Receiving.

    def _readable(self) -> None:
        """Take in what has arrived and hand it out."""
        if self.closed.is_set():
            return
        pending = len(self.pending)
        try:
            self._pg.consume_input()
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
                self._steps += status == DONE
            elif status != SKIPPED:
                raise psycopg.NotSupportedError("COPY cannot be used in a pipeline")

    def _settle(self, unit: Unit) -> None:
        """End a unit whose sync has arrived."""
        outcome, self._outcome = self._outcome, None
        steps, self._steps = self._steps, 0
        if outcome is None:
            unit.settle(Fate.LOST)
            raise psycopg.OperationalError("the connection is out of step")
        if outcome.status == FAILED and self._is_stale(unit, outcome, steps):
            self._send_again(unit)
            return
        unit.settle(outcome)
        if outcome.status == DONE and outcome.command_status in LASTING:
            raise psycopg.ProgrammingError("a single statement cannot begin a transaction")

    def _is_stale(self, unit: Unit, failure: PGresult, steps: int) -> bool:
        """Forget a preparation that is no good, and tell whether the statement itself may be."""
        state = failure.error_field(DiagnosticField.SQLSTATE)
        unprepared = steps < unit.steps
        if unit.name and (unprepared or state in STALE):
            if self._prepared.get(unit.query) == unit.name:
                del self._prepared[unit.query]
                if state == STALE[0] and not unprepared:
                    self._obsolete.append(unit.name)
            return state in STALE
        return False

    # Watching.

    def tick(self, patience: int) -> None:
        """See, at regular times, whether the first unit is the same as at the last time.

        After `patience` ticks with the same one the connection is given up, if that is not 0.
        """
        self._readable()  # what has arrived is no fault of the server's
        first = self.pending[0] if self.pending else None
        if first is None or first is not self._watched:
            self._watched, self._ticks = first, 0
            return
        self.stuck = True
        self._ticks += 1
        if patience and self._ticks > patience:
            self.close(psycopg.OperationalError("PostgreSQL does not answer"))

    def relieve(self) -> None:
        """Send those who wait behind the first unit elsewhere; what is answered here is dropped."""
        for unit in islice(self.pending, 1, None):
            unit.settle(Fate.CROWDED)

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
