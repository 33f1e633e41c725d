"""The decision between a statement and a transaction, and whether hooks take part.

Other modules ask `begins_transaction` and `can_group`, or call a write. A write is one statement
where it can be. It is part of a transaction where a call has passed one, and where plugins take
part in the write.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence

from kernel.public import Actor, HookBus, Statements, Tagged, Transaction
from plugins.data.reads.record_reader import RecordReader
from plugins.data.rendering import id_of, join_records, records_in
from plugins.data.rights.row_scope import RowScope
from plugins.data.statements.entity_table import Table

from .changes import RecordChange
from .hooked import HookedWrites, event_of
from .inserts import Insert, insert_rows, insert_tagged
from .many_writes import delete_many, update_many
from .participants import Participants
from .single_writes import SingleWrites
from .transactions import WriteTransactions, check_reentry


class WriteExecution:
    """Carries writes out, whatever rights they have been checked for."""

    def __init__(self, statements: Statements, bus: HookBus, reader: RecordReader) -> None:
        self._statements = statements
        self._bus = bus
        self._reader = reader
        self._single = SingleWrites(statements, bus, reader)
        self.participants = Participants(bus)
        self._hooked = HookedWrites(bus)
        self.transactions = WriteTransactions(statements, self.participants)

    def begins_transaction(self, table: Table) -> bool:
        """Whether a write outside of a transaction needs one of its own. Raises PluginFailed."""
        check_reentry()
        return self.participants.need_transaction(table)

    def can_group(self, table: Table) -> bool:
        """Whether one statement may write several records, as no plugin takes part in each."""
        return not self.participants.need_each_record(table)

    # Writes that may be a statement of their own

    async def create(self, actor: Actor, insert: Insert, tx: Transaction | None) -> Tagged:
        """Create the only record of an insert."""
        table = insert.table
        if tx is not None:
            [record] = await self.create_within(tx, insert)
        elif self.begins_transaction(table):
            [record] = await self.transactions.run(
                actor, lambda own_tx: self.create_within(own_tx, insert), [table], None
            )
        else:
            record = await self._single.insert(actor, insert)
            if self.participants.are_notified(table):
                await self._notify(actor, table, "INSERT", [record.record])
        return record

    async def create_many(self, actor: Actor, insert: Insert, tx: Transaction | None) -> bytes:
        """Create records and return a JSON array of them, in the order of the rows."""
        table = insert.table
        if tx is not None or self.begins_transaction(table):
            records = await self.transactions.run(
                actor, lambda own_tx: self.create_within(own_tx, insert), [table], tx
            )
            return join_records([record.record for record in records])
        settings = self._statements.settings(actor)
        inserted = await insert_rows(self._statements, settings, insert, actor)
        array = table.rendering.finish_array(inserted.raw)
        if inserted.places is not None:
            array = join_records(inserted.sort(records_in(array)))
        if self.participants.are_notified(table):
            await self._notify(actor, table, "INSERT", records_in(array))
        return array

    async def update(
        self, actor: Actor, scope: RowScope, change: RecordChange, tx: Transaction | None
    ) -> Tagged | None:
        """Change a record and return it, or None where there is nothing to change."""
        table = scope.table
        if tx is not None:
            return await self.update_within(tx, scope, change)
        if self.begins_transaction(table):
            return await self.transactions.run(
                actor, lambda own_tx: self._hooked.update(own_tx, scope, change), [table], None
            )
        if not change.row:  # the body names only what the server sets
            current = await self._reader.read(scope, change.record_id)
            change.condition.check(change.record_id, current)
            return None
        record = await self._single.update(actor, scope, change)
        if self.participants.are_notified(table):
            await self._notify(actor, table, "UPDATE", [record.record])
        return record

    async def delete(
        self, actor: Actor, scope: RowScope, change: RecordChange, tx: Transaction | None
    ) -> None:
        """Delete a record."""
        table = scope.table
        if tx is not None:
            await self.delete_within(tx, scope, change)
        elif self.begins_transaction(table):
            await self.transactions.run(
                actor, lambda own_tx: self._hooked.delete(own_tx, scope, change), [table], None
            )
        else:
            record_id = await self._single.delete(actor, scope, change)
            if self.participants.are_notified(table):
                event = event_of(table, "DELETE", actor, record_id)
                await self._bus.notify_committed([event])

    # Writes within a transaction of several

    async def create_within(self, tx: Transaction, insert: Insert) -> Sequence[Tagged]:
        """Create records in a transaction, and return them in order."""
        records = await self.create_missing_within(tx, insert)
        return [records[place] for place in range(len(insert.rows))]

    def create_missing_within(
        self, tx: Transaction, insert: Insert
    ) -> Awaitable[Mapping[int, Tagged]]:
        """Create the records whose key is not taken, and return them by the places of the rows."""
        if self.participants.need_each_record(insert.table):
            return self._hooked.create(tx, insert)
        return insert_tagged(tx, insert)

    async def update_within(
        self, tx: Transaction, scope: RowScope, change: RecordChange
    ) -> Tagged | None:
        """Change a record in a transaction; see `update`."""
        if self.participants.need_each_record(scope.table):
            return await self._hooked.update(tx, scope, change)
        if not change.row:
            record = await self._reader.read(scope, change.record_id, tx)
            change.condition.check(change.record_id, record)
            return None
        return await self._single.update(tx.actor, scope, change, tx)

    async def delete_within(self, tx: Transaction, scope: RowScope, change: RecordChange) -> None:
        """Delete a record in a transaction."""
        if self.participants.need_each_record(scope.table):
            await self._hooked.delete(tx, scope, change)
        else:
            await self._single.delete(tx.actor, scope, change, tx)

    async def update_all(
        self, tx: Transaction, scope: RowScope, changes: Sequence[RecordChange]
    ) -> list[Tagged | None]:
        """Change records, which are different ones, in the same fields.

        Several are changed by one statement, where no plugin takes part in it.
        """
        if len(changes) == 1 or self.participants.need_each_record(scope.table):
            return [await self.update_within(tx, scope, change) for change in changes]
        return [*await update_many(tx, scope, changes)]

    async def delete_all(
        self, tx: Transaction, scope: RowScope, changes: Sequence[RecordChange]
    ) -> None:
        """Delete records, in which no plugin takes part if they are several."""
        if len(changes) == 1:
            await self.delete_within(tx, scope, changes[0])
        else:
            await delete_many(tx, scope, changes)

    async def _notify(
        self, actor: Actor, table: Table, operation: str, records: Sequence[bytes]
    ) -> None:
        """Notify observers of a write that was one statement."""
        events = [
            event_of(table, operation, actor, id_of(record), new=record) for record in records
        ]
        await self._bus.notify_committed(events)
