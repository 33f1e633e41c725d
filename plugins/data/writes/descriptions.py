"""What a writer learns of a write that PostgreSQL has refused."""

from __future__ import annotations

from functools import partial

import msgspec

from kernel.public import Actor, BadRequest, ConstraintViolation, Statements, Transaction, Work
from plugins.data.execution.inserts import NotInserted
from plugins.data.execution.transactions import MAX_QUICK_STATEMENTS
from plugins.data.execution.violations import describe_reference, describe_violation, is_broken_link
from plugins.data.rendering import describe_size_error
from plugins.data.statements.entity_table import Table

from .refusals import Refusals, RowsRefused, find_failed_row
from .replies import Replies


class Deletion(msgspec.Struct, frozen=True):
    """A delete that the database refused, and who asked for it."""

    actor: Actor
    record_id: str


class ErrorDescriptions:
    """Describes errors by the fields that their caller may see."""

    def __init__(self, statements: Statements, replies: Replies, refusals: Refusals) -> None:
        self._statements = statements
        self._replies = replies
        self._refusals = refusals

    async def describe(
        self, error: BadRequest, table: Table, deletion: Deletion | None = None
    ) -> BadRequest:
        """Say which field of a record is wrong, or what the record is too large for."""
        if not isinstance(error, ConstraintViolation):
            return describe_size_error(error)
        if deletion is None or not is_broken_link(error):
            return describe_violation(error, table.shown)
        app_id = table.entity.app_id
        referrer = await self._replies.find_as_read(deletion.actor, app_id, error.table)
        return describe_reference(error, table.shown, referrer, deletion.record_id)

    async def describe_row(
        self, actor: Actor, table: Table, violation: ConstraintViolation, tx: Transaction | None
    ) -> BadRequest:
        """Describe what several rows violate, with the index of the first that does."""
        if not isinstance(violation, NotInserted):
            return await self.describe(violation, table)
        insert = violation.insert
        reader = self._statements if tx is None else tx
        problems = await self._refusals.find(reader, insert, table.shown)
        if problems:
            return RowsRefused(problems, numbers=True)
        is_quick = len(insert.rows) <= MAX_QUICK_STATEMENTS
        try_all = partial(self._try, actor, tx, quick=is_quick)
        failed_row = await find_failed_row(try_all, insert)
        if failed_row is None:
            return await self.describe(violation, table)
        error = await self.describe(failed_row.violation, table)
        return BadRequest(f"[{insert.number(failed_row.index)}] {error.message}")

    async def _try(
        self, actor: Actor, tx: Transaction | None, work: Work[None], *, quick: bool
    ) -> None:
        """Run work that always raises: its savepoint, or its own transaction, is rolled back."""
        if tx is None:
            await self._statements.run(actor, work, quick=quick)
            return
        async with tx.savepoint():
            await work(tx)
