"""Writes records back by RECORDS: many by one call, and each alone where one of them fails."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import msgspec

from kernel.public import (
    MAX_PAGE,
    Actor,
    FormerRecord,
    KernelError,
    NotFound,
    Page,
    Records,
    Target,
    Transaction,
    View,
)

from .models import NEEDED, Inverse, PlannedWrite
from .rights import Grants

MAX_GROUP = 1000
"""Records of one call of RECORDS."""


class _ShownId(msgspec.Struct):
    id: str


_decode_records = msgspec.json.Decoder(list[_ShownId]).decode

Failure = tuple[PlannedWrite, KernelError]


class RecordsBack:
    """Carries out planned writes in a transaction."""

    def __init__(self, records: Records, actor: Actor, app_id: str, grants: Grants) -> None:
        self._records = records
        self._actor = actor
        self._app_id = app_id
        self._grants = grants

    def may(self, name: str, inverse: Inverse | None) -> bool:
        """Whether the caller was granted what an inverse needs on an entity."""
        return inverse is not None and (name, NEEDED[inverse]) in self._grants

    async def write(self, tx: Transaction, writes: Sequence[PlannedWrite]) -> list[Failure]:
        """Write what can be written, and return the others with their errors."""
        groups: dict[Hashable, list[PlannedWrite]] = {}
        for write in writes:
            groups.setdefault(_kind_of(write), []).append(write)
        failures: list[Failure] = []
        for group in groups.values():
            for begin in range(0, len(group), MAX_GROUP):
                failures += await self._write_group(tx, group[begin : begin + MAX_GROUP])
        return failures

    async def find_visible(
        self, tx: Transaction, name: str, record_ids: Sequence[str]
    ) -> frozenset[str]:
        """Return which of some records the caller may read: the others do not exist for it."""
        target = Target(self._actor, self._grants[name, "read"], self._app_id, name)
        view = View(fields=["id"])
        visible_ids: set[str] = set()
        for begin in range(0, len(record_ids), MAX_PAGE):
            part = [*record_ids[begin : begin + MAX_PAGE]]
            page = Page(where={"id": {"$in": part}}, limit=MAX_PAGE, view=view)
            visible_ids.update(_decode_ids(await self._records.page(target, page, tx=tx)))
        return frozenset(visible_ids)

    async def _write_group(
        self, tx: Transaction, group: Sequence[PlannedWrite]
    ) -> Sequence[Failure]:
        """Write records that are alike; where that fails, each half of them."""
        try:
            await self._write_alike(tx, group)
        except KernelError as error:
            if error.status >= 500:  # as after a deadlock: the whole transaction runs again
                raise
            if len(group) == 1:
                return [(group[0], error)]
        else:
            return []
        middle = len(group) // 2
        first = await self._write_group(tx, group[:middle])
        second = await self._write_group(tx, group[middle:])
        return [*first, *second]

    async def _write_alike(self, tx: Transaction, group: Sequence[PlannedWrite]) -> None:
        name = group[0].record.entity
        inverse = group[0].inverse
        grant = self._grants[name, NEEDED[inverse]]
        target = Target(self._actor, grant, self._app_id, name)
        if inverse == "restored":
            await self._restore(tx, target, group)
        elif inverse == "reverted":
            changes = {write.record.id: write.values for write in group}
            await self._records.revert(target, changes, tx=tx)
        elif len(group) == 1:
            await self._records.delete(target, group[0].record.id, tx=tx)
        else:
            where = {"id": {"$in": [write.record.id for write in group]}}
            await self._records.delete_where(target, where, expect=len(group), tx=tx)

    async def _restore(
        self, tx: Transaction, target: Target, group: Sequence[PlannedWrite]
    ) -> None:
        """Restore records that the caller may read as they are then. Raises NotFound."""
        async with tx.savepoint():
            await self._records.restore(target, [*map(_former_record, group)], tx=tx)
            record_ids = [write.record.id for write in group]
            visible_ids = await self.find_visible(tx, target.entity, record_ids)
            hidden_ids = [record_id for record_id in record_ids if record_id not in visible_ids]
            if hidden_ids:  # the same words as for a record that is not there
                raise NotFound(f"record '{hidden_ids[0]}' not found")


def _decode_ids(page: bytes) -> Sequence[str]:
    return [record.id for record in _decode_records(page)]


def _kind_of(write: PlannedWrite) -> Hashable:
    """Return what writes have in common that one call can carry out."""
    kind = (write.inverse, write.record.entity)
    if write.inverse == "restored":
        return (*kind, write.owner)
    return (*kind, frozenset(write.values))


def _former_record(write: PlannedWrite) -> FormerRecord:
    return FormerRecord(
        id=write.record.id,
        values=write.values,
        created_at=write.created_at,
        updated_at=write.updated_at,
        owner=write.owner,
    )
