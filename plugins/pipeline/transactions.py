"""A pipelined connection that one transaction holds from beginning to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from kernel.public import Param, Query, dialect

from .connection import PipelinedConnection, SendOutcome, Step
from .groups import checked

BEGIN: Final = Step(b"begin", [])


class HeldByTransaction:
    """See `kernel.contracts.statements.HeldConnection`.

    The transaction begins with its first statement, in one round trip: one sync ends them all, so
    that nothing is carried out where the beginning fails.
    """

    def __init__(self, connection: PipelinedConnection, settings: Mapping[str, str]) -> None:
        self._connection = connection
        self._ahead: Sequence[Step] = [BEGIN, _setting(settings)]

    @property
    def status(self) -> int:
        """See `HeldConnection.status`."""
        return self._connection.status

    async def run(
        self, query: Query, params: Sequence[Param] = (), *, prepare: bool = False
    ) -> PGresult:
        """See `HeldConnection.run`."""
        values = dialect.to_texts(params)
        ahead, self._ahead = self._ahead, ()
        try:
            answer = await self._connection.ask(query, values, ahead, prepare=prepare).answer
        except BaseException:
            await self.interrupt()
            raise
        finally:
            if ahead and self.status == TransactionStatus.IDLE:  # what follows would be in none
                self._connection.close()
        return _result(answer)

    async def script(self, statements: bytes) -> None:
        """See `HeldConnection.script`."""
        if self._ahead:
            await self.run(b"select")
        try:
            answer = await self._connection.script(statements).answer
        except BaseException:
            await self.interrupt()
            raise
        _result(answer)

    async def interrupt(self) -> None:
        """See `HeldConnection.interrupt`; the statement has ended then."""
        await self._connection.cancel(5.0)


def _setting(settings: Mapping[str, str]) -> Step:
    """Apply the settings for as long as the transaction lasts."""
    values = [dialect.to_text(text) for pair in settings.items() for text in pair]
    calls = [b"set_config($%d, $%d, true)" % (n, n + 1) for n in range(1, len(values), 2)]
    return Step(b"select " + b", ".join(calls), values)


def _result(answer: PGresult | SendOutcome) -> PGresult:
    if (result := checked(answer)) is None:
        raise dialect.ConnectionLost("the database is not available")
    return result
