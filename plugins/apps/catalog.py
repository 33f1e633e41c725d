"""Installed apps in memory."""

from __future__ import annotations

from functools import partial
from typing import Final

import structlog

from kernel.public import (
    App,
    Entity,
    InstalledSection,
    InvalidatedCache,
    NotFound,
    Notifications,
    Statements,
)

from . import store
from .manifest.sections import NO_SECTIONS, Sections
from .names import is_identifier

TOPIC: Final = "apps"
"""Notifications of installs and removals; the payload is the id of the app."""

log = structlog.get_logger("caudex.apps")


class Catalog:
    """See `kernel.contracts.apps.Apps`."""

    def __init__(
        self, statements: Statements, notifications: Notifications, sections: Sections = NO_SECTIONS
    ) -> None:
        self._statements = statements
        self._sections = sections
        self._apps = InvalidatedCache[str, App](notifications, TOPIC, size=10_000)
        self._lists = InvalidatedCache[str, list[App]](
            notifications, TOPIC, size=1, affects=lambda payload, key, value: True
        )

    async def app(self, app_id: str) -> App:
        """See `Apps.app`."""
        app = self._apps.get(app_id)
        if app is not None:
            return app
        return await self._apps.get_or_load(app_id, partial(self._read, app_id))

    async def entity(self, app_id: str, name: str) -> Entity:
        """See `Apps.entity`."""
        app = await self.app(app_id)
        entity = app.entities.get(name)
        if entity is None:
            raise NotFound(f"app {app_id!r} has no entity {name!r}")
        return entity

    async def all(self) -> list[App]:
        """See `Apps.all`."""
        return list(await self._lists.get_or_load("all", self._read_all))

    async def sections(self, key: str) -> list[InstalledSection]:
        """See `Apps.sections`."""
        sections = await store.read_sections(self._statements, key)
        return [section for section in sections if self._fits(key, section)]

    async def refresh(self) -> None:
        """See `Apps.refresh`."""
        await self._apps.invalidate()
        await self._lists.invalidate()

    async def _read(self, app_id: str) -> App:
        apps: list[App] = []
        if is_identifier(app_id):
            apps = await store.read_apps(self._statements, [app_id])
        if not apps:
            raise NotFound(f"app {app_id!r} not found")
        return apps[0]

    async def _read_all(self) -> list[App]:
        apps = await store.read_apps(self._statements, None)
        return sorted(apps, key=lambda app: (app.name.lower(), app.id))

    def _fits(self, key: str, section: InstalledSection) -> bool:
        for path, sentence in self._sections.problems({key: section.value}):
            problem = f"{path}: {sentence}"
            log.warning("a section is left out", app_id=section.app_id, problem=problem)
            return False
        return True
