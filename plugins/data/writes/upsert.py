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

from .records import MAX_BULK, Change, RecordWrites
from .rows import Row, at, check_locked, check_needed, encode, row_of

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
            shown = await self._outcomes_shown(tx, plan, outcomes)
            return [
                b'{"result": "%b", "record": %b}' % (outcome.result.encode(), record.record)
                for record, outcome in zip(shown, outcomes, strict=True)
            ]

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
            _check_met(plan, met, None if first is None else first + place)
        changed = await self._change_met(tx, plan, rows, found)
        for place, met in found.items():
            outcomes[place] = await self._outcome(tx, plan, rows[place], met, changed.get(place))
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

    async def _change_met(
        self, tx: Transaction, plan: Upsert, rows: Sequence[Row], found: Mapping[int, Met]
    ) -> dict[int, Tagged | None]:
        """Change the records that rows met, by one statement for those with the same fields."""
        changed: dict[int, Tagged | None] = {}
        if plan.then == "ignore":
            return changed
        groups: dict[tuple[str, ...], dict[int, Change]] = {}
        for place, met in found.items():
            row = {name: value for name, value in rows[place].items() if name not in plan.on}
            if row:
                groups.setdefault(tuple(row), {})[place] = Change(met.record_id, row)
        for names, group in groups.items():
            ids = {each.record_id for each in group.values()}
            alone = plan.scope.trees or not plan.scope.table.unique_fields.isdisjoint(names)
            at_once = not alone and len(ids) == len(group)
            for part in [[*group]] if at_once else [[place] for place in group]:
                changes = [group[place] for place in part]
                changed |= zip(part, await self._change_all(tx, plan.scope, changes), strict=True)
        return changed

    async def _outcome(
        self, tx: Transaction, plan: Upsert, row: Row, met: Met, changed: Tagged | None
    ) -> Outcome:
        if changed is not None:
            return Outcome("updated", changed, tuple(row))
        full = RowScope(plan.scope.table.full, None, own_only=False)
        record = await self._get(full, met.record_id, tx)
        return Outcome("ignored" if plan.then == "ignore" else "updated", record, plan.on)

    async def _outcomes_shown(
        self, tx: Transaction, plan: Upsert, outcomes: Sequence[Outcome]
    ) -> Sequence[Tagged]:
        """Return what the caller may see of the records."""
        made, sent = [each.record for each in outcomes], [each.sent for each in outcomes]
        own = [plan.scope.own_only or each.result == "created" for each in outcomes]
        return await self._answers(tx.actor, plan.scope.table, made, sent, own, tx)

    async def upsert_one(self, tx: Transaction, plan: Upsert, row: Row) -> tuple[str, Tagged]:
        """Create, change or leave a record; return which, and the record that is shown."""
        outcomes = await self._upsert_in(tx, plan, [row], None)
        [shown] = await self._outcomes_shown(tx, plan, outcomes)
        return outcomes[0].result, shown


def _check_met(plan: Upsert, met: Met, index: int | None) -> None:
    """Raise BadRequest where a row may not change the record that it met."""
    if plan.then == "fail" or not met.in_scope:
        label = f"{plan.scope.table.entity.name}.{', '.join(plan.on)}"
        what = "combination" if len(plan.on) > 1 else "value"
        place = "" if index is None else f"[{index}] "
        raise BadRequest(f"{place}{label}: this {what} is already taken")


def upserted_row(plan: Upsert, values: Mapping[str, Any]) -> Row:
    """Coerce a row that creates or changes a record."""
    table = plan.scope.table
    check_locked(table, plan.create, values)
    return row_of(table.shown, table.columns, values, creating=True, whole=False)


def key_of(plan: Upsert, row: Row) -> bytes | None:
    """Return the values that a record is met by, or None where a row meets none."""
    values = [row.get(name) for name in plan.on]
    return None if None in values else encode(values)


def check_keys(plan: Upsert, rows: Sequence[Row]) -> None:
    """Raise BadRequest where two rows have one key."""
    seen: set[bytes] = set()
    for place, row in enumerate(rows):
        if (key := key_of(plan, row)) is None:
            continue
        if key in seen:
            label = f"{plan.scope.table.entity.name}.{', '.join(plan.on)}"
            raise BadRequest(f"[{place}] {label}: the body has this key twice")
        seen.add(key)
