"""A fake of apps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kernel.contracts.apps import App, Entity, Field, InstalledSection
from kernel.errors import NotFound


class FakeApps:
    """APPS in memory: `add("crm", contacts=["first_name", "email"])` installs an app with
    text fields; `put` installs an `App`. `manifests` maps app ids to manifests with sections.
    """

    def __init__(self) -> None:
        self.apps: dict[str, App] = {}
        self.manifests: dict[str, Mapping[str, Any]] = {}

    def add(self, app_id: str, **entities: Sequence[str]) -> App:
        """Install an app with text fields and return it."""
        by_name: dict[str, Entity] = {}
        for name, columns in entities.items():
            fields = tuple(Field(name=column, type="text", sql_type="text") for column in columns)
            by_name[name] = Entity(
                app_id=app_id, name=name, id_type="uuid", id_declared=False, fields=fields
            )
        app = App(id=app_id, name=app_id, version="1.0.0", version_stamp=1, entities=by_name)
        return self.put(app)

    def put(self, app: App) -> App:
        """Install or update an app; an update increases the version stamp."""
        before = self.apps.get(app.id)
        stamp = app.version_stamp
        if before is not None:
            stamp = before.version_stamp + 1
        self.apps[app.id] = msgspec.structs.replace(app, version_stamp=stamp)
        return self.apps[app.id]

    async def app(self, app_id: str) -> App:
        if app_id not in self.apps:
            raise NotFound(f"app '{app_id}' not found")
        return self.apps[app_id]

    async def entity(self, app_id: str, name: str) -> Entity:
        app = await self.app(app_id)
        if name not in app.entities:
            raise NotFound(f"entity '{name}' not found")
        return app.entities[name]

    async def all(self) -> list[App]:
        return sorted(self.apps.values(), key=lambda app: app.name)

    async def sections(self, key: str) -> list[InstalledSection]:
        """See `Apps.sections`; values are not validated."""
        sections: list[InstalledSection] = []
        for app in self.apps.values():
            value = self.manifests.get(app.id, {}).get(key)
            if value is not None:
                section = InstalledSection(
                    app_id=app.id, version_stamp=app.version_stamp, key=app.key, value=value
                )
                sections.append(section)
        return sections

    async def refresh(self) -> None:
        """See `Apps.refresh`; does nothing."""
