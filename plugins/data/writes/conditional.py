"""Writes by condition: all records that match a tree, if they are as many as the caller expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kernel.public import Action, Actor, BadRequest, Param, Statements, Target, Transaction
from plugins.data.execution.changes import RecordChange
from plugins.data.execution.statement_or_transaction import WriteExecution
from plugins.data.filters.conditions import Conditions, Tree
from plugins.data.rights.links import LinkLimitFinder
from plugins.data.rights.permissions import Permissions
from plugins.data.rights.row_scope import RowScope
from plugins.data.rights.scopes import RowScopes
from plugins.data.statements.locking import FULL_LOCK, lock_to_change
from plugins.data.statements.where_statements import (
    change_where_statement,
    delete_where_statement,
    lock_where_statement,
)
from plugins.data.statements.write_statements import NO_SETTINGS
from plugins.data.values.encoding import encode
from plugins.data.values.rows import Row, coerce_body

from .descriptions import ErrorDescriptions

MAX_MATCHED: Final = 10_000
"""Records that one request changes or deletes by condition."""

_decode_counts = msgspec.json.Decoder(tuple[int, int]).decode


class Expected(msgspec.Struct, frozen=True):
    """How many records a caller expects to match: exactly, at most, or both."""

    exactly: int | None = None
    at_most: int | None = None

    @property
    def minimum(self) -> int:
        """The fewest records that may match."""
        return self.exactly or 0

    @property
    def maximum(self) -> int:
        """The most records that may match."""
        limits = [limit for limit in (self.exactly, self.at_most) if limit is not None]
        return min([*limits, MAX_MATCHED])

    def check(self, matching: int) -> None:
        """Raise Unexpected where another number of records matches, or more than were counted."""
        if not self.minimum <= matching <= self.maximum:
            raise Unexpected(matching)

    def describe_mismatch(self, matching: int) -> BadRequest:
        """Say how many records match, and how many are expected."""
        if matching > MAX_MATCHED:
            limit = f"one request changes at most {MAX_MATCHED}"
            return BadRequest(f"{matching} records match: {limit}; narrow the condition")
        number = f"at most {self.maximum}" if self.exactly is None else str(self.exactly)
        return BadRequest(
            f"{matching} records match, and {number} are expected: nothing was changed"
        )


class Unexpected(Exception):
    """Another number of records matches than is expected.

    `matching` is a lower bound above the maximum. It is raised to roll back: all of them are
    counted when no record is locked any more.
    """

    def __init__(self, matching: int) -> None:
        super().__init__(matching)
        self.matching = matching


class MatchedRows(msgspec.Struct, frozen=True):
    """The records that a caller may read, and change or delete, and that match a tree."""

    scope: RowScope
    reading: RowScope
    where: Tree

    def begin_conditions(self, *params: Param) -> Conditions:
        """Begin the conditions of a statement whose first parameters are `params`."""
        conditions = self.scope.begin_conditions(*params)
        conditions.parts += self.reading.write_conditions(conditions, b"t")
        conditions.require_tree(self.where)
        return conditions


class ConditionalWrites:
    """Changes or deletes the records that match, by one statement where no plugin takes part."""

    def __init__(
        self,
        permissions: Permissions,
        scopes: RowScopes,
        links: LinkLimitFinder,
        execution: WriteExecution,
        descriptions: ErrorDescriptions,
        statements: Statements,
    ) -> None:
        self._permissions = permissions
        self._scopes = scopes
        self._links = links
        self._execution = execution
        self._descriptions = descriptions
        self._statements = statements

    async def update(
        self,
        target: Target,
        where: Tree,
        values: Mapping[str, Any],
        expected: Expected,
        tx: Transaction | None,
    ) -> int:
        """See `Records.update_where`."""
        matched = await self._match(target, "update", where)
        row = await coerce_body(matched.scope.table, target.grant, values, creating=False)
        if not row:
            raise BadRequest(f"set: name at least one field of {target.entity}")
        scope = await self._links.limit_changes(target.actor, matched.scope, row)
        matched = msgspec.structs.replace(matched, scope=scope)
        await self._check_expected(matched, expected, tx)
        return await self._write(target.actor, matched, expected, row, tx)

    async def delete(
        self, target: Target, where: Tree, expected: Expected, tx: Transaction | None
    ) -> int:
        """See `Records.delete_where`."""
        matched = await self._match(target, "delete", where)
        await self._check_expected(matched, expected, tx)
        return await self._write(target.actor, matched, expected, None, tx)

    async def _match(self, target: Target, action: Action, where: Tree) -> MatchedRows:
        """Combine both rights: a count reveals something about records, so it needs `read` too."""
        actor = target.actor
        read = await self._permissions.require(actor, target.app_id, target.entity, "read")
        read_target = Target(actor, read, target.app_id, target.entity)
        reading = await self._scopes.resolve(read_target, "read", where)
        scope = await self._scopes.resolve(target, action, where)
        related = {**scope.related, **reading.related}
        return MatchedRows(msgspec.structs.replace(scope, related=related), reading, where)

    async def _check_expected(
        self, matched: MatchedRows, expected: Expected, tx: Transaction | None
    ) -> None:
        """Raise BadRequest for a wrong number, and with the count where no number is given."""
        for name, number in (("expect", expected.exactly), ("max", expected.at_most)):
            if number is not None and number < 0:
                raise BadRequest(f"{name} must be a whole number of at least 0")
        if expected.exactly is None and expected.at_most is None:
            matching = await self._count(matched, tx)
            raise BadRequest(f"{matching} records match: name the number by expect or max")

    async def _count(self, matched: MatchedRows, tx: Transaction | None) -> int:
        conditions = matched.begin_conditions()
        reader = self._statements if tx is None else tx
        query = matched.scope.table.reads.count_statement(conditions)
        raw = await reader.fetch(query, *conditions.params, custom_plan=True)
        return int(raw or 0)

    async def _write(
        self,
        actor: Actor,
        matched: MatchedRows,
        expected: Expected,
        row: Row | None,
        tx: Transaction | None,
    ) -> int:
        """Change the records by a row, or delete them without one; return how many there were."""
        table = matched.scope.table
        can_group = self._execution.can_group(table)

        async def work(own_tx: Transaction) -> int:
            if can_group:
                return await _write_at_once(own_tx, matched, expected, row)
            return await self._write_each(own_tx, matched, expected, row)

        transactions = self._execution.transactions
        try:
            return await transactions.run(actor, work, [table], tx, quick=False)
        except BadRequest as error:
            raise await self._descriptions.describe(error, table) from None
        except Unexpected as unexpected:
            matching = unexpected.matching
        if matching > expected.maximum:
            # Others may have changed some meanwhile: as many as were found did match.
            matching = max(matching, await self._count(matched, tx))
        raise expected.describe_mismatch(matching)

    async def _write_each(
        self, tx: Transaction, matched: MatchedRows, expected: Expected, row: Row | None
    ) -> int:
        """Change the records one by one, as plugins take part in it."""
        conditions = matched.begin_conditions()
        table = matched.scope.table.full
        lock = FULL_LOCK if row is None else lock_to_change(table, row)
        query = lock_where_statement(table, conditions, expected.maximum, lock)
        ids = [raw.decode() for raw in await tx.execute_all(query, *conditions.params)]
        expected.check(len(ids))
        for record_id in ids:
            if row is None:
                await self._execution.delete_within(tx, matched.scope, RecordChange(record_id))
            else:
                await self._execution.update_within(tx, matched.scope, RecordChange(record_id, row))
        return len(ids)


async def _write_at_once(
    tx: Transaction, matched: MatchedRows, expected: Expected, row: Row | None
) -> int:
    table = matched.scope.table.full
    if row is None:
        conditions = matched.begin_conditions(NO_SETTINGS)
        query = delete_where_statement(table, conditions, expected.minimum, expected.maximum)
    else:
        conditions = matched.begin_conditions(NO_SETTINGS, encode(row))
        link_values = matched.scope.link_values(conditions)
        bounds = (expected.minimum, expected.maximum)
        query = change_where_statement(table, tuple(row), conditions, *bounds, link_values)
    raw = await tx.execute(query, *conditions.params)
    matching, written = _decode_counts(raw or b"[0, 0]")
    expected.check(matching)
    return written
