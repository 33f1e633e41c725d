"""What a writer may link to: no more than it may read, where that is not every record."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import chain

import msgspec

from kernel.public import Actor
from plugins.data.statements.entity_table import Table
from plugins.data.statements.tables import Tables
from plugins.data.values.rows import Row

from .files import FileLimits, FileTables
from .permissions import Permissions
from .row_scope import LinkLimits, RowScope
from .scopes import RowScopes


class LinkLimitFinder:
    """Finds the limits of a writer's links. For writers who read every record there are none."""

    def __init__(self, permissions: Permissions, scopes: RowScopes, tables: Tables) -> None:
        self._permissions = permissions
        self._scopes = scopes
        self._tables = tables

    async def find_limits(
        self, actor: Actor, table: Table, names: Collection[str], *, changing: bool = False
    ) -> LinkLimits | None:
        """Return the limits of the links and files among the fields `names`, None without any.

        With `changing` the writer may also send the link that it reads in a record.
        """
        limits = await self._find_link_limits(actor, table, names, changing=changing)
        if table.limited.files.isdisjoint(names):
            return limits
        return await self._add_file_limits(actor, table, names, limits)

    async def find_limits_of_rows(
        self, actor: Actor, table: Table, rows: Iterable[Row]
    ) -> LinkLimits | None:
        """Return the limits of the links and files in some rows, None without any."""
        if not table.limited.names:
            return None
        return await self.find_limits(actor, table, {*chain.from_iterable(rows)})

    async def _add_file_limits(
        self, actor: Actor, table: Table, names: Collection[str], limits: LinkLimits | None
    ) -> LinkLimits | None:
        """Add the limits of files; the server itself has none."""
        app_id = table.entity.app_id
        sources = self._tables.name_files()
        if actor.is_server or sources is None:
            return limits
        entities = await self._tables.find_with_files(app_id)
        readable = await self._scopes.linked.find_readable(actor, app_id, entities)
        files = FileLimits(
            app_id=app_id,
            user_id=actor.user_id,
            tables=FileTables(*sources),
            fields=table.limited.files.intersection(names),
            rows={name: readable[name] for name in entities if name in readable},
        )
        if limits is None:
            return LinkLimits(table.entity.name, {}, readable, files=files)
        related = {**readable, **limits.related}
        return msgspec.structs.replace(limits, related=related, files=files)

    async def _find_link_limits(
        self, actor: Actor, table: Table, names: Collection[str], *, changing: bool
    ) -> LinkLimits | None:
        if not table.limited.links or table.limited.links.keys().isdisjoint(names):
            return None
        app_id = table.entity.app_id
        linked_entities = {
            field: entity for field, entity in table.limited.links.items() if field in names
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
        """Add to rows that will change the limits of links and files among the fields `names`."""
        if scope.table.limited.names.isdisjoint(names):
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
