"""The statements of each entity, made once for each set of fields that a caller may not read."""

from __future__ import annotations

from kernel.public import Apps
from plugins.data.columns import links_of
from plugins.data.statements.entity_table import Table

from .caching import keep

MAX_TABLES = 2000


class Tables:
    """Finds the table of an entity, and makes it again when an install changed the entity."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps
        self._tables: dict[tuple[str, str, frozenset[str]], Table] = {}

    async def find(self, app_id: str, name: str, hidden: frozenset[str] = frozenset()) -> Table:
        """Return the table of an entity without the `hidden` fields. Raises NotFound."""
        app = await self._apps.app(app_id)
        entity = app.entities.get(name) or await self._apps.entity(app_id, name)
        table = self._tables.get((app_id, name, hidden))
        # The catalog creates new entities with every install, and only then.
        if table is not None and table.entity is entity:
            return table
        full = await self.find(app_id, name) if hidden else None
        table = Table(entity, links_of(app, entity, hidden), hidden, full=full)
        return keep(self._tables, (app_id, name, hidden), table, MAX_TABLES)
