"""What a caller gets to see of the records that it writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kernel.public import Action, Actor, Entity, Forbidden, Grant, NotFound, Reader, Tagged
from kernel.public import entity as on_entity
from plugins.data.errors import PreconditionFailed
from plugins.data.reads.records import RecordReads
from plugins.data.rendering import id_of
from plugins.data.row_scope import RowScope
from plugins.data.store import Table

from .rows import only, without
from .tags import Condition, read_if_match


class WriteReplies(RecordReads):
    """Adds the rights on records that were written."""

    async def _reading(self, actor: Actor, table: Table) -> RowScope | None:
        """Return the rows of a table that a caller may read, or None without the permission."""
        app_id, name = table.entity.app_id, table.entity.name
        try:
            grant = await self._granted(actor, app_id, name, "read")
        except Forbidden:
            return None
        if grant.hidden == table.hidden and not self._is_scoped:  # the most frequent
            return RowScope(table, actor.user_id, grant.own_only)
        return await self._scope(actor, grant, app_id, name, "read")

    async def _sees_whole(self, actor: Actor, table: Table, *, own: bool = True) -> bool:
        """Whether a caller may see each record of a table, with all its fields.

        With `own`, each that it created.
        """
        reading = await self._reading(actor, table)
        if reading is None or reading.trees or table.hidden:
            return False
        return own or not reading.own_only

    async def _answers(
        self,
        actor: Actor,
        table: Table,
        made: Sequence[Tagged],
        sent: Sequence[Iterable[str]],
        own: Sequence[bool],
        reader: Reader | None,
    ) -> Sequence[Tagged]:
        """Return what a caller may see of several records; see `_answer`."""
        if await self._sees_whole(actor, table, own=all(own)):
            return made
        return [
            await self._answer(actor, table, record, names, own=mine, reader=reader)
            for record, names, mine in zip(made, sent, own, strict=True)
        ]

    async def _answer(
        self,
        actor: Actor,
        table: Table,
        made: Tagged,
        sent: Iterable[str],
        *,
        own: bool,
        reader: Reader | None = None,
    ) -> Tagged:
        """Return what a caller may see of a record that it wrote; `own` if it created that.

        Without the permission to read it that is the id and what was sent.
        """
        reading = await self._reading(actor, table)
        if reading is None or not await self._reaches(reading, made, own=own, reader=reader):
            return Tagged(only(made.record, {"id", *sent}), None)
        return Tagged(without(made.record, table.hidden), made.etag) if table.hidden else made

    async def _reaches(
        self, reading: RowScope, made: Tagged, *, own: bool, reader: Reader | None
    ) -> bool:
        if not reading.trees and (own or not reading.own_only):
            return True
        try:
            await self._get(reading, id_of(made.record) or "", reader)
        except NotFound:
            return False
        return True

    async def _unchanged(
        self, actor: Actor, table: Table, record_id: str, reader: Reader | None = None
    ) -> Tagged:
        """Return a record that an update did not change. No event records it, so it is a read."""
        app_id, name = table.entity.app_id, table.entity.name
        grant = await self._granted(actor, app_id, name, "read")
        scope = await self._scope(actor, grant, app_id, name, "read")
        return await self._get(scope, record_id, reader)

    async def _granted(self, actor: Actor, app_id: str, entity: str, action: Action) -> Grant:
        """Return the grant for an action; a worker that acts on behalf of no user has it.

        Raises NotFound, Forbidden.
        """
        if actor.user_id is None:
            return Grant()
        path = {"app_id": app_id, "entity": entity}
        return await self._access().authorize(actor, on_entity(action), path)

    async def _as_read(self, actor: Actor, app_id: str, name: str) -> Entity | None:
        """Return an entity with the fields that a caller may read, None without the permission."""
        try:
            grant = await self._granted(actor, app_id, name, "read")
            entity = await self._apps.entity(app_id, name)
        except (Forbidden, NotFound):
            return None
        return entity.hide(grant.hidden)

    async def _condition(
        self, actor: Actor, app_id: str, entity: str, if_match: str | None
    ) -> Condition:
        """Read `If-Match`. Its result reveals something about the record, so it needs `read`."""
        if if_match is not None:
            await self._granted(actor, app_id, entity, "read")
        return read_if_match(if_match)

    async def _precondition_failed(
        self, actor: Actor, table: Table, record_id: str, reader: Reader | None = None
    ) -> PreconditionFailed:
        reading = await self._reading(actor, table)
        try:
            current = (await self._get(reading, record_id, reader)).record if reading else None
        except NotFound:
            current = None
        return PreconditionFailed(record_id, current)
