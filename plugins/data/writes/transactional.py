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
    HookBus,
    HookFailed,
    Tagged,
    Transaction,
    hookspecs,
)
from plugins.data.reads.tables import joining
from plugins.data.rendering import check_readable, id_of, split_version
from plugins.data.row_scope import LinkLimits, RowScope, record_not_found
from plugins.data.store import FULL_LOCK, NO_SETTINGS, Table

from .inserts import Insert, insert_tagged
from .rows import Row, params_of, row_of
from .tags import Condition
from .violations import already_taken


class TransactionalWrites:
    """Writes of records that take part in a transaction, with every field of them."""

    def __init__(self, bus: HookBus) -> None:
        self._bus = bus

    def has_listeners(self, table: Table) -> bool:
        """Whether a plugin takes part in the writes of an entity."""
        subject, listening = table.entity.subject, self._bus.listeners
        return bool(
            listening(hookspecs.record_writing, subject)
            or listening(hookspecs.event_recorded, subject)
            or self._asked_for_old(subject)
        )

    def _asked_for_old(self, subject: str) -> bool:
        """Whether an observer wants the record before a change: a transaction reads it."""
        observers = self._bus.listeners(hookspecs.event_committed, subject)
        return bool(observers) and any(observer.subjects.wants_old for observer in observers)

    def has_observers(self, table: Table) -> bool:
        """Whether a plugin wants to know of committed writes of an entity."""
        return bool(self._bus.listeners(hookspecs.event_committed, table.entity.subject))

    async def create(self, tx: Transaction, insert: Insert) -> list[Tagged]:
        """Create records and return them in order."""
        made = await self.create_missing(tx, insert)
        return [made[place] for place in range(len(insert.rows))]

    async def create_missing(self, tx: Transaction, insert: Insert) -> Mapping[int, Tagged]:
        """Create the records whose key is not taken, and return them by the places of the rows."""
        table = insert.table
        if not self.has_listeners(table) and not self.has_observers(table):
            return await insert_tagged(tx, insert)
        written = [await self._changed(tx, table, "create", None, row) for row in insert.rows]
        rows = [row for row, _ in written]
        made: dict[int, Tagged] = {}
        for places, part in _parts(insert, rows):
            tagged = await insert_tagged(tx, part)
            made |= {places[n]: record for n, record in tagged.items()}
        if len(made) < len(rows):
            _check_skipped(insert, rows, made)
        for place, each in made.items():
            record = each.record
            _, change = written[place]
            event = event_of(table, "INSERT", tx.actor, id_of(record), new=record, change=change)
            await _record(tx, event)
        return made

    async def update(
        self, tx: Transaction, scope: RowScope, record_id: str, row: Row, condition: Condition
    ) -> Tagged | None:
        """Change a record and return it, or None where the hooks left nothing to change."""
        table = scope.table.full
        old = await self._locked(tx, scope, record_id, table.lock_to_change(row))
        condition.check(record_id, old)
        changed, change = await self._changed(tx, table, "update", record_id, row, old.record)
        if not changed:
            return None
        rows = scope.record(record_id, NO_SETTINGS, *await params_of(table.columns, changed))
        links = _without(scope.links, _links_set_by_hooks(scope.links, row, changed))
        written = None if links is None else links.values(rows)
        raw = await tx.execute(table.update(tuple(changed), rows, written), *rows.params)
        if raw is None:
            raise record_not_found(record_id)
        record, etag = split_version(raw)
        new = table.rendering.record(record)
        event = event_of(
            table, "UPDATE", tx.actor, record_id, old=old.record, new=new, change=change
        )
        await _record(tx, event)
        return Tagged(new, etag)

    async def delete(
        self, tx: Transaction, scope: RowScope, record_id: str, condition: Condition
    ) -> None:
        """Delete a record."""
        table = scope.table.full
        old = await self._locked(tx, scope, record_id, FULL_LOCK)
        condition.check(record_id, old)
        _, change = await self._changed(tx, table, "delete", record_id, {}, old.record)
        rows = scope.record(record_id, NO_SETTINGS)
        if await tx.execute(table.delete(rows), *rows.params) is None:
            raise record_not_found(record_id)
        event = event_of(table, "DELETE", tx.actor, record_id, old=old.record, change=change)
        await _record(tx, event)

    async def _locked(
        self, tx: Transaction, scope: RowScope, record_id: str, lock: bytes
    ) -> Tagged:
        rows, table = scope.record(record_id), scope.table.full
        raw = await tx.execute(table.one(rows, lock=lock), *rows.params)
        if raw is None:
            raise record_not_found(record_id)
        record, etag = split_version(check_readable(raw, record_id))
        return Tagged(table.rendering.record(record), etag)

    async def _changed(
        self,
        tx: Transaction,
        table: Table,
        action: Action,
        record_id: str | None,
        row: Row,
        old: bytes | None = None,
    ) -> tuple[Row, Change | None]:
        """Let the hooks change a copy of the row: a transaction may be run again."""
        entity = table.entity
        if not (hooks := self._bus.listeners(hookspecs.record_writing, entity.subject)):
            return row, None
        change = Change(
            app_id=entity.app_id,
            entity=entity.name,
            action=action,
            actor=tx.actor,
            record_id=record_id,
            values=dict(row),
            old=old,
        )
        for hook in hooks:
            before = dict(change.values)
            with joining(None):  # what the hook writes needs a tx of its own call
                await hook.call({"tx": tx, "change": change})
            if action != "delete" and change.values != before:
                creating = action == "create"
                try:
                    row = row_of(entity, table.columns, change.values, creating=creating)
                except BadRequest as error:  # the plugin's mistake, not the caller's
                    raise hook.note_failure(HookFailed(f"its values are wrong: {error}")) from error
        return row, change


def _parts(insert: Insert, rows: Sequence[Row]) -> Iterator[tuple[Sequence[int], Insert]]:
    """Divide rows as hooks left them, with their places, where hooks have set different links."""
    pairs = zip(insert.rows, rows, strict=True)
    set_by_hooks = [_links_set_by_hooks(insert.links, sent, row) for sent, row in pairs]
    for names, group in groupby(range(len(rows)), key=set_by_hooks.__getitem__):
        places = [*group]
        part = Insert(
            insert.table,
            [rows[place] for place in places],
            insert.unless,
            [insert.number(place) for place in places],
            _without(insert.links, names),
        )
        yield places, part


def _links_set_by_hooks(
    links: LinkLimits | None, sent: Mapping[str, Any], row: Mapping[str, Any]
) -> frozenset[str]:
    """Return the limited links that a hook has set: they are the plugin's, not the writer's."""
    if links is None:
        return frozenset()
    return frozenset(name for name in links.targets if row.get(name) != sent.get(name))


def _without(links: LinkLimits | None, names: Collection[str]) -> LinkLimits | None:
    return links.without(names) if links is not None and names else links


def _check_skipped(insert: Insert, rows: Sequence[Row], made: Mapping[int, Tagged]) -> None:
    """Raise BadRequest where a key is taken that a hook has set: the row met no record by it."""
    for place, row in enumerate(rows):
        sent = insert.rows[place]
        is_sent = all(row.get(name) == sent.get(name) for name in insert.unless)
        if place not in made and not is_sent:
            raise already_taken(insert.table.entity, insert.unless)


async def _record(tx: Transaction, event: Event) -> None:
    with joining(None):  # as for `record_writing`
        await tx.record(event)


def event_of(
    table: Table,
    operation: str,
    actor: Actor,
    record_id: str | None,
    *,
    old: bytes | None = None,
    new: bytes | None = None,
    change: Change | None = None,
) -> Event:
    """Describe a completed write, with the id of the change before it."""
    event = Event(
        app_id=table.entity.app_id,
        entity=table.entity.name,
        operation=operation,
        actor=actor,
        record_id=record_id,
        old=old,
        new=new,
    )
    return event if change is None else msgspec.structs.replace(event, id=change.id)
