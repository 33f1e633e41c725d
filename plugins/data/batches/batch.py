"""Batches: writes of several entities in one transaction, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kernel.public import Actor, BadRequest, KernelError, Operation, Transaction
from plugins.data.errors import PreconditionFailed
from plugins.data.execution.transactions import MAX_QUICK_STATEMENTS, WriteTransactions
from plugins.data.values.rows import add_place
from plugins.data.writes.descriptions import Deletion, ErrorDescriptions
from plugins.data.writes.replies import Replies

from .creates import CreateBatches
from .groups import GroupWriter
from .locks import lock_named_records
from .operations import PreparedOperation
from .preparation import BatchPreparation
from .reply import reply_of
from .runs import BatchRun, Failed

MAX_OPERATIONS: Final = 1000


class _RolledBack(Exception):
    """Everything succeeded. Raised to roll it back."""

    def __init__(self, results: list[bytes]) -> None:
        super().__init__()
        self.results = results


class Batches:
    """Runs the operations of a batch and answers with their results."""

    def __init__(
        self,
        creates: CreateBatches,
        preparation: BatchPreparation,
        groups: GroupWriter,
        transactions: WriteTransactions,
        replies: Replies,
        descriptions: ErrorDescriptions,
    ) -> None:
        self._creates = creates
        self._preparation = preparation
        self._groups = groups
        self._transactions = transactions
        self._replies = replies
        self._descriptions = descriptions

    async def run(
        self,
        actor: Actor,
        app_id: str,
        operations: Sequence[Operation],
        dry_run: bool,
        tx: Transaction | None,
    ) -> bytes:
        """See `Records.batch`."""
        may_be_one_statement = not dry_run and tx is None
        if may_be_one_statement:
            results = await self._creates.try_to_create(actor, app_id, operations)
            if results is not None:
                return reply_of(results)
        prepared = await self._preparation.prepare(actor, app_id, operations)
        try:
            results = await self._run_prepared(prepared, actor, dry_run, tx)
        except _RolledBack as rolled_back:
            results = rolled_back.results
        return reply_of(results)

    async def _run_prepared(
        self,
        prepared: Sequence[PreparedOperation],
        actor: Actor,
        dry_run: bool,
        tx: Transaction | None,
        *,
        grouped: bool = True,
    ) -> list[bytes]:
        async def work(own_tx: Transaction) -> list[bytes]:
            await lock_named_records(own_tx, prepared)
            results = await BatchRun(self._groups, own_tx, grouped=grouped).run(prepared)
            if dry_run:
                raise _RolledBack(results)
            return results

        tables = [*dict.fromkeys(operation.rights.scope.table for operation in prepared)]
        try:
            is_quick = len(prepared) <= MAX_QUICK_STATEMENTS
            return await self._transactions.run(actor, work, tables, tx, quick=is_quick)
        except Failed as failed:
            if failed.in_group:  # one by one, they say which of them it was, and why
                return await self._run_prepared(prepared, actor, dry_run, tx, grouped=False)
            raise await self._describe(actor, failed, tx) from None

    async def _describe(self, actor: Actor, failed: Failed, tx: Transaction | None) -> KernelError:
        """Say what is wrong with an operation, and which one it is."""
        prepared = failed.prepared
        table = prepared.rights.scope.table
        error = failed.error
        if isinstance(error, PreconditionFailed):
            error = await self._replies.describe_changed(actor, table, failed.record_id, tx)
        elif isinstance(error, BadRequest):
            deletion = None
            if prepared.operation.op == "delete":
                deletion = Deletion(actor, failed.record_id)
            error = await self._descriptions.describe(error, table, deletion)
        return add_place(error, prepared.place)


def check_number(operations: Sequence[Operation]) -> None:
    """Raise BadRequest for a batch of no operations, or of too many."""
    if not 1 <= len(operations) <= MAX_OPERATIONS:
        raise BadRequest(f"1 to {MAX_OPERATIONS} operations are wanted, not {len(operations)}")
