"""The transactions in which several statements are one write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from kernel.public import (
    Actor,
    PluginFailed,
    Statements,
    Transaction,
    Unavailable,
    Work,
    open_transaction,
)
from plugins.data.errors import KeysTaken
from plugins.data.statements.entity_table import Table

from .participants import Participants

T = TypeVar("T")
MAX_ATTEMPTS: Final = 20
"""Attempts of an upsert whose keys others create meanwhile."""

MAX_QUICK_STATEMENTS: Final = 100
"""Statements of quick work: each takes about a millisecond, and may wait for others."""


class WriteTransactions:
    """Runs work in the transaction that a call was given, or in one of its own."""

    def __init__(self, statements: Statements, participants: Participants) -> None:
        self._statements = statements
        self._participants = participants

    async def run(
        self,
        actor: Actor,
        work: Work[T],
        tables: Sequence[Table],
        tx: Transaction | None,
        *,
        quick: bool = True,
    ) -> T:
        """Run work that writes to tables.

        With `tx` it is a savepoint, which is rolled back if the work fails. Work that may take a
        second or more is not `quick`: see `Statements.run` and MAX_QUICK_STATEMENTS.
        """
        if tx is not None:
            return await repeat_on_taken_keys(partial(_run_part, tx, work))
        check_reentry()
        subject = self._participants.find_joined_subject(table.entity.subject for table in tables)
        run = partial(self._statements.run, actor, work, subject=subject, quick=quick)
        return await repeat_on_taken_keys(run)


async def _run_part(tx: Transaction, work: Work[T]) -> T:
    async with tx.savepoint():
        return await work(tx)


async def repeat_on_taken_keys(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run an attempt again where it raises KeysTaken. It keeps nothing from an earlier one.

    Each time others have created a key of it, so few attempts are enough. Raises Unavailable.
    """
    for _ in range(MAX_ATTEMPTS):
        try:
            return await attempt()
        except KeysTaken:
            continue
    raise Unavailable("too many changes at the same moment")


def check_reentry() -> None:
    """Raise where a write would not be part of the transaction that its caller is in.

    It could wait for what that has locked, which waits for the write.
    """
    if open_transaction() is not None:
        problem = "a record is written within a transaction, and not as a part of it"
        raise PluginFailed(problem, "pass tx=tx to the call, or make it after the commit")
