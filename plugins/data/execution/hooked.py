"""Writes in a transaction: `record_writing` before each one, `event_recorded` after it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from kernel.public import (
    Action,
    Actor,
    BadRequest,
    Change,
    Event,
    FormerRecord,
    HookBus,
    HookFailed,
    Tagged,
    Transaction,
    hookspecs,
)
from plugins.data.rendering import check_readable, id_of
from plugins.data.rights.row_scope import LinkLimits, RowScope, record_not_found
from plugins.data.statements.entity_table import Table
from plugins.data.statements.locking import FULL_LOCK, lock_to_change
from plugins.data.statements.write_statements import NO_SETTINGS
from plugins.data.values.arrays import params_of
from plugins.data.values.rows import Row, row_of

from .changes import RecordChange
from .inserts import Insert, insert_tagged
from .violations import already_taken


class HookedWrites:
    """Writes records, with every field of them, where plugins take part."""

    def __init__(self, bus: HookBus) -> None:
        self._bus = bus

    async def create(self, tx: Transaction, insert: Insert) -> Mapping[int, Tagged]:
        """Create the records whose key is not taken, and return them by the places of the rows."""
        table = insert.table
        drafts = [_Draft(table, "create", row) for row in insert.rows]
        for draft in drafts:
            await self._ask_hooks(tx, draft)
        rows = [draft.row for draft in drafts]

        records: dict[int, Tagged] = {}
        for places, part in _parts_of(insert, rows):
            created = await insert_tagged(tx, part)
            for place_in_part, record in created.items():
                records[places[place_in_part]] = record
        if len(records) < len(rows):
            _check_skipped(insert, rows, records)

        for place, record in records.items():
            record_id = id_of(record.record)
            event = event_of(table, "INSERT", tx.actor, record_id, new=record.record)
            await tx.record(drafts[place].identify(event))
        return records

    async def update(self, tx: Transaction, scope: RowScope, change: RecordChange) -> Tagged | None:
        """Change a record and return it, or None where the hooks left nothing to change."""
        record_id = change.record_id
        table = scope.table.full
        old = await self._lock(tx, scope, record_id, lock_to_change(table, change.row))
        change.condition.check(record_id, old)
        draft = _Draft(table, "update", change.row, record_id, old.record)
        await self._ask_hooks(tx, draft)
        if not draft.row:
            return None

        values = await params_of(table.columns, draft.row)
        conditions = scope.begin_conditions_of_record(record_id, NO_SETTINGS, *values)
        links = _limit_others(scope.links, _links_set_by_hooks(scope.links, change.row, draft.row))
        link_values = None if links is None else links.writer(conditions)
        statement = table.writes.update_statement(tuple(draft.row), conditions, link_values)
        raw = await tx.execute(statement, *conditions.params)
        if raw is None:
            raise record_not_found(record_id)
        new = table.rendering.finish_tagged(raw)
        event = event_of(table, "UPDATE", tx.actor, record_id, old=old.record, new=new.record)
        await tx.record(draft.identify(event))
        return new

    async def delete(self, tx: Transaction, scope: RowScope, change: RecordChange) -> None:
        """Delete a record."""
        record_id = change.record_id
        table = scope.table.full
        old = await self._lock(tx, scope, record_id, FULL_LOCK)
        change.condition.check(record_id, old)
        draft = _Draft(table, "delete", {}, record_id, old.record)
        await self._ask_hooks(tx, draft)
        conditions = scope.begin_conditions_of_record(record_id, NO_SETTINGS)
        if await tx.execute(table.writes.delete_statement(conditions), *conditions.params) is None:
            raise record_not_found(record_id)
        event = event_of(table, "DELETE", tx.actor, record_id, old=old.record)
        await tx.record(draft.identify(event))

    async def _lock(self, tx: Transaction, scope: RowScope, record_id: str, lock: bytes) -> Tagged:
        """Lock a record and return it. Raises NotFound."""
        conditions = scope.begin_conditions_of_record(record_id)
        table = scope.table.full
        raw = await tx.execute(table.select_one(conditions, lock=lock), *conditions.params)
        if raw is None:
            raise record_not_found(record_id)
        return table.rendering.finish_tagged(check_readable(raw, record_id))

    async def _ask_hooks(self, tx: Transaction, draft: _Draft) -> None:
        """Let the hooks change a copy of the row: a transaction may be run again."""
        table = draft.table
        entity = table.entity
        hooks = self._bus.listeners(hookspecs.record_writing, entity.subject)
        if not hooks:
            return
        change = Change(
            app_id=entity.app_id,
            entity=entity.name,
            action=draft.action,
            actor=tx.actor,
            record_id=draft.record_id,
            values=dict(draft.row),
            old=draft.old,
        )
        draft.change = change
        for hook in hooks:
            values_before = dict(change.values)
            await hook.call({"tx": tx, "change": change})
            if draft.action == "delete" or change.values == values_before:
                continue
            creating = draft.action == "create"
            try:
                draft.row = row_of(entity, table.columns, change.values, creating=creating)
            except BadRequest as error:  # the plugin's mistake, not the caller's
                raise hook.note_failure(HookFailed(f"its values are wrong: {error}")) from error


class _Draft(msgspec.Struct):
    """A write that hooks may change: its row, and the change that they were shown."""

    table: Table
    action: Action
    row: Row
    record_id: str | None = None
    old: bytes | None = None
    change: Change | None = None

    def identify(self, event: Event) -> Event:
        """Give the event of the completed write the id that the hooks know the change by."""
        if self.change is None:
            return event
        return msgspec.structs.replace(event, id=self.change.id)


def _parts_of(insert: Insert, rows: Sequence[Row]) -> Iterator[tuple[Sequence[int], Insert]]:
    """Divide rows as hooks left them, with their places, where hooks have set different links."""
    set_by_hooks = [
        _links_set_by_hooks(insert.links, sent_row, row)
        for sent_row, row in zip(insert.rows, rows, strict=True)
    ]
    every_place = range(len(rows))
    for field_names, group in groupby(every_place, key=set_by_hooks.__getitem__):
        places = [*group]
        former_records: Sequence[FormerRecord] = ()
        if insert.former:
            former_records = [insert.former[place] for place in places]
        part = Insert(
            table=insert.table,
            rows=[rows[place] for place in places],
            unless=insert.unless,
            numbers=[insert.number(place) for place in places],
            links=_limit_others(insert.links, field_names),
            former=former_records,
        )
        yield places, part


def _links_set_by_hooks(
    links: LinkLimits | None, sent_row: Mapping[str, Any], row: Mapping[str, Any]
) -> frozenset[str]:
    """Return the limited links that a hook has set: they are the plugin's, not the writer's."""
    if links is None:
        return frozenset()
    return frozenset(field for field in links.fields if row.get(field) != sent_row.get(field))


def _limit_others(links: LinkLimits | None, field_names: Collection[str]) -> LinkLimits | None:
    """Return the limits of the fields that are not named."""
    if links is None or not field_names:
        return links
    return links.without(field_names)


def _check_skipped(insert: Insert, rows: Sequence[Row], records: Mapping[int, Tagged]) -> None:
    """Raise BadRequest where a key is taken that a hook has set: the row met no record by it."""
    for place, row in enumerate(rows):
        if place in records:
            continue
        sent_row = insert.rows[place]
        is_sent = all(row.get(name) == sent_row.get(name) for name in insert.unless)
        if not is_sent:
            raise already_taken(insert.table.entity, insert.unless)


def event_of(
    table: Table,
    operation: str,
    actor: Actor,
    record_id: str | None,
    *,
    old: bytes | None = None,
    new: bytes | None = None,
) -> Event:
    """Describe a completed write."""
    return Event(
        app_id=table.entity.app_id,
        entity=table.entity.name,
        operation=operation,
        actor=actor,
        record_id=record_id,
        old=old,
        new=new,
    )
