"""Batches: writes of several entities in one transaction, all of them or none."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Final

from kernel.public import (
    Action,
    Actor,
    BadRequest,
    Grant,
    KernelError,
    Operation,
    Transaction,
    forget_frames,
)
from plugins.data.errors import PreconditionFailed
from plugins.data.reads.tables import on_new_schema
from plugins.data.row_scope import RowScope
from plugins.data.writes.conditional import ConditionalWrites
from plugins.data.writes.inserts import Insert, insert_rows
from plugins.data.writes.records import Change
from plugins.data.writes.rows import Row, new_rows, placed, run_in_thread_if_large
from plugins.data.writes.tags import NO_CONDITION
from plugins.data.writes.upsert import Upsert
from plugins.data.writes.violations import Deletion

from .locks import lock_targets
from .runs import (
    Failed,
    Prepared,
    Rights,
    Run,
    Shown,
    Write,
    can_be_one,
    result_of,
    results_of_creates,
    targets,
)

MAX_OPERATIONS: Final = 1000
NEEDED: Final[Mapping[str, tuple[Action, ...]]] = {
    "create": ("create",),
    "update": ("update",),
    "delete": ("delete",),
    "upsert": ("create", "update"),
}
"""Permissions that an operation needs; the first one's grant says which records it reaches."""


class DryRun(Exception):
    """Everything succeeded. Raised to roll it back."""

    def __init__(self, results: list[bytes]) -> None:
        super().__init__()
        self.results = results


class Batches(ConditionalWrites):
    """Adds batches to the writes."""

    async def batch(
        self, actor: Actor, app_id: str, operations: Sequence[Operation], *, dry_run: bool = False
    ) -> bytes:
        """See `Collections.batch`."""
        if not 1 <= len(operations) <= MAX_OPERATIONS:
            raise BadRequest(f"1 to {MAX_OPERATIONS} operations are wanted, not {len(operations)}")
        return await self._batch(actor, Grant(), app_id, operations, dry_run)

    @on_new_schema
    async def _batch(
        self, actor: Actor, _: Grant, app_id: str, operations: Sequence[Operation], dry_run: bool
    ) -> bytes:
        if not dry_run and (inserted := await self._inserted(actor, app_id, operations)):
            return _results(inserted)
        prepared = await self._prepared(actor, app_id, operations)
        try:
            return _results(await self._batched(actor, prepared, dry_run=dry_run))
        except DryRun as done:
            return _results(done.results)

    async def _inserted(
        self, actor: Actor, app_id: str, operations: Sequence[Operation]
    ) -> list[bytes]:
        """Create records of one entity by one statement, which needs no transaction around it.

        Returns nothing where the operations are others, or one fails: one by one they say which.
        A reference fails here, as no field but one of JSON takes an object, and that keeps it.
        """
        bodies = _created(operations)
        if not bodies:
            return []
        try:
            grant = await self._granted(actor, app_id, operations[0].entity, "create")
            table = await self._table(app_id, operations[0].entity, grant.hidden)
            if self._is_transactional(table) or self._transactional.has_observers(table):
                return []
            rows = await run_in_thread_if_large(
                table.columns, bodies, new_rows, table, grant, bodies
            )
            settings = self._statements.settings(actor)
            links = None
            if table.checked_links:
                links = await self._links.limits(actor, table, {*chain.from_iterable(rows)})
            insert = Insert(table.full, rows, links=links)
            inserted = await insert_rows(self._statements, settings, insert, actor, versioned=True)
        except KernelError as error:
            if error.status >= 500:
                raise
            forget_frames(error)
            return []
        if await self._sees_whole(actor, table):
            etag, records = table.full.rendering.split(inserted.raw)
            return results_of_creates(table, etag, inserted.in_order(records))
        made = inserted.in_order(table.full.rendering.tagged(inserted.raw))
        shown = await self._answers(actor, table, made, rows, [True] * len(rows), None)
        return [result_of("create", each) for each in shown]

    async def _batched(
        self, actor: Actor, prepared: Sequence[Prepared], *, dry_run: bool, grouped: bool = True
    ) -> list[bytes]:
        async def work(tx: Transaction) -> list[bytes]:
            await lock_targets(tx, prepared)
            results = await Run(self, tx, grouped=grouped).run(prepared)
            if dry_run:
                raise DryRun(results)
            return results

        try:
            tables = dict.fromkeys(each.rights.scope.table for each in prepared)
            return await self._run(actor, work, *tables)
        except Failed as failed:
            if failed.in_group:  # one by one, they say which of them it was, and why
                return await self._batched(actor, prepared, dry_run=dry_run, grouped=False)
            raise await self._described(actor, failed) from None

    async def _described(self, actor: Actor, failed: Failed) -> KernelError:
        """Say what is wrong with an operation, and which one it is."""
        operation = failed.operation
        table = operation.rights.scope.table
        error = failed.error
        if isinstance(error, PreconditionFailed):
            error = await self._precondition_failed(actor, table, failed.record_id)
        elif isinstance(error, BadRequest):
            is_delete = operation.given.op == "delete"
            deletion = Deletion(actor, failed.record_id) if is_delete else None
            error = await self._describe(error, table, deletion)
        return placed(error, operation.place)

    async def _prepared(
        self, actor: Actor, app_id: str, operations: Sequence[Operation]
    ) -> list[Prepared]:
        """Check the rights of the operations, and what can be said of each at once."""
        known: dict[Hashable, Rights] = {}
        prepared = list[Prepared]()
        try:
            for given in operations:
                # Operations that are alike in this are checked once.
                members = given.id is None, given.data is None, given.if_match is None
                what = (given.entity, given.op, given.on, given.then, members)
                rights, condition = known.get(what), NO_CONDITION
                if rights is None:
                    action = NEEDED[given.op][0]
                    grant = await self._granted(actor, app_id, given.entity, action)
                    _check_members(given)
                    rights = known[what] = await self._rights(actor, grant, app_id, given)
                if given.if_match is not None:
                    condition = await self._condition(actor, app_id, given.entity, given.if_match)
                prepared.append(Prepared(len(prepared), given, rights, condition, targets(given)))
        except KernelError as error:
            raise placed(error, len(prepared)) from None
        return prepared

    async def _rights(self, actor: Actor, grant: Grant, app_id: str, given: Operation) -> Rights:
        upsert = None
        if given.op == "upsert":
            key = given.on or ""
            upsert = await self._upsert_plan(actor, grant, app_id, given.entity, key, given.then)
        scope = await self._scope(actor, grant, app_id, given.entity, NEEDED[given.op][0])
        if given.op != "delete":
            scope = await self._linking(actor, scope, scope.table.checked_links)
        grouped = can_be_one(given.op, await self._apps.app(app_id), scope, upsert)
        # In one statement, upserts keep one order of their new keys; an update has its hooks alone.
        if given.op in ("update", "delete") and self._takes_part(scope.table):
            grouped = False
        return Rights(grant, scope, upsert, grouped)

    async def write(self, tx: Transaction, group: Sequence[Write]) -> Sequence[Shown]:
        """Carry out operations that are alike, and return what the caller may see of each."""
        operation = group[0].operation
        rights, rows = operation.rights, [each.row for each in group]
        if operation.given.op == "create":
            return await self._create_all(tx, rights.scope, rows)
        if rights.upsert is not None:
            return await self._upsert_all(tx, rights.upsert, rows)
        changes = [Change(each.record_id, each.row, each.operation.condition) for each in group]
        if operation.given.op == "delete":
            await self._remove_all(tx, rights.scope, changes)
            return [(None, "")] * len(group)
        return await self._update_all(tx, rights.scope, changes)

    async def _create_all(
        self, tx: Transaction, scope: RowScope, rows: Sequence[Row]
    ) -> Sequence[Shown]:
        table = scope.table
        insert = Insert(table.full, rows, links=scope.links)
        made = await self._transactional.create(tx, insert)
        shown = await self._answers(tx.actor, table, made, rows, [True] * len(rows), tx)
        return [(record, "") for record in shown]

    async def _upsert_all(
        self, tx: Transaction, plan: Upsert, rows: Sequence[Row]
    ) -> Sequence[Shown]:
        outcomes = await self._upsert_in(tx, plan, rows, numbers=False)
        shown = await self._outcomes_shown(tx, plan, outcomes)
        return [(record, outcome.result) for record, outcome in zip(shown, outcomes, strict=True)]

    async def _update_all(
        self, tx: Transaction, scope: RowScope, changes: Sequence[Change]
    ) -> Sequence[Shown]:
        actor, table = tx.actor, scope.table
        made = [
            record or await self._unchanged(actor, table, change.record_id, tx)
            for change, record in zip(
                changes, await self._change_all(tx, scope, changes), strict=True
            )
        ]
        sent, own = [each.row for each in changes], [scope.own_only] * len(changes)
        return [(record, "") for record in await self._answers(actor, table, made, sent, own, tx)]


def _created(operations: Sequence[Operation]) -> Sequence[Mapping[str, Any]]:
    """Return the bodies of operations that all create records of one entity.

    Returns nothing where one of them does something else, or has a condition.
    """
    kinds = {*map(attrgetter("op", "entity", "if_match"), operations)}
    if kinds != {("create", operations[0].entity, None)}:
        return ()
    bodies = [each.data for each in operations if each.data is not None]
    return bodies if len(bodies) == len(operations) else ()


def _results(results: Sequence[bytes]) -> bytes:
    return b'{"results": [%b]}' % b",\n".join(results)


def _check_members(given: Operation) -> None:
    """Raise BadRequest where an operation lacks a member that it needs."""
    if given.op in ("update", "delete") and given.id is None:
        raise BadRequest(f"id is required for {given.op}")
    if given.op != "delete" and given.data is None:
        raise BadRequest(f"data is required for {given.op}")
    if given.op == "upsert" and not given.on:
        raise BadRequest("on is required for upsert")
    if given.if_match is not None and given.op not in ("update", "delete"):
        raise BadRequest(f"ifMatch does not go with {given.op}")
