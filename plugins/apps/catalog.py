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
        found = self._apps.get(app_id)
        return found or await self._apps.get_or_load(app_id, partial(self._read, app_id))

    async def entity(self, app_id: str, name: str) -> Entity:
        """See `Apps.entity`."""
        app = await self.app(app_id)
        found = app.entities.get(name)
        if found is None:
            raise NotFound(f"app {app_id!r} has no entity {name!r}")
        return found

    async def all(self) -> list[App]:
        """See `Apps.all`."""
        return list(await self._lists.get_or_load("all", self._read_all))

    async def sections(self, key: str) -> list[InstalledSection]:
        """See `Apps.sections`."""
        found = await store.sections(self._statements, key)
        return [section for section in found if self._fits(key, section)]

    async def refresh(self) -> None:
        """See `Apps.refresh`."""
        await self._apps.invalidate()
        await self._lists.invalidate()

    async def _read(self, app_id: str) -> App:
        found = await store.catalog(self._statements, [app_id]) if is_identifier(app_id) else []
        if not found:
            raise NotFound(f"app {app_id!r} not found")
        return found[0]

    async def _read_all(self) -> list[App]:
        found = await store.catalog(self._statements, None)
        return sorted(found, key=lambda app: (app.name.lower(), app.id))

    def _fits(self, key: str, section: InstalledSection) -> bool:
        for path, sentence in self._sections.problems({key: section.value}):
            problem = f"{path}: {sentence}"
            log.warning("a section is left out", app_id=section.app_id, problem=problem)
            return False
        return True
