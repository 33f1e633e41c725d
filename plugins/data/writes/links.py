"""What a writer may link to: no more than it may read, where that is not every record."""

from __future__ import annotations

from collections.abc import Callable, Collection

from kernel.public import Access, Actor, Forbidden, Grant, HookBus, NotFound, hookspecs
from plugins.data.reads.related import READ, Related
from plugins.data.row_scope import LinkLimits
from plugins.data.store import Table


class LinkRights:
    """Finds the limits of a writer's links. For writers who read every record there are none."""

    def __init__(self, access: Callable[[], Access], bus: HookBus, related: Related) -> None:
        self._access = access
        self._bus = bus
        self._related = related

    async def limits(
        self, actor: Actor, table: Table, names: Collection[str], *, changing: bool = False
    ) -> LinkLimits | None:
        """Return the limits of the links among the fields `names`, None without any.

        With `changing` the writer may also send the link that it reads in a record.
        """
        entities = {name: each for name, each in table.checked_links.items() if name in names}
        if not entities:
            return None
        app_id = table.entity.app_id
        if not await self._may_be_narrowed(actor, app_id, {*entities.values()}):
            return None
        wanted = {*entities.values(), table.entity.name}
        related = await self._related.readable(actor, app_id, wanted)
        targets = {
            name: related[entity]
            for name, entity in entities.items()
            if entity in related and related[entity].is_narrowed
        }
        if not targets:
            return None
        readable = related.get(table.entity.name) if changing else None
        return LinkLimits(table.entity.name, targets, related, readable)

    async def _may_be_narrowed(self, actor: Actor, app_id: str, entities: Collection[str]) -> bool:
        """Whether something may narrow what a caller reads of some entities."""
        if self._bus.implementations(hookspecs.record_scope):
            return True
        for entity in entities:
            grant = await self._granted(actor, app_id, entity)
            if grant is not None and grant.own_only:
                return True
        return False

    async def _granted(self, actor: Actor, app_id: str, entity: str) -> Grant | None:
        if actor.user_id is None:
            return None
        path = {"app_id": app_id, "entity": entity}
        try:
            return await self._access().authorize(actor, READ, path)
        except (Forbidden, NotFound):
            return None
