"""The statements of each entity, made once for each set of fields that a caller may not read."""

from __future__ import annotations

from collections.abc import Callable

from kernel.public import Apps, Entity, ManagedFiles
from plugins.data.columns.column import quoted
from plugins.data.columns.links import links_of
from plugins.data.statements.entity_table import Table

from .caching import keep

MAX_TABLES = 2000


class Tables:
    """Finds the table of an entity, and makes it again when an install changed the entity."""

    def __init__(
        self, apps: Apps, find_files: Callable[[], ManagedFiles | None] = lambda: None
    ) -> None:
        self._apps = apps
        self._find_files = find_files
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
        links = links_of(app, entity, hidden)
        table = Table(entity, links, hidden, full=full, files=self._name_of_files(entity))
        return keep(self._tables, (app_id, name, hidden), table, MAX_TABLES)

    def name_files(self) -> tuple[bytes, bytes] | None:
        """Return the names in SQL of the tables of files and of what holds them."""
        files = self._find_files()
        return None if files is None else (quoted(*files.relation()), quoted(*files.holdings()))

    async def find_with_files(self, app_id: str) -> list[str]:
        """Return the entities of an app that have fields of managed files."""
        app = await self._apps.app(app_id)
        return [
            name
            for name, entity in app.entities.items()
            if any(field.file is not None for field in entity.fields)
        ]

    def _name_of_files(self, entity: Entity) -> bytes | None:
        """Return the name in SQL of the table of managed files, None for an entity without any."""
        if all(field.file is None for field in entity.fields):
            return None
        files = self._find_files()
        return None if files is None else quoted(*files.relation())
