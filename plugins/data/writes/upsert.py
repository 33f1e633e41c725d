"""Upserts: rows that create a record or meet the one that has their key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import chain
from typing import Any, Literal

import msgspec

from kernel.public import (
    BadRequest,
    ConstraintViolation,
    Grant,
    Tagged,
    Target,
    Transaction,
    nearest,
)
from plugins.data.errors import KeysTaken
from plugins.data.execution.changes import RecordChange
from plugins.data.execution.execution import WriteExecution
from plugins.data.execution.inserts import Insert
from plugins.data.execution.violations import already_taken
from plugins.data.rendering import check_readable, id_of, split_version
from plugins.data.rights.links import LinkRights
from plugins.data.rights.permissions import Permissions
from plugins.data.rights.row_scope import RowScope
from plugins.data.rights.scopes import RowScopes
from plugins.data.values.encoding import encode
from plugins.data.values.rows import Row, check_locked, check_needed, name_place, row_of

from .descriptions import ErrorDescriptions
from .records import MAX_BULK
from .refusals import RowsRefused
from .replies import Replies, WrittenRecord

Then = Literal["update", "ignore", "fail"]


class UpsertPlan(msgspec.Struct, frozen=True):
    """How rows meet records: the fields that must be equal, and what happens then.

    `scope` are the records that the caller may update. With `is_import` a row that has the values
    of its record changes nothing, and an empty cell leaves an empty text. A row whose `id` no
    record has is wrong, unless the plan `creates_ids`.
    """

    create: Grant
    scope: RowScope
    on: tuple[str, ...]
    then: Then
    is_import: bool = False
    creates_ids: bool = True


class MetRecord(msgspec.Struct, frozen=True):
    """A record that has the key of a row, by the row's place from 0.

    `same` are fields whose values it has already.
    """

    place: int
    record_id: str
    in_scope: bool
    same: Sequence[str] = ()


class Outcome(msgspec.Struct, frozen=True):
    """What became of a row; `sent_fields` are those that its sender knows.

    Of an `updated` record `is_unchanged` says that it had the values of the row already.
    """

    result: Literal["created", "updated", "ignored"]
    record: Tagged
    sent_fields: tuple[str, ...]
    is_unchanged: bool = False


class Applied(msgspec.Struct, frozen=True):
    """What rows have done, by their places: records created, met, and of the latter changed."""

    created: Mapping[int, Outcome]
    met: Mapping[int, MetRecord]
    changed: Mapping[int, Tagged]

    @property
    def unchanged(self) -> Mapping[int, MetRecord]:
        """The records that were met and not changed."""
        return {place: met for place, met in self.met.items() if place not in self.changed}


class Judged(msgspec.Struct, frozen=True):
    """What rows would do, by their places: what is wrong, and the records that they would meet.

    `unchanged` are those of the met ones that have all values already.
    """

    problems: Mapping[int, BadRequest]
    met: Set[int]
    unchanged: Set[int]


_decode_met = msgspec.json.Decoder(tuple[int, str, bool, tuple[str, ...]]).decode


class Upserts:
    """Creates the records of rows, or changes those that have their keys."""

    def __init__(
        self,
        permissions: Permissions,
        scopes: RowScopes,
        links: LinkRights,
        execution: WriteExecution,
        replies: Replies,
        descriptions: ErrorDescriptions,
    ) -> None:
        self._permissions = permissions
        self._scopes = scopes
        self._links = links
        self._execution = execution
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
        plan = await self.plan(target, on, then)
        if not 1 <= len(bodies) <= MAX_BULK:
            raise BadRequest(f"1 to {MAX_BULK} objects are wanted, not {len(bodies)}")
        rows = [
            name_place(place, coerce_upserted, plan, values) for place, values in enumerate(bodies)
        ]
        check_keys(plan, rows)
        table = plan.scope.table

        async def work(own_tx: Transaction) -> list[bytes]:
            outcomes = await self.write(own_tx, plan, rows)
            shown = await self.show(own_tx, plan, outcomes)
            return [
                b'{"result": "%b", "record": %b}' % (outcome.result.encode(), record.record)
                for record, outcome in zip(shown, outcomes, strict=True)
            ]

        try:
            results = await self._execution.transactions.run(target.actor, work, [table], tx)
        except ConstraintViolation as violation:
            raise await self._descriptions.describe_row(
                target.actor, table, violation, tx
            ) from None
        return b'{"data": [%b]}' % b",\n".join(results)

    async def plan(
        self, target: Target, on: str, then: Then, *, is_import: bool = False
    ) -> UpsertPlan:
        """Check the rights and the key of an upsert. Raises Forbidden, BadRequest."""
        actor = target.actor
        update = await self._permissions.require(actor, target.app_id, target.entity, "update")
        updated = Target(actor, update, target.app_id, target.entity)
        scope = await self._scopes.resolve(updated, "update")
        scope = await self._links.limit_changes(actor, scope, scope.table.limited_fields)
        key = _read_key(scope, on, is_import=is_import)
        return UpsertPlan(target.grant, scope, key, then, is_import)

    async def plan_import(self, target: Target, on: str, *, creates_ids: bool) -> UpsertPlan:
        """Check the rights and the key of an import, which may be the id of every entity."""
        plan = await self.plan(target, on, "update", is_import=True)
        return msgspec.structs.replace(plan, creates_ids=creates_ids)

    async def apply(
        self, tx: Transaction, plan: UpsertPlan, rows: Sequence[Row], *, numbers: bool = True
    ) -> Applied:
        """Create and change records.

        No two rows have one key. Where rows have `numbers`, errors name them. Raises KeysTaken.
        """
        met_records = await self._find_met(tx, plan, rows)
        problems = _find_problems(plan, rows, met_records)
        if problems:
            raise RowsRefused(problems, numbers=numbers)
        new_places = [place for place in range(len(rows)) if place not in met_records]
        created = await self._create_records(tx, plan, rows, new_places, numbers=numbers)
        changed = await self._change_records(tx, plan, rows, met_records)
        return Applied(created, met_records, changed)

    async def judge(self, tx: Transaction, plan: UpsertPlan, rows: Sequence[Row]) -> Judged:
        """Say what rows would do; nothing is locked or written.

        What PostgreSQL refuses is no part of it: a value that is taken, a link that leads nowhere.
        """
        met_records = await self._find_met(tx, plan, rows, locked=False)
        problems = _find_problems(plan, rows, met_records)
        met = met_records.keys() - problems.keys()
        unchanged = {
            place for place in met if not _list_changes(plan, rows[place], met_records[place])
        }
        return Judged(problems, met, unchanged)

    async def write(
        self, tx: Transaction, plan: UpsertPlan, rows: Sequence[Row], *, numbers: bool = True
    ) -> list[Outcome]:
        """Create, change or leave records, and return what became of the rows in order.

        See `apply`.
        """
        applied = await self.apply(tx, plan, rows, numbers=numbers)
        unchanged = await self._read_records(tx, plan, applied.unchanged)
        result_of_unchanged = "ignored" if plan.then == "ignore" else "updated"
        outcomes = dict(applied.created)
        for place in applied.met:
            record = applied.changed.get(place)
            if record is not None:
                outcomes[place] = Outcome("updated", record, tuple(rows[place]))
            else:
                record = unchanged[place]
                outcomes[place] = Outcome(result_of_unchanged, record, plan.on, is_unchanged=True)
        return [outcomes[place] for place in range(len(rows))]

    async def write_one(
        self, tx: Transaction, plan: UpsertPlan, row: Row
    ) -> tuple[Outcome, Tagged]:
        """Create, change or leave a record; return what became of it, and what is shown."""
        [outcome] = await self.write(tx, plan, [row], numbers=False)
        [shown] = await self.show(tx, plan, [outcome])
        return outcome, shown

    async def show(
        self, tx: Transaction, plan: UpsertPlan, outcomes: Sequence[Outcome]
    ) -> Sequence[Tagged]:
        """Return what the caller may see of the records."""
        own_only = plan.scope.own_only
        written = [
            WrittenRecord(
                outcome.record, outcome.sent_fields, own_only or outcome.result == "created"
            )
            for outcome in outcomes
        ]
        return await self._replies.show_all(tx.actor, plan.scope.table, written, tx)

    async def _find_met(
        self, tx: Transaction, plan: UpsertPlan, rows: Sequence[Row], *, locked: bool = True
    ) -> Mapping[int, MetRecord]:
        """Find the records that have the keys of rows; `locked` locks those that will change."""
        shown_names = plan.on
        if plan.is_import:
            shown_names = tuple(dict.fromkeys(chain(plan.on, *rows)))
        keys = [
            {"_place": place, **{name: row[name] for name in shown_names if name in row}}
            for place, row in enumerate(rows)
            if key_of(plan, row) is not None
        ]
        if not keys:
            return {}
        table = plan.scope.table.full
        conditions = plan.scope.table.conditions(encode(keys))
        conditions.related = plan.scope.related
        limits = plan.scope.write_conditions(conditions, b"t")
        lock = b""
        if locked and plan.then == "update":
            changed_fields = {name for row in rows for name in row} - {*plan.on}
            lock = table.writes.lock_to_change(changed_fields)
        compared = [name for name in shown_names if name not in (*plan.on, "id")]
        query = table.writes.find_by_keys_statement(plan.on, limits, lock, compared)
        raw_records = await tx.execute_all(query, *conditions.params)
        met_records = [MetRecord(*_decode_met(raw)) for raw in raw_records]
        return {met.place: met for met in met_records}

    async def _create_records(
        self,
        tx: Transaction,
        plan: UpsertPlan,
        rows: Sequence[Row],
        places: Sequence[int],
        *,
        numbers: bool,
    ) -> dict[int, Outcome]:
        """Create the records of rows that met none. Raises KeysTaken where one has appeared."""
        if not places:
            return {}
        table = plan.scope.table
        new_rows = [rows[place] for place in places]
        insert = Insert(table.full, new_rows, plan.on, places, plan.scope.links)
        records = await self._execution.create_missing_within(tx, insert)
        outcomes: dict[int, Outcome] = {}
        for index, place in enumerate(places):
            record = records.get(index)
            if record is not None:
                outcomes[place] = Outcome("created", record, tuple(rows[place]))
                continue
            if key_of(plan, rows[place]) is not None:
                raise KeysTaken
            # A default or PostgreSQL made its key, by which it met no record.
            problem = already_taken(table.shown, plan.on)
            raise RowsRefused({place: problem}, numbers=numbers)
        return outcomes

    async def _change_records(
        self,
        tx: Transaction,
        plan: UpsertPlan,
        rows: Sequence[Row],
        met_records: Mapping[int, MetRecord],
    ) -> dict[int, Tagged]:
        """Change the records that rows met, by one statement for those with the same fields."""
        changed: dict[int, Tagged | None] = {}
        if plan.then == "ignore":
            return {}
        groups: dict[tuple[str, ...], dict[int, RecordChange]] = {}
        for place, met in met_records.items():
            row = _list_changes(plan, rows[place], met)
            if row:
                group = groups.setdefault(tuple(row), {})
                group[place] = RecordChange(met.record_id, row)
        for field_names, group in groups.items():
            changes_unique = not plan.scope.table.writes.unique_fields.isdisjoint(field_names)
            one_by_one = bool(plan.scope.trees) or changes_unique
            ids = {change.record_id for change in group.values()}
            if one_by_one or len(ids) < len(group):
                parts = [[place] for place in group]
            else:
                parts = [[*group]]
            for places in parts:
                changes = [group[place] for place in places]
                records = await self._execution.update_all(tx, plan.scope, changes)
                changed |= zip(places, records, strict=True)
        return {place: record for place, record in changed.items() if record is not None}

    async def _read_records(
        self, tx: Transaction, plan: UpsertPlan, met_records: Mapping[int, MetRecord]
    ) -> Mapping[int, Tagged]:
        """Read the records that rows met and did not change."""
        if not met_records:
            return {}
        table = plan.scope.table.full
        conditions = table.conditions()
        ids = [met.record_id for met in met_records.values()]
        key = table.columns.id
        conditions.parts.append(b"%b = any(%b)" % (key.sql, conditions.bind(ids, key.cast + b"[]")))
        records: dict[str | None, Tagged] = {}
        for raw in await tx.fetch_all(table.select_one(conditions), *conditions.params):
            record, etag = split_version(check_readable(raw, None))
            records[id_of(record)] = Tagged(table.rendering.finish_record(record), etag)
        if len(records) < len({*ids}):  # one was deleted meanwhile
            raise KeysTaken
        return {place: records[met.record_id] for place, met in met_records.items()}


def _read_key(scope: RowScope, on: str, *, is_import: bool) -> tuple[str, ...]:
    """Return the fields of a unique index that the caller may read. Raises BadRequest.

    An id that the server makes is a key of imports alone.
    """
    entity = scope.table.entity
    columns = scope.columns
    names = tuple(columns.find(name.strip()).name for name in on.split(","))
    readable_keys = [{*key} for key in entity.unique if all(name in columns for name in key)]
    if names == ("id",) and is_import:
        return names
    is_made_by_server = names == ("id",) and not entity.id_declared
    if {*names} in readable_keys and not is_made_by_server:
        return names
    shown_keys = [",".join(key) for key in entity.unique if {*key} in readable_keys]
    hint = nearest(on, shown_keys)
    raise BadRequest(f"on: no unique index of {entity.name} has just {on[:80]!r}; {hint}")


def _list_changes(plan: UpsertPlan, row: Row, met: MetRecord) -> Row:
    """Return the values of a row that the record it meets does not have."""
    left_out = {*plan.on, *met.same}
    if plan.is_import:
        left_out.add("id")
    return {name: value for name, value in row.items() if name not in left_out}


def _find_problems(
    plan: UpsertPlan, rows: Sequence[Row], met_records: Mapping[int, MetRecord]
) -> Mapping[int, BadRequest]:
    """Return what is wrong with rows by their places, as far as one can know beforehand."""
    problems: dict[int, BadRequest] = {}
    table = plan.scope.table
    has_known_ids = plan.on == ("id",) and not plan.creates_ids
    for place, row in enumerate(rows):
        met = met_records.get(place)
        is_unknown = met is None or not met.in_scope
        if has_known_ids and is_unknown and row.get("id") is not None:
            problems[place] = BadRequest(
                f"{table.entity.name}.id: no such {table.entity.name} record"
            )
        elif met is None:
            try:
                check_needed(table.full.columns, row)
            except BadRequest as error:
                problems[place] = BadRequest(error.message)
        elif plan.then == "fail" or not met.in_scope:
            problems[place] = already_taken(table.shown, plan.on)
    return problems


def coerce_upserted(plan: UpsertPlan, values: Mapping[str, Any]) -> Row:
    """Coerce a row that creates or changes a record."""
    table = plan.scope.table
    check_locked(table, plan.create, values)
    return row_of(table.shown, table.columns, values, creating=True, complete=False)


def key_of(plan: UpsertPlan, row: Row) -> bytes | None:
    """Return the values that a record is met by, or None where a row meets none."""
    values = [row.get(name) for name in plan.on]
    return None if None in values else encode(values)


def check_keys(plan: UpsertPlan, rows: Sequence[Row]) -> None:
    """Raise BadRequest where two rows have one key."""
    keys: set[bytes] = set()
    for place, row in enumerate(rows):
        key = key_of(plan, row)
        if key is None:
            continue
        if key in keys:
            label = f"{plan.scope.table.entity.name}.{', '.join(plan.on)}"
            raise BadRequest(f"[{place}] {label}: the body has this key twice")
        keys.add(key)
