"""Writes by condition: all records that match a tree, if they are as many as the caller expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kernel.public import Action, Actor, BadRequest, Grant, Param, Transaction
from plugins.data.filters import Conditions
from plugins.data.reads.tables import JOINED, on_new_schema
from plugins.data.row_scope import RowScope, Tree
from plugins.data.store import FULL_LOCK, NO_SETTINGS

from .rows import Row, encode, row_for
from .tags import NO_CONDITION
from .upsert import Upserts

MAX_MATCHED: Final = 10_000
"""Records that one request changes or deletes by condition."""

_counts = msgspec.json.Decoder(tuple[int, int]).decode


class Expected(msgspec.Struct, frozen=True):
    """How many records a caller expects to match: exactly, at most, or both."""

    exactly: int | None = None
    at_most: int | None = None

    @property
    def least(self) -> int:
        """The fewest records that may match."""
        return self.exactly or 0

    @property
    def most(self) -> int:
        """The most records that may match."""
        given = [each for each in (self.exactly, self.at_most) if each is not None]
        return min([*given, MAX_MATCHED])

    def check(self, found: int) -> None:
        """Raise Unexpected where another number of records matches, or more than were counted."""
        if not self.least <= found <= self.most:
            raise Unexpected(found)

    def refusal(self, matching: int) -> BadRequest:
        """Say how many records match, and how many are expected."""
        if matching > MAX_MATCHED:
            limit = f"one request changes at most {MAX_MATCHED}"
            return BadRequest(f"{matching} records match: {limit}; narrow the condition")
        number = f"at most {self.most}" if self.exactly is None else str(self.exactly)
        return BadRequest(
            f"{matching} records match, and {number} are expected: nothing was changed"
        )


class Unexpected(Exception):
    """Another number of records matches than is expected: `found`, or more if it is too many.

    Raised to roll back: all of them are counted when no record is locked any more.
    """

    def __init__(self, found: int) -> None:
        super().__init__(found)
        self.found = found


class Matched(msgspec.Struct, frozen=True):
    """The records that a caller may read, and change or delete, and that match a tree."""

    scope: RowScope
    reading: RowScope
    where: Tree

    def rows(self, *params: Param) -> Conditions:
        """Begin the conditions of a statement whose first parameters are `params`."""
        rows = self.scope.rows(*params)
        rows.parts += self.reading.limits(rows, b"t")
        rows.matches(self.where)
        return rows


class ConditionalWrites(Upserts):
    """Adds writes by condition."""

    @on_new_schema
    async def update_where(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        where: Tree,
        values: Mapping[str, Any],
        *,
        expect: int | None = None,
        at_most: int | None = None,
    ) -> int:
        """See `Collections.update_where`."""
        matched = await self._matched(actor, grant, app_id, entity, "update", where)
        row = row_for(matched.scope.table, grant, values, creating=False)
        if not row:
            raise BadRequest(f"set: name at least one field of {entity}")
        scope = await self._linking(actor, matched.scope, row)
        matched = msgspec.structs.replace(matched, scope=scope)
        expected = await self._expected(matched, expect, at_most)
        return await self._where(actor, matched, expected, row)

    @on_new_schema
    async def delete_where(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        where: Tree,
        *,
        expect: int | None = None,
        at_most: int | None = None,
    ) -> int:
        """See `Collections.delete_where`."""
        matched = await self._matched(actor, grant, app_id, entity, "delete", where)
        expected = await self._expected(matched, expect, at_most)
        return await self._where(actor, matched, expected, None)

    async def _matched(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, action: Action, where: Tree
    ) -> Matched:
        """Combine both rights: a count reveals something about records, so it needs `read` too."""
        read = await self._granted(actor, app_id, entity, "read")
        reading = await self._scope(actor, read, app_id, entity, "read", where)
        scope = await self._scope(actor, grant, app_id, entity, action, where)
        related = {**scope.related, **reading.related}
        return Matched(msgspec.structs.replace(scope, related=related), reading, where)

    async def _expected(
        self, matched: Matched, expect: int | None, at_most: int | None
    ) -> Expected:
        """Read how many records are expected. Raises BadRequest with the count without a number."""
        for name, given in (("expect", expect), ("max", at_most)):
            if given is not None and given < 0:
                raise BadRequest(f"{name} must be a whole number of at least 0")
        if expect is None and at_most is None:
            matching = await self._count_matched(matched)
            raise BadRequest(f"{matching} records match: name the number by expect or max")
        return Expected(expect, at_most)

    async def _count_matched(self, matched: Matched) -> int:
        rows, table = matched.rows(), matched.scope.table
        reader = JOINED.get() or self._statements
        raw = await reader.fetch(table.count(rows), *rows.params, custom_plan=True)
        return int(raw or 0)

    async def _where(
        self, actor: Actor, matched: Matched, expected: Expected, row: Row | None
    ) -> int:
        """Change the records by a row, or delete them without one; return how many there were."""
        each = self._takes_part(matched.scope.table)

        async def work(tx: Transaction) -> int:
            change = self._each if each else self._at_once
            return await change(tx, matched, expected, row)

        try:
            return await self._run(actor, work, matched.scope.table, quick=False)
        except BadRequest as error:
            raise await self._describe(error, matched.scope.table) from None
        except Unexpected as unexpected:
            matching = unexpected.found
        if matching > expected.most:
            # Others may have changed some meanwhile: as many as were found did match.
            matching = max(matching, await self._count_matched(matched))
        raise expected.refusal(matching)

    async def _at_once(
        self, tx: Transaction, matched: Matched, expected: Expected, row: Row | None
    ) -> int:
        table, bounds = matched.scope.table.full, (expected.least, expected.most)
        if row is None:
            rows = matched.rows(NO_SETTINGS)
            query = table.delete_where(rows, *bounds)
        else:
            rows = matched.rows(NO_SETTINGS, encode(row))
            written = matched.scope.written(rows)
            query = table.change_where(tuple(row), rows, *bounds, written)
        found, done = _counts(await tx.execute(query, *rows.params) or b"[0, 0]")
        expected.check(found)
        return done

    async def _each(
        self, tx: Transaction, matched: Matched, expected: Expected, row: Row | None
    ) -> int:
        """Change the records one by one, as plugins take part in it."""
        rows, table = matched.rows(), matched.scope.table.full
        lock = FULL_LOCK if row is None else table.lock_to_change(row)
        query = table.ids_where(rows, expected.most, lock)
        found = [raw.decode() for raw in await tx.execute_all(query, *rows.params)]
        expected.check(len(found))
        for record_id in found:
            if row is None:
                await self._transactional.delete(tx, matched.scope, record_id, NO_CONDITION)
            else:
                await self._transactional.update(tx, matched.scope, record_id, row, NO_CONDITION)
        return len(found)
