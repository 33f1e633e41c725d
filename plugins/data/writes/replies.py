"""What a caller gets to see of the records that it writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kernel.public import Actor, Entity, NotFound, Reader, Tagged, Target
from plugins.data.errors import PreconditionFailed
from plugins.data.execution.tags import IfMatch, read_if_match
from plugins.data.reads.record_reader import RecordReader
from plugins.data.rendering import drop_members, id_of, keep_members
from plugins.data.rights.permissions import Permissions
from plugins.data.rights.row_scope import RowScope
from plugins.data.rights.scopes import RowScopes
from plugins.data.statements.entity_table import Table
from plugins.data.statements.tables import Tables


class WrittenRecord(msgspec.Struct, frozen=True):
    """A record as it was written, the fields that its sender knows, and whether it is the sender's
    own."""

    record: Tagged
    sent_fields: Iterable[str]
    is_own: bool


class Replies:
    """Reduces records that were written to what their caller may read."""

    def __init__(
        self, permissions: Permissions, tables: Tables, scopes: RowScopes, reader: RecordReader
    ) -> None:
        self._permissions = permissions
        self._tables = tables
        self._scopes = scopes
        self._reader = reader

    async def shows_everything(self, actor: Actor, table: Table, *, only_own: bool = True) -> bool:
        """Whether a caller may see each record of a table, with all its fields.

        With `only_own`, each that it created.
        """
        readable = await self._find_readable(actor, table)
        if readable is None or readable.trees or table.hidden:
            return False
        return only_own or not readable.own_only

    async def show_all(
        self, actor: Actor, table: Table, written: Sequence[WrittenRecord], reader: Reader | None
    ) -> Sequence[Tagged]:
        """Return what a caller may see of several records; see `show`."""
        only_own = all(record.is_own for record in written)
        if await self.shows_everything(actor, table, only_own=only_own):
            return [record.record for record in written]
        return [await self.show(actor, table, record, reader) for record in written]

    async def show(
        self, actor: Actor, table: Table, written: WrittenRecord, reader: Reader | None = None
    ) -> Tagged:
        """Return what a caller may see of a record that it wrote.

        Without the permission to read it that is the id and what was sent.
        """
        record = written.record
        readable = await self._find_readable(actor, table)
        if readable is None or not await self._is_within(readable, written, reader):
            return Tagged(keep_members(record.record, {"id", *written.sent_fields}), None)
        if table.hidden:
            return Tagged(drop_members(record.record, table.hidden), record.etag)
        return record

    async def read_unchanged(
        self, actor: Actor, table: Table, record_id: str, reader: Reader | None = None
    ) -> Tagged:
        """Return a record that an update did not change. No event records it, so it is a read."""
        app_id = table.entity.app_id
        name = table.entity.name
        grant = await self._permissions.require(actor, app_id, name, "read")
        scope = await self._scopes.resolve(Target(actor, grant, app_id, name), "read")
        return await self._reader.read(scope, record_id, reader)

    async def find_as_read(self, actor: Actor, app_id: str, name: str) -> Entity | None:
        """Return an entity with the fields that a caller may read, None without the permission."""
        grant = await self._permissions.find_read_grant(actor, app_id, name)
        if grant is None:
            return None
        try:
            table = await self._tables.find(app_id, name, grant.hidden)
        except NotFound:
            return None
        return table.shown

    async def read_condition(
        self, actor: Actor, app_id: str, entity: str, if_match: str | None
    ) -> IfMatch:
        """Read `If-Match`. Its result reveals something about the record, so it needs `read`."""
        if if_match is not None:
            await self._permissions.require(actor, app_id, entity, "read")
        return read_if_match(if_match)

    async def describe_changed(
        self, actor: Actor, table: Table, record_id: str, reader: Reader | None = None
    ) -> PreconditionFailed:
        """Say that a record has changed, and show it as it is now if the caller may read it."""
        readable = await self._find_readable(actor, table)
        if readable is None:
            return PreconditionFailed(record_id, None)
        try:
            current = await self._reader.read(readable, record_id, reader)
        except NotFound:
            return PreconditionFailed(record_id, None)
        return PreconditionFailed(record_id, current.record)

    async def _find_readable(self, actor: Actor, table: Table) -> RowScope | None:
        """Return the rows of a table that a caller may read, or None without the permission."""
        app_id = table.entity.app_id
        name = table.entity.name
        grant = await self._permissions.find_read_grant(actor, app_id, name)
        if grant is None:
            return None
        is_plain = grant.hidden == table.hidden and not self._scopes.are_narrowed_by_hooks
        if is_plain:  # the most frequent
            return RowScope(table, actor.user_id, grant.own_only)
        return await self._scopes.resolve(Target(actor, grant, app_id, name), "read")

    async def _is_within(
        self, readable: RowScope, written: WrittenRecord, reader: Reader | None
    ) -> bool:
        if not readable.trees and (written.is_own or not readable.own_only):
            return True
        try:
            await self._reader.read(readable, id_of(written.record.record) or "", reader)
        except NotFound:
            return False
        return True
