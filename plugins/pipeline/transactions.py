"""A transaction on a connection for writes, which it has to itself for as long as it lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from psycopg.errors import error_from_result
from psycopg.pq import DiagnosticField, TransactionStatus
from psycopg.pq.abc import PGresult

from kernel.public import ConnectionLost, Param, Query, dialect

from .connections.answers import FAILED, LOCKED
from .connections.connection import WriteConnection
from .connections.requests import SendOutcome, Step

BEGIN: Final = Step(b"begin", [])
STATEMENT_TIMEOUT: Final = (
    b"set_config('statement_timeout', current_setting('caudex.statement_timeout'), true)"
)
"""A transaction has the connection to itself, and its statements may take as long as configured."""
CANCEL_SECONDS: Final = 5.0
"""Seconds in which a cancelled statement has to end, before its connection is closed."""


class Attempt:
    """A transaction on a connection for writes, which may have to be repeated elsewhere."""

    def __init__(self) -> None:
        self.was_blocked = False
        """Whether it has waited for a lock for as long as it may there."""


class HeldByTransaction:
    """See `kernel.contracts.statements.HeldConnection`.

    The transaction begins with its first statement, in one round trip: one sync ends them all, so
    that nothing is carried out where the beginning fails.
    """

    patient = False

    def __init__(
        self, connection: WriteConnection, settings: Mapping[str, str], attempt: Attempt
    ) -> None:
        self._connection = connection
        self._attempt = attempt
        self._ahead: Sequence[Step] = [BEGIN, _apply_settings(settings)]

    @property
    def status(self) -> int:
        """See `HeldConnection.status`."""
        return self._connection.status

    async def run(
        self, query: Query, params: Sequence[Param] = (), *, prepare: bool = False
    ) -> PGresult:
        """See `HeldConnection.run`."""
        values = dialect.to_texts(params)
        ahead = self._ahead
        self._ahead = ()
        try:
            request = self._connection.send_held(query, values, ahead, prepare=prepare)
            answer = await request.answer
        except BaseException:
            await self.interrupt()
            raise
        finally:
            if ahead and self.status == TransactionStatus.IDLE:  # what follows would be in none
                self._connection.close()
        return self._check(answer, query)

    async def script(self, statements: bytes) -> None:
        """See `HeldConnection.script`."""
        if self._ahead:
            await self.run(b"select")
        try:
            answer = await self._connection.send_script(statements).answer
        except BaseException:
            await self.interrupt()
            raise
        self._check(answer, statements)

    async def interrupt(self) -> None:
        """See `HeldConnection.interrupt`; the statement has ended then."""
        await self._connection.cancel(CANCEL_SECONDS)

    def _check(self, answer: PGresult | SendOutcome, query: Query) -> PGresult:
        if not isinstance(answer, SendOutcome) and answer.status == FAILED:
            state = answer.error_field(DiagnosticField.SQLSTATE)
            self._attempt.was_blocked = self._attempt.was_blocked or state == LOCKED
        result = check_answer(answer, query)
        if result is None:
            raise ConnectionLost("the database is not available")
        return result


def check_answer(answer: PGresult | SendOutcome, query: Query) -> PGresult | None:
    """Raise PostgreSQL's error as the kernel's; return None for a statement without an answer."""
    if answer is SendOutcome.BEGUN:
        raise dialect.describe_begun_transaction()
    if isinstance(answer, SendOutcome):
        return None
    if answer.status == FAILED:
        with dialect.translated(query):
            raise error_from_result(answer)
    return answer


def _apply_settings(settings: Mapping[str, str]) -> Step:
    """Return the statement that applies settings for as long as the transaction lasts."""
    values = [dialect.to_text(text) for pair in settings.items() for text in pair]
    calls = [b"set_config($%d, $%d, true)" % (n, n + 1) for n in range(1, len(values), 2)]
    return Step(b"select " + b", ".join([STATEMENT_TIMEOUT, *calls]), values)
