"""Upserts: rows that create a record or meet the one that has their key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from kernel.public import (
    Actor,
    BadRequest,
    ConstraintViolation,
    Grant,
    Tagged,
    Transaction,
    nearest,
)
from plugins.data.reads.tables import on_new_schema
from plugins.data.row_scope import RowScope

from .records import MAX_BULK, RecordWrites, at, check_locked
from .rows import Row, check_needed, encode, row_of
from .tags import NO_CONDITION

Then = Literal["update", "ignore", "fail"]
ATTEMPTS: Final = 3
"""Tries of a transaction where others create the same keys meanwhile."""

UNIQUE: Final = "23505"


class Upsert(msgspec.Struct, frozen=True):
    """How rows meet records: the fields that must be equal, and what happens then.

    `scope` are the records that the caller may update.
    """

    create: Grant
    scope: RowScope
    on: tuple[str, ...]
    then: Then


class Met(msgspec.Struct, frozen=True):
    """A record that has the key of a row, by the row's place from 0."""

    place: int
    record_id: str
    in_scope: bool


class Outcome(msgspec.Struct, frozen=True):
    """What became of a row; `sent` are the fields that its sender knows."""

    result: Literal["created", "updated", "ignored"]
    record: Tagged
    sent: tuple[str, ...]


_met = msgspec.json.Decoder(tuple[int, str, bool]).decode


class Upserts(RecordWrites):
    """Adds `upsert` to the writes."""

    @on_new_schema
    async def upsert(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        rows: Sequence[Mapping[str, Any]],
        on: str,
        then: Then = "update",
    ) -> bytes:
        """See `Collections.upsert`."""
        plan = await self._upsert_plan(actor, grant, app_id, entity, on, then)
        if not 1 <= len(rows) <= MAX_BULK:
            raise BadRequest(f"1 to {MAX_BULK} objects are wanted, not {len(rows)}")
        coerced = [at(place, upserted_row, plan, values) for place, values in enumerate(rows)]
        check_keys(plan, coerced)

        async def work(tx: Transaction) -> list[bytes]:
            outcomes = await self._upsert_in(tx, plan, coerced)
            return [await self._shown(actor, plan, outcome, tx) for outcome in outcomes]

        shown = await self._in_attempts(actor, plan, work)
        return b'{"data": [%b]}' % b",\n".join(shown)

    async def _upsert_plan(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, on: str, then: Then
    ) -> Upsert:
        """Check the rights and the key of an upsert. Raises Forbidden, BadRequest."""
        update = await self._granted(actor, app_id, entity, "update")
        scope = await self._scope(actor, update, app_id, entity, "update")
        columns = scope.table.columns
        names = tuple(columns.find(name.strip()).name for name in on.split(","))
        keys = [set(key) for key in scope.table.entity.unique if all(n in columns for n in key)]
        if set(names) not in keys or (names == ("id",) and not scope.table.entity.id_declared):
            known = [",".join(key) for key in scope.table.entity.unique if set(key) in keys]
            hint = nearest(on, known)
            raise BadRequest(f"on: no unique index of {entity} has just {on[:80]!r}; {hint}")
        return Upsert(grant, scope, names, then)

    async def _in_attempts(self, actor: Actor, plan: Upsert, work: Any) -> Any:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._run(actor, work, plan.scope.table)
            except ConstraintViolation as violation:
                if violation.sqlstate != UNIQUE or attempt == ATTEMPTS:
                    raise await self._describe(violation, plan.scope.table) from None
        raise AssertionError("unreachable")

    async def _upsert_in(
        self, tx: Transaction, plan: Upsert, rows: Sequence[Row], first: int | None = 0
    ) -> list[Outcome]:
        """Create, change or leave records, and return what became of the rows in order.

        Errors name the row, counted from `first`; None is for a row that has no number.
        """
        found = {met.place: met for met in await self._meet(tx, plan, rows)}
        table, outcomes = plan.scope.table, dict[int, Outcome]()
        new = [place for place in range(len(rows)) if place not in found]
        for place in new:
            at(
                None if first is None else first + place,
                check_needed,
                table.full.columns,
                rows[place],
            )
        if new:
            made = await self._transactional.create(tx, table, [rows[place] for place in new])
            for place, record in zip(new, made, strict=True):
                outcomes[place] = Outcome("created", record, tuple(rows[place]))
        for place, met in found.items():
            index = None if first is None else first + place
            outcomes[place] = await self._meeting(tx, plan, rows[place], met, index)
        return [outcomes[place] for place in range(len(rows))]

    async def _meet(self, tx: Transaction, plan: Upsert, rows: Sequence[Row]) -> list[Met]:
        keyed = [
            {"_place": place, **{name: row[name] for name in plan.on}}
            for place, row in enumerate(rows)
            if all(row.get(name) is not None for name in plan.on)
        ]
        if not keyed:
            return []
        conditions = plan.scope.table.conditions(encode(keyed))
        conditions.related = plan.scope.related
        limits = plan.scope.limits(conditions, b"t")
        query = plan.scope.table.full.meet(plan.on, limits)
        found = await tx.execute_all(query, *conditions.params)
        return [Met(*_met(raw)) for raw in found]

    async def _meeting(
        self, tx: Transaction, plan: Upsert, row: Row, met: Met, index: int | None
    ) -> Outcome:
        if plan.then == "fail" or not met.in_scope:
            label = f"{plan.scope.table.entity.name}.{', '.join(plan.on)}"
            what = "combination" if len(plan.on) > 1 else "value"
            place = "" if index is None else f"[{index}] "
            raise BadRequest(f"{place}{label}: this {what} is already taken")
        changes = {name: value for name, value in row.items() if name not in plan.on}
        if plan.then == "update" and changes:
            changed = await self._change_in(tx, plan.scope, met.record_id, changes, NO_CONDITION)
            if changed is not None:
                return Outcome("updated", changed, tuple(row))
        full = RowScope(plan.scope.table.full, None, own_only=False)
        record = await self._get(full, met.record_id, tx)
        result = "updated" if plan.then == "update" else "ignored"
        return Outcome(result, record, tuple(plan.on))

    async def _shown(self, actor: Actor, plan: Upsert, outcome: Outcome, tx: Transaction) -> bytes:
        own = outcome.result == "created" or plan.scope.own_only
        shown = await self._answer(
            actor, plan.scope.table, outcome.record, outcome.sent, own=own, reader=tx
        )
        return b'{"result": "%b", "record": %b}' % (outcome.result.encode(), shown.record)


def upserted_row(plan: Upsert, values: Mapping[str, Any]) -> Row:
    """Coerce a row that creates or changes a record."""
    table = plan.scope.table
    check_locked(table, plan.create, values)
    return row_of(table.shown, table.columns, values, creating=True, whole=False)


def check_keys(plan: Upsert, rows: Sequence[Row]) -> None:
    """Raise BadRequest where two rows have one key."""
    seen: set[bytes] = set()
    for place, row in enumerate(rows):
        values = [row.get(name) for name in plan.on]
        if None in values:
            continue
        if (key := encode(values)) in seen:
            label = f"{plan.scope.table.entity.name}.{', '.join(plan.on)}"
            raise BadRequest(f"[{place}] {label}: the body has this key twice")
        seen.add(key)
