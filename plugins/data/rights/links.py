"""What a writer may link to: no more than it may read, where that is not every record."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from kernel.public import Actor
from plugins.data.statements.entity_table import Table

from .permissions import Permissions
from .row_scope import LinkLimits, RowScope
from .scopes import RowScopes


class LinkRights:
    """Finds the limits of a writer's links. For writers who read every record there are none."""

    def __init__(self, permissions: Permissions, scopes: RowScopes) -> None:
        self._permissions = permissions
        self._scopes = scopes

    async def find_limits(
        self, actor: Actor, table: Table, names: Collection[str], *, changing: bool = False
    ) -> LinkLimits | None:
        """Return the limits of the links among the fields `names`, None without any.

        With `changing` the writer may also send the link that it reads in a record.
        """
        if not table.checked_links or table.checked_links.keys().isdisjoint(names):
            return None
        app_id = table.entity.app_id
        linked_entities = {
            field: entity for field, entity in table.checked_links.items() if field in names
        }
        if not await self._may_be_narrowed(actor, app_id, {*linked_entities.values()}):
            return None

        entities = {*linked_entities.values(), table.entity.name}
        readable = await self._scopes.linked.find_readable(actor, app_id, entities)
        rows_by_field = {
            field: readable[entity]
            for field, entity in linked_entities.items()
            if entity in readable and readable[entity].is_narrowed
        }
        if not rows_by_field:
            return None
        same_table = readable.get(table.entity.name) if changing else None
        return LinkLimits(table.entity.name, rows_by_field, readable, same_table)

    async def limit_changes(
        self, actor: Actor, scope: RowScope, names: Collection[str]
    ) -> RowScope:
        """Add to rows that will change the limits of the links among the fields `names`."""
        if scope.table.checked_links.keys().isdisjoint(names):
            return scope
        limits = await self.find_limits(actor, scope.table, names, changing=True)
        return scope if limits is None else msgspec.structs.replace(scope, links=limits)

    async def _may_be_narrowed(self, actor: Actor, app_id: str, entities: Collection[str]) -> bool:
        """Whether something may narrow what a caller reads of some entities."""
        if self._scopes.are_narrowed_by_hooks:
            return True
        for entity in entities:
            grant = await self._permissions.find_read_grant(actor, app_id, entity)
            if grant is not None and grant.own_only:
                return True
        return False
