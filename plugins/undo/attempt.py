"""One attempt to undo the changes of records, in portions, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from kernel.public import MAX_PAGE, App, KernelError, Recorded, RecordedChange, Transaction

from .models import Conflict, Inverse, PlannedWrite, Reason, TouchedRecord, UndoneRecord
from .states import FieldComparison, Kept, find_inverse, plan_write
from .writing import RecordsBack

PORTION_CHANGES: Final = 2000
"""Changes whose values are in memory at once."""
PORTION_BYTES: Final = 4_000_000
"""Bytes on disk of these values; a portion has at least one record."""
MAX_PASSES: Final = 10
"""How often records that failed are tried again, while others succeed."""
MAX_STEPS: Final = 1000
"""Changes that are undone one by one where that fails for whole records."""

Errors = dict[tuple[str, str], KernelError]


class UndoAttempt:
    """Undoes changes in a transaction, and collects what became of each record.

    A record can depend on another one that is put back after it: a unique value may be taken, or a
    link may lead nowhere yet. So those that failed are tried again.
    """

    def __init__(self, recorded: Recorded, writer: RecordsBack, app: App) -> None:
        self._recorded = recorded
        self._writer = writer
        self._app = app
        self._comparisons: dict[str, FieldComparison] = {}
        self.undone = 0
        self.records: list[UndoneRecord] = []
        self.conflicts: list[Conflict] = []

    async def run(self, tx: Transaction, records: Sequence[TouchedRecord]) -> None:
        """Undo the changes of records, which are in the order to do it."""
        errors: Errors = {}
        waiting = [record for record in records if self._is_of_app(record)]
        for number in range(MAX_PASSES):
            errors = {}
            for portion in _portions_of(waiting):
                errors |= await self._undo_portion(tx, portion)
            failed = [record for record in waiting if (record.entity, record.id) in errors]
            # After the first pass others may have ended, for which a statement has waited.
            is_stuck = number > 0 and len(failed) == len(waiting)
            waiting = failed
            if is_stuck or not waiting:
                break
        if len(waiting) > 1 and await self._step_back(tx, waiting):
            return
        for record in waiting:
            self._refuse(record, errors[record.entity, record.id].message)

    async def _step_back(self, tx: Transaction, records: Sequence[TouchedRecord]) -> bool:
        """Undo the changes of records one by one, newest first: all of them, or none.

        Records that have exchanged a unique value come back by no order of whole records.
        """
        changes = [change for record in records for change in record.changes]
        if len(changes) > MAX_STEPS:
            return False
        written_fields: dict[tuple[str, str], dict[str, None]] = {}
        try:
            async with tx.savepoint():
                for change in sorted(changes, key=lambda change: change.id, reverse=True):
                    write = await self._take_step(tx, change)
                    if write is not None:
                        key = (change.entity, change.record_id)
                        written_fields.setdefault(key, {}).update(dict.fromkeys(write.values))
        except Kept:
            return False
        for record in records:
            field_names = written_fields.get((record.entity, record.id))
            if field_names is not None and record.inverse is not None:
                self._note_undone(record, record.inverse, field_names)
        return True

    async def _take_step(self, tx: Transaction, change: RecordedChange) -> PlannedWrite | None:
        """Undo one change, and return what was written. Raises Kept."""
        inverse = find_inverse([change.operation])
        if not self._writer.may(change.entity, inverse):  # which the net of the changes needs not
            raise Kept("refused")
        record = TouchedRecord(change.entity, change.record_id, [change], inverse)
        entity = self._app.entities[change.entity]
        values = await self._recorded.read(tx, [change])
        current = await self._recorded.lock(tx, entity, [change.record_id])
        comparison = self._find_comparison(change.entity)
        write = plan_write(comparison, record, values, current.get(change.record_id))
        if write is not None and await self._writer.write(tx, [write]):
            raise Kept("refused")
        return write

    def _find_comparison(self, name: str) -> FieldComparison:
        """Return what compares values of an entity, which is made once."""
        comparison = self._comparisons.get(name)
        if comparison is None:
            comparison = FieldComparison(self._app.entities[name])
            self._comparisons[name] = comparison
        return comparison

    def _is_of_app(self, record: TouchedRecord) -> bool:
        if record.inverse is None:
            return False
        if record.entity in self._app.entities:
            return True
        self._refuse(record, f"{self._app.id} has no entity '{record.entity}' any more")
        return False

    async def _undo_portion(self, tx: Transaction, portion: Sequence[TouchedRecord]) -> Errors:
        """Undo some records, and return the errors of those that failed."""
        changes = [change for record in portion for change in record.changes]
        values = await self._recorded.read(tx, changes)
        writes: list[PlannedWrite] = []
        for name, records in _by_entity(portion).items():
            ids = [record.id for record in records]
            comparison = self._find_comparison(name)
            current = await self._recorded.lock(tx, self._app.entities[name], ids)
            visible_ids = await self._writer.find_visible(tx, name, [*current])
            for record in records:
                if record.id in current and record.id not in visible_ids:
                    self._refuse(record, f"record '{record.id}' not found")
                    continue
                try:
                    write = plan_write(comparison, record, values, current.get(record.id))
                except Kept as kept:
                    self._keep(record, kept.reason)
                    continue
                if write is not None:
                    writes.append(write)
        writes.sort(key=lambda write: write.record.place, reverse=True)
        failures = await self._writer.write(tx, writes)
        errors: Errors = {}
        for write, error in failures:
            errors[write.record.entity, write.record.id] = error
        for write in writes:
            if (write.record.entity, write.record.id) not in errors:
                self._note_undone(write.record, write.inverse, write.values)
        return errors

    def _note_undone(
        self, record: TouchedRecord, inverse: Inverse, field_names: Iterable[str]
    ) -> None:
        self.undone += 1
        if len(self.records) >= MAX_PAGE:
            return
        fields: list[str] | msgspec.UnsetType = msgspec.UNSET
        if inverse == "reverted":
            fields = [*field_names]
        self.records.append(
            UndoneRecord(entity=record.entity, id=record.id, operation=inverse, fields=fields)
        )

    def _keep(self, record: TouchedRecord, reason: Reason) -> None:
        self.conflicts.append(Conflict(entity=record.entity, id=record.id, reason=reason))

    def _refuse(self, record: TouchedRecord, error: str) -> None:
        self.conflicts.append(
            Conflict(entity=record.entity, id=record.id, reason="refused", error=error)
        )


def _by_entity(records: Sequence[TouchedRecord]) -> Mapping[str, Sequence[TouchedRecord]]:
    """Group records, the entities in one order: that of all writes that lock several."""
    groups: dict[str, list[TouchedRecord]] = {}
    for record in records:
        groups.setdefault(record.entity, []).append(record)
    return {name: groups[name] for name in sorted(groups)}


def _portions_of(records: Sequence[TouchedRecord]) -> Iterator[Sequence[TouchedRecord]]:
    """Divide records by the number and the size of their changes."""
    portion: list[TouchedRecord] = []
    count = 0
    size = 0
    for record in records:
        count += len(record.changes)
        size += record.size
        if portion and (count > PORTION_CHANGES or size > PORTION_BYTES):
            yield portion
            portion = []
            count = len(record.changes)
            size = record.size
        portion.append(record)
    if portion:
        yield portion
