"""Installed apps in memory."""

from __future__ import annotations

from typing import Final

import anyio
import structlog

from kernel.public import App, Entity, InstalledSection, NotFound, Statements, Unavailable

from . import store
from .manifest.sections import NO_SECTIONS, Sections
from .names import is_identifier

MAX_STALE: Final = 100
"""Apps that are read by their ids; where more are stale, all are read."""

log = structlog.get_logger("caudex.apps")


class Catalog:
    """See `kernel.contracts.apps.Apps`. Notifications name the apps to read again."""

    def __init__(self, statements: Statements, sections: Sections = NO_SECTIONS) -> None:
        self._statements = statements
        self._sections = sections
        self._apps: dict[str, App] = {}
        self._stale: set[str] | None = None
        """Apps to read before the next reply; None means all."""
        self._version = 1
        self._loaded = 0
        self._failures: int = 0
        self._lock = anyio.Lock()

    async def app(self, app_id: str) -> App:
        """See `Apps.app`."""
        if self._loaded != self._version:
            await self._load()
        found = self._apps.get(app_id)
        if found is None:
            raise NotFound(f"app {app_id!r} not found")
        return found

    async def entity(self, app_id: str, name: str) -> Entity:
        """See `Apps.entity`."""
        app = await self.app(app_id)
        found = app.entities.get(name)
        if found is None:
            raise NotFound(f"app {app_id!r} has no entity {name!r}")
        return found

    async def all(self) -> list[App]:
        """See `Apps.all`."""
        if self._loaded != self._version:
            await self._load()
        return sorted(self._apps.values(), key=lambda app: (app.name.lower(), app.id))

    async def sections(self, key: str) -> list[InstalledSection]:
        """See `Apps.sections`."""
        found = await store.sections(self._statements, key)
        return [section for section in found if self._fits(key, section)]

    def _fits(self, key: str, section: InstalledSection) -> bool:
        for path, sentence in self._sections.problems({key: section.value}):
            problem = f"{path}: {sentence}"
            log.warning("a section is left out", app_id=section.app_id, problem=problem)
            return False
        return True

    async def refresh(self) -> None:
        """See `Apps.refresh`."""
        await self.on_notification(None)

    async def on_notification(self, app_id: str | None) -> None:
        """Read one app again before the next reply, or every app.

        Every database login can send notifications: a payload that is no app id means every app.
        """
        if app_id is None or not is_identifier(app_id):
            self._stale = None
        elif self._stale is not None:
            self._stale.add(app_id)
            if len(self._stale) > MAX_STALE:
                self._stale = None
        self._version += 1

    async def _load(self) -> None:
        """Read what is stale; a notification that arrives meanwhile is not lost.

        Callers that waited while a read failed share its failure: the next would take as long.
        """
        failures = self._failures
        async with self._lock:
            if self._failures != failures:
                raise Unavailable("the apps cannot be read at the moment")
            while self._loaded != self._version:
                version = self._version
                ids = None if self._stale is None else sorted(self._stale)
                try:
                    found = {app.id: app for app in await store.catalog(self._statements, ids)}
                except Unavailable:
                    self._failures += 1
                    raise
                except Exception as error:
                    if ids is None:
                        raise
                    log.error("apps cannot be read in part", app_ids=ids, exc_info=error)
                    self._stale = None  # one unreadable app must not block the others
                    continue
                if ids is None:
                    self._apps = found
                else:
                    kept = {key: app for key, app in self._apps.items() if key not in ids}
                    self._apps = kept | found
                if version == self._version:
                    self._stale = set()
                    self._loaded = version
