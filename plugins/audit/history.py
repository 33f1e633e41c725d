"""The history of a record: the changes that its reader could have seen as they happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from kernel.public import Actor, Apps, HookBus, Reader, Records, Target, hookspecs

from . import store
from .models import HistoryPage, SeenRecord

SET_BY_THE_SERVER: Final = ("id", "created_at", "updated_at")


class RecordHistory:
    """Reads histories. A history has no more than its reader may read of the record today.

    It begins when the record was created, or came within the reader's reach.
    """

    def __init__(self, reader: Reader, records: Records, apps: Apps, bus: HookBus) -> None:
        self._reader = reader
        self._records = records
        self._apps = apps
        self._bus = bus

    async def find_record(self, target: Target, record_id: str) -> SeenRecord:
        """Return a record as the caller sees it. Raises NotFound, BadRequest."""
        record = await self._records.get(target, record_id)
        members = msgspec.json.decode(record.record, type=dict[str, msgspec.Raw])
        return SeenRecord(
            app_id=target.app_id,
            entity=target.entity,
            id=msgspec.json.decode(members["id"], type=str),
            created_at=msgspec.json.decode(members["created_at"], type=str),
            fields=[name for name in members if name not in SET_BY_THE_SERVER],
            owner=target.actor.user_id if target.grant.own_only else None,
            deciding=await self._deciding_fields(target.actor, target.app_id, target.entity),
        )

    async def read(self, record: SeenRecord, page: HistoryPage) -> bytes:
        """Return a part of the history of a record, newest first, as JSON."""
        return await store.history(self._reader, record, page)

    async def _deciding_fields(self, actor: Actor, app_id: str, entity: str) -> Sequence[str]:
        """Return the fields by which plugins narrow what the caller reads of an entity."""
        described = await self._apps.entity(app_id, entity)
        trees = await self._bus.gather(
            hookspecs.record_scope, actor=actor, entity=described, action="read"
        )
        names = {name for tree in trees for name in fields_in(tree)}
        return sorted(names)


def fields_in(tree: object) -> Iterator[str]:
    """Yield the names of fields in a where-tree; those of linked records are not followed."""
    if not isinstance(tree, Mapping):
        return
    for name, condition in cast("Mapping[str, Any]", tree).items():
        if name in ("$and", "$or"):
            for branch in condition:
                yield from fields_in(branch)
        elif name == "$not":
            yield from fields_in(condition)
        else:
            yield name
