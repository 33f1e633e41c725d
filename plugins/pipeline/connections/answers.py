"""Which result belongs to which request.

A sync ends an implicit transaction (libpq 34.5, "Pipeline Mode"). It belongs to one request, or to
a few reads or writes of the same turn of the event loop: PostgreSQL answers those in one piece.
Where one of them fails, PostgreSQL skips those after it, and undoes the writes before it. Both are
sent again. Answers come in the order of sending.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

import psycopg
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from kernel.public import Query, dialect

from .prepared import STALE, Command, Preparations, Verb
from .requests import Request, SendOutcome
from .wire import Wire

# Plain numbers: looking up an enum's member takes time for each of three results of a statement.
FOUND: Final = int(ExecStatus.TUPLES_OK)
DONE: Final = int(ExecStatus.COMMAND_OK)
FAILED: Final = int(ExecStatus.FATAL_ERROR)
SYNC: Final = int(ExecStatus.PIPELINE_SYNC)
SKIPPED: Final = int(ExecStatus.PIPELINE_ABORTED)
UNSUCCESSFUL: Final = (FAILED, SKIPPED)
ANSWERS: Final = (FOUND, DONE, *UNSUCCESSFUL, int(ExecStatus.EMPTY_QUERY))

LOCKED: Final = b"55P03"
"""The error of a statement that has waited for a lock for `lock_timeout`."""
TIMED_OUT: Final = b"57014"
"""The error of a statement that has taken `statement_timeout`: on connections for writes, less than
it may take."""
LASTING: Final = (b"BEGIN", b"START TRANSACTION")
"""Statements that would put those of other requests into a transaction that never ends."""


class ReadAnswers:
    """Sends requests that change nothing, and pairs the results with them.

    The results of the requests that share a sync are kept until the sync arrives.
    """

    def __init__(self, wire: Wire, max_prepared: int, max_shared: int) -> None:
        """Up to `max_shared` requests have one sync."""
        self.pending: deque[Request] = deque()
        """What is sent and not settled yet."""
        self.unsynced = 0
        """How many of the last ones no sync follows yet."""
        self.is_held = False
        """Whether all requests belong to one transaction, which is repeated as a whole."""
        self._wire = wire
        self._pg = wire.pg
        self._prepared = Preparations(wire.pg, max_prepared)
        self._max_shared = max_shared
        self._loop = asyncio.get_running_loop()
        self._results: list[PGresult] = []
        """Of the requests that the next sync ends."""
        self._runs_script = False

    # Sending.

    def send(self, request: Request) -> None:
        """Send a request, together with what else is sent until the event loop's next turn.

        Raises psycopg.Error: half a request would shift every answer after it.
        """
        self.pending.append(request)
        request.sent_at = self._loop.time()
        commands: list[Command] = []
        request.commands = commands
        for step in request.ahead:
            name = self._prepared.find_name(step.query, commands)
            self._pg.send_query_prepared(name, step.values)
            commands.append(Command(Verb.EXECUTE, step.query, name))
        if request.prepare:
            request.name = self._prepared.find_name(request.query, commands)
            self._pg.send_query_prepared(request.name, request.values)
        else:
            self._pg.send_query_params(_to_bytes(request.query), request.values)
        self.unsynced += 1
        if self.unsynced >= self._max_shared or request.key is None:
            self.send_sync()
        self._wire.flush_soon()

    def send_sync(self) -> None:
        """End the requests that no sync follows yet."""
        self.unsynced = 0
        self.pending[-1].ends = True
        self._wire.send_sync()

    def send_script(self, request: Request) -> None:
        """Send several statements at once, which no pipeline takes; nothing may be pending."""
        request.ends = True
        self.pending.append(request)
        self._wire.send_script(_to_bytes(request.query))
        self._runs_script = True

    def _send_again(self, request: Request) -> None:
        """Send a request that has done nothing, with a sync of its own."""
        try:
            if self.unsynced:
                self.send_sync()
        except psycopg.Error:
            request.settle(SendOutcome.LOST)  # it is among the pending ones no more
            raise
        request.name = b""
        request.key = None
        self.send(request)

    # Receiving.

    def receive(self) -> None:
        """Settle the requests whose results have arrived. Raises psycopg.Error."""
        if self._runs_script:
            self._receive_script()
        else:
            self._receive_results()

    def settle_lost(self) -> None:
        """Settle what gets no answer any more, as the connection has ended."""
        self.unsynced = 0
        while self.pending:
            self.pending.popleft().settle(SendOutcome.LOST)

    def _receive_results(self) -> None:
        pg = self._pg
        has_ended = False
        while self.pending and not pg.is_busy():
            result = pg.get_result()
            if result is None:  # the end of one command's results; twice is the end of all
                if has_ended and self.unsynced:
                    return  # `consume_input` has sent them already, and their sync follows
                if has_ended:
                    raise psycopg.OperationalError("the connection is out of step")
                has_ended = True
                continue
            has_ended = False
            status = result.status
            if status == SYNC:
                self._settle_ended()
            elif status in ANSWERS:
                self._results.append(result)
            else:
                raise psycopg.NotSupportedError("COPY cannot be used in a pipeline")

    def _receive_script(self) -> None:
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
        """Settle the requests whose sync has arrived."""
        results = self._results
        self._results = []
        if self.pending[0].ends:
            self._settle(self.pending.popleft(), results, was_undone=False)  # there is no other
            return
        was_undone = self._are_undone(results)
        begin = 0
        is_last = False
        while self.pending and not is_last:
            request = self.pending.popleft()
            # Read before it is settled: it may be sent again, which changes it.
            is_last = request.ends
            end = begin + len(request.commands) + 1
            # The rest belongs to the last one: its commit can fail as well.
            own_results = results[begin:] if is_last else results[begin:end]
            self._settle(request, own_results, was_undone)
            begin = end

    def _are_undone(self, results: Sequence[PGresult]) -> bool:
        """Return whether requests that share a sync had no effect, whatever their results say."""
        return False

    def _settle(self, request: Request, results: Sequence[PGresult], was_undone: bool) -> None:
        """Settle a request by its results, or send it again."""
        if not results:
            request.settle(SendOutcome.LOST)
            raise psycopg.OperationalError("the connection is out of step")
        result = results[-1]
        status = result.status
        if was_undone or status in UNSUCCESSFUL:
            self._settle_failed(request, results, was_undone)
            return
        if status == FOUND and len(dialect.first_value(result) or b"") > dialect.LARGE:
            self._wire.has_large_buffer = True
        if status == DONE and not self.is_held and result.command_status in LASTING:
            request.settle(SendOutcome.BEGUN)
            raise psycopg.ProgrammingError("a single statement cannot begin a transaction")
        request.settle(result)

    def _settle_failed(
        self, request: Request, results: Sequence[PGresult], was_undone: bool
    ) -> None:
        failures = (result for result in results if result.status == FAILED)
        failure = next(failures, None)
        must_repeat = self._forget_preparations(request, results, failure)
        if must_repeat and not was_undone:
            self._send_again(request)
            return
        state = None if failure is None else failure.error_field(DiagnosticField.SQLSTATE)
        refusal = self._find_refusal(state, was_undone)
        if refusal is not None:
            request.settle(refusal)
        else:
            request.settle(results[-1] if failure is None else failure)

    def _forget_preparations(
        self, request: Request, results: Sequence[PGresult], failure: PGresult | None
    ) -> bool:
        """Drop stale preparations; return whether to send a request again that did nothing.

        Not in a transaction, which has failed with its statement and is repeated as a whole.
        """
        commands = request.commands
        if failure is None:  # another one failed that shares its sync
            if results[-1].status == SKIPPED:
                self._prepared.forget_failed(commands, -1, None)
            return True
        successes = results.index(failure)
        state = failure.error_field(DiagnosticField.SQLSTATE)
        self._prepared.forget_failed(commands, successes, state)
        if not request.name or state not in STALE:
            return False
        if successes == len(commands):
            self._prepared.forget_stale(request.query, request.name, state)
        request.prepare = False
        return not self.is_held

    def _find_refusal(self, state: bytes | None, was_undone: bool) -> SendOutcome | None:
        """Say why a failed request has to be sent elsewhere; None where its failure is its answer.

        `state` is the SQLSTATE of its own failure, if it has one.
        """
        if state == LOCKED and not self.is_held:
            return SendOutcome.BLOCKED
        return None


class WriteAnswers(ReadAnswers):
    """Pairs results with writes, which are sent again only where they had no effect."""

    def _are_undone(self, results: Sequence[PGresult]) -> bool:
        """Writes that share a sync are one transaction: the failure of one undoes all."""
        return any(result.status == FAILED for result in results)

    def _find_refusal(self, state: bytes | None, was_undone: bool) -> SendOutcome | None:
        """See `ReadAnswers`; a write that was slow, or undone by another, had no effect either."""
        if state == TIMED_OUT and not self.is_held:
            return SendOutcome.SLOW
        refusal = super()._find_refusal(state, was_undone)
        if refusal is None and was_undone:
            return SendOutcome.UNDONE
        return refusal


def _to_bytes(query: Query) -> bytes:
    return query.encode() if isinstance(query, str) else query
