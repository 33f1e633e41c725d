"""Upserts of a request: planned, carried out, and shown to who sent them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kernel.public import BadRequest, ConstraintViolation, Target, Transaction
from plugins.data.execution.transactions import WriteTransactions
from plugins.data.rendering import describe_size_error
from plugins.data.values.rows import Row
from plugins.data.values.threads import run_in_thread_if_large
from plugins.data.writes.descriptions import ErrorDescriptions
from plugins.data.writes.records import MAX_BULK
from plugins.data.writes.replies import Replies, WrittenRecord

from .outcomes import ShownOutcome
from .plan import Then, UpsertPlan, UpsertPlanner
from .writer import UpsertWriter


class Upserts:
    """Writes rows, and shows their sender what became of them."""

    def __init__(
        self,
        planner: UpsertPlanner,
        writer: UpsertWriter,
        transactions: WriteTransactions,
        replies: Replies,
        descriptions: ErrorDescriptions,
    ) -> None:
        self._planner = planner
        self._writer = writer
        self._transactions = transactions
        self._replies = replies
        self._descriptions = descriptions

    async def upsert(
        self,
        target: Target,
        bodies: Sequence[Mapping[str, Any]],
        on: str,
        then: Then,
        tx: Transaction | None,
    ) -> bytes:
        """See `Records.upsert`."""
        plan = await self._planner.plan(target, on, then)
        if not 1 <= len(bodies) <= MAX_BULK:
            raise BadRequest(f"1 to {MAX_BULK} objects are wanted, not {len(bodies)}")
        rows = await run_in_thread_if_large(plan.scope.columns, bodies, plan.coerce_rows, bodies)
        plan.check_keys(rows)
        table = plan.scope.table

        async def work(own_tx: Transaction) -> list[bytes]:
            outcomes = await self.write_within(own_tx, plan, rows, numbers=True)
            return [
                b'{"result": "%b", "record": %b}' % (outcome.result.encode(), outcome.shown.record)
                for outcome in outcomes
            ]

        try:
            results = await self._transactions.run(target.actor, work, [table], tx)
        except ConstraintViolation as violation:
            raise await self._descriptions.describe_row(
                target.actor, table, violation, tx
            ) from None
        except BadRequest as error:
            raise describe_size_error(error, len(rows)) from None
        return b'{"data": [%b]}' % b",\n".join(results)

    async def write_within(
        self, tx: Transaction, plan: UpsertPlan, rows: Sequence[Row], *, numbers: bool = False
    ) -> list[ShownOutcome]:
        """Create, change or leave records, and return what became of the rows in order.

        Where rows have `numbers`, errors name them. Raises KeysTaken.
        """
        outcomes = await self._writer.write(tx, plan, rows, numbers=numbers)
        written: list[WrittenRecord] = []
        for outcome in outcomes:
            is_own = plan.scope.own_only or outcome.result == "created"
            written.append(WrittenRecord(outcome.record, outcome.sent_fields, is_own))
        shown_records = await self._replies.show_all(tx.actor, plan.scope.table, written, tx)
        return [
            ShownOutcome(outcome.result, shown, outcome.is_unchanged)
            for outcome, shown in zip(outcomes, shown_records, strict=True)
        ]
