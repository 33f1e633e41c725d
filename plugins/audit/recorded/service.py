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

from . import statements

_decode_changes = msgspec.json.Decoder(list[RecordedChange]).decode
_decode_values = msgspec.json.Decoder(ChangeValues).decode
_decode_record = msgspec.json.Decoder(tuple[str, dict[str, Any]]).decode

MAX_INLINE_BYTES: Final = 1_000_000
"""Bytes of a list that is decoded at once; more would delay other requests."""
MAX_COUNTED: Final = 10_000_000
"""Changes that are counted."""


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
        chosen = _choose(selection)
        params = _params_of(selection, limit)
        raw = await reader.fetch(chosen.list, *params, custom_plan=True, quick=False)
        if raw is not None and len(raw) > MAX_INLINE_BYTES:
            return await to_thread.run_sync(_decode_changes, raw)
        return _decode_changes(raw or b"[]")

    async def count(self, reader: Reader, selection: ChangeSelection) -> int:
        """See `Recorded.count`."""
        chosen = _choose(selection)
        params = _params_of(selection, MAX_COUNTED)
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
        values = [_decode_values(row) for row in rows]
        return {change.id: change for change in values}

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


def _params_of(selection: ChangeSelection, limit: int) -> Sequence[Param]:
    entities = None if selection.entities is None else list(selection.entities)
    names: list[str] | None = None
    if selection.request_ids:
        names = list(selection.request_ids)
    elif selection.record_id is not None:
        names = [selection.record_id]
    times = (selection.since, selection.after, selection.until)
    return (selection.app_id, entities, *times, selection.actor_id, limit, names)
