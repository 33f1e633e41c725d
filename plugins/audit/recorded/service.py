"""Provides RECORDED."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString

import msgspec
from anyio import to_thread
from psycopg import sql

from kernel.public import (
    ChangeSelection,
    ChangeValues,
    Entity,
    Param,
    Reader,
    RecordedChange,
    Transaction,
)
from plugins.audit.names import NameHistory, read_names

from . import statements

_decode_changes = msgspec.json.Decoder(list[RecordedChange]).decode
_decode_record = msgspec.json.Decoder(tuple[str, dict[str, Any]]).decode

MAX_INLINE_BYTES: Final = 1_000_000
"""Bytes of a list that is decoded at once; more would delay other requests."""
MAX_COUNTED: Final = 10_000_000
"""Changes that are counted."""


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """The values of a change under the names of their time."""

    id: int
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    owner: str | None
    app_id: str


_decode_row = msgspec.json.Decoder(_Row).decode


class RecordedChanges:
    """See `kernel.contracts.trail.recorded.Recorded`."""

    async def begins(self, reader: Reader, app_id: str) -> str | None:
        """See `Recorded.begins`."""
        raw = await reader.fetch(statements.BEGINS, app_id)
        return None if raw is None else raw.decode()

    async def list(
        self, reader: Reader, selection: ChangeSelection, limit: int
    ) -> list[RecordedChange]:
        """See `Recorded.list`."""
        names = await read_names(reader, selection.app_id)
        chosen = _choose(selection)
        params = _params_of(selection, names, limit)
        raw = await reader.fetch(chosen.list, *params, custom_plan=True, quick=False)
        if raw is not None and len(raw) > MAX_INLINE_BYTES:
            return await to_thread.run_sync(_read_changes, raw, selection, names)
        return _read_changes(raw or b"[]", selection, names)

    async def count(self, reader: Reader, selection: ChangeSelection) -> int:
        """See `Recorded.count`."""
        names = await read_names(reader, selection.app_id)
        chosen = _choose(selection)
        params = _params_of(selection, names, MAX_COUNTED)
        raw = await reader.fetch(chosen.count, *params, custom_plan=True, quick=False)
        return int(raw or 0)

    async def read(
        self, reader: Reader, changes: Sequence[RecordedChange]
    ) -> Mapping[int, ChangeValues]:
        """See `Recorded.read`."""
        if not changes:
            return {}
        ids = [change.id for change in changes]
        times = [change.at for change in changes]
        rows = await reader.fetch_all(
            statements.READ, ids, min(times), max(times), custom_plan=True, quick=False
        )
        decoded_rows = [_decode_row(row) for row in rows]
        app_ids = {row.app_id for row in decoded_rows}
        names_by_app = {app_id: await read_names(reader, app_id) for app_id in sorted(app_ids)}
        entities = {change.id: change.entity for change in changes}
        return {
            row.id: _rename_values(row, entities[row.id], names_by_app[row.app_id])
            for row in decoded_rows
        }

    async def lock(
        self, tx: Transaction, entity: Entity, record_ids: Sequence[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """See `Recorded.lock`."""
        query = statements.LOCK.format(
            table=sql.Identifier(entity.app_id, entity.name), id_type=sql.SQL(entity.id_type)
        )
        rows = await tx.execute_all(query.as_bytes(None), list(record_ids))
        return dict(map(_decode_record, rows))


class _Chosen(msgspec.Struct, frozen=True):
    """The statements that walk the index which fits a selection."""

    list: LiteralString
    count: LiteralString


_OF_REQUESTS: Final = _Chosen(statements.LIST_OF_REQUESTS, statements.COUNT_OF_REQUESTS)
_OF_ACTOR: Final = _Chosen(statements.LIST_OF_ACTOR, statements.COUNT_OF_ACTOR)
_OF_RECORD: Final = _Chosen(statements.LIST_OF_RECORD, statements.COUNT_OF_RECORD)


def _choose(selection: ChangeSelection) -> _Chosen:
    if selection.request_ids:
        return _OF_REQUESTS
    return _OF_ACTOR if selection.record_id is None else _OF_RECORD


def _params_of(selection: ChangeSelection, names: NameHistory, limit: int) -> Sequence[Param]:
    entities: list[str] | None = None
    if selection.entities is not None:
        entities = [stored for name in selection.entities for stored in names.list_stored(name)]
    keys: list[str] | None = None
    if selection.request_ids:
        keys = list(selection.request_ids)
    elif selection.record_id is not None:
        keys = [selection.record_id]
    times = (selection.since, selection.after, selection.until)
    return (selection.app_id, entities, *times, selection.actor_id, limit, keys)


def _read_changes(
    raw: bytes, selection: ChangeSelection, names: NameHistory
) -> list[RecordedChange]:
    """Return changes under the present names of their entities, those that a selection means."""
    changes: list[RecordedChange] = []
    for change in _decode_changes(raw):
        entity = names.find_entity(change.entity, change.id)
        is_meant = selection.entities is None or entity in selection.entities
        if entity is None or not is_meant:
            continue
        if entity != change.entity:
            change = msgspec.structs.replace(change, entity=entity)
        changes.append(change)
    return changes


def _rename_values(row: _Row, entity: str, names: NameHistory) -> ChangeValues:
    """Return the values of a change under the present names of their fields."""
    return ChangeValues(
        id=row.id,
        old=names.rename_members(entity, row.id, row.old),
        new=names.rename_members(entity, row.id, row.new),
        owner=row.owner,
    )
