"""Upserts: rows that create a record or meet the one that has their key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

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
from plugins.data.errors import KeysTaken
from plugins.data.reads.tables import on_new_schema
from plugins.data.rendering import check_readable, id_of, split_version
from plugins.data.row_scope import RowScope

from .inserts import Insert
from .records import MAX_BULK, Change, RecordWrites
from .refusals import RowsRefused
from .rows import Row, at, check_locked, check_needed, encode, row_of
from .violations import already_taken

Then = Literal["update", "ignore", "fail"]


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

        try:
            shown = await self._run(actor, work, plan.scope.table)
        except ConstraintViolation as violation:
            raise await self._describe_row(actor, plan.scope.table, violation) from None
        return b'{"data": [%b]}' % b",\n".join(shown)

    async def _upsert_plan(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, on: str, then: Then
    ) -> Upsert:
        """Check the rights and the key of an upsert. Raises Forbidden, BadRequest."""
        update = await self._granted(actor, app_id, entity, "update")
        scope = await self._scope(actor, update, app_id, entity, "update")
        scope = await self._linking(actor, scope, scope.table.checked_links)
        columns = scope.table.columns
        names = tuple(columns.find(name.strip()).name for name in on.split(","))
        keys = [set(key) for key in scope.table.entity.unique if all(n in columns for n in key)]
        if set(names) not in keys or (names == ("id",) and not scope.table.entity.id_declared):
            known = [",".join(key) for key in scope.table.entity.unique if set(key) in keys]
            hint = nearest(on, known)
            raise BadRequest(f"on: no unique index of {entity} has just {on[:80]!r}; {hint}")
        return Upsert(grant, scope, names, then)

    async def _upsert_in(
        self, tx: Transaction, plan: Upsert, rows: Sequence[Row], *, numbers: bool = True
    ) -> list[Outcome]:
        """Create, change or leave records, and return what became of the rows in order.

        No two rows have one key. Where rows have `numbers`, errors name them. Raises KeysTaken.
        """
        found = await self._meet(tx, plan, rows)
        missing = [place for place in range(len(rows)) if place not in found]
        problems = _problems(plan, rows, found)
        if problems:
            raise RowsRefused(problems, numbers=numbers)
        outcomes = await self._create_unmet(tx, plan, rows, missing, numbers=numbers)
        changed = await self._change_met(tx, plan, rows, found)
        same = {place: met for place, met in found.items() if changed.get(place) is None}
        unchanged = await self._read_met(tx, plan, same)
        left = "ignored" if plan.then == "ignore" else "updated"
        for place in found:
            record = changed.get(place)
            if record is not None:
                outcomes[place] = Outcome("updated", record, tuple(rows[place]))
            else:
                outcomes[place] = Outcome(left, unchanged[place], plan.on)
        return [outcomes[place] for place in range(len(rows))]

    async def _meet(self, tx: Transaction, plan: Upsert, rows: Sequence[Row]) -> Mapping[int, Met]:
        """Find the records that have the keys of rows, and lock those that will change."""
        keyed = [
            {"_place": place, **{name: row[name] for name in plan.on}}
            for place, row in enumerate(rows)
            if key_of(plan, row) is not None
        ]
        if not keyed:
            return {}
        table = plan.scope.table.full
        conditions = plan.scope.table.conditions(encode(keyed))
        conditions.related = plan.scope.related
        limits = plan.scope.limits(conditions, b"t")
        lock = b""
        if plan.then == "update":
            lock = table.lock_to_change({name for row in rows for name in row} - {*plan.on})
        raw = await tx.execute_all(table.meet(plan.on, limits, lock), *conditions.params)
        return {met.place: met for met in (Met(*_met(each)) for each in raw)}

    async def _create_unmet(
        self,
        tx: Transaction,
        plan: Upsert,
        rows: Sequence[Row],
        places: Sequence[int],
        *,
        numbers: bool,
    ) -> dict[int, Outcome]:
        """Create the records of rows that met none. Raises KeysTaken where one has appeared."""
        if not places:
            return {}
        table = plan.scope.table
        new = [rows[place] for place in places]
        insert = Insert(table.full, new, plan.on, places, plan.scope.links)
        made = await self._transactional.create_missing(tx, insert)
        for n, place in enumerate(places):
            if n in made:
                continue
            if key_of(plan, new[n]) is not None:
                raise KeysTaken
            # A default or PostgreSQL made its key, by which it met no record.
            problem = already_taken(table.shown, plan.on)
            raise RowsRefused({place: problem}, numbers=numbers)
        return {
            place: Outcome("created", made[n], tuple(rows[place])) for n, place in enumerate(places)
        }

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

    async def _read_met(
        self, tx: Transaction, plan: Upsert, found: Mapping[int, Met]
    ) -> Mapping[int, Tagged]:
        """Read the records that rows met and did not change."""
        if not found:
            return {}
        table = plan.scope.table.full
        rows = table.conditions()
        ids = [met.record_id for met in found.values()]
        key = table.columns.id
        rows.parts.append(b"%b = any(%b)" % (key.sql, rows.bind(ids, key.cast + b"[]")))
        records: dict[str | None, Tagged] = {}
        for raw in await tx.fetch_all(table.one(rows), *rows.params):
            record, etag = split_version(check_readable(raw, None))
            records[id_of(record)] = Tagged(table.rendering.record(record), etag)
        if len(records) < len({*ids}):  # one was deleted meanwhile
            raise KeysTaken
        return {place: records[met.record_id] for place, met in found.items()}

    async def _outcomes_shown(
        self, tx: Transaction, plan: Upsert, outcomes: Sequence[Outcome]
    ) -> Sequence[Tagged]:
        """Return what the caller may see of the records."""
        made, sent = [each.record for each in outcomes], [each.sent for each in outcomes]
        own = [plan.scope.own_only or each.result == "created" for each in outcomes]
        return await self._answers(tx.actor, plan.scope.table, made, sent, own, tx)

    async def upsert_one(self, tx: Transaction, plan: Upsert, row: Row) -> tuple[str, Tagged]:
        """Create, change or leave a record; return which, and the record that is shown."""
        outcomes = await self._upsert_in(tx, plan, [row], numbers=False)
        [shown] = await self._outcomes_shown(tx, plan, outcomes)
        return outcomes[0].result, shown


def _problems(
    plan: Upsert, rows: Sequence[Row], found: Mapping[int, Met]
) -> Mapping[int, BadRequest]:
    """Return what is wrong with rows by their places, as far as one can know beforehand."""
    problems: dict[int, BadRequest] = {}
    table = plan.scope.table
    for place, row in enumerate(rows):
        met = found.get(place)
        if met is None:
            try:
                check_needed(table.full.columns, row)
            except BadRequest as error:
                problems[place] = BadRequest(error.message)
        elif plan.then == "fail" or not met.in_scope:
            problems[place] = already_taken(table.shown, plan.on)
    return problems


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
