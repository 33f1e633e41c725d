"""Installed apps in memory."""

from __future__ import annotations

from typing import Final

import anyio
import structlog

from kernel.public import App, Entity, InstalledSection, NotFound, Statements, Unavailable

from . import store
from .names import is_identifier
from .sections import NO_SECTIONS, Sections

MOST: Final = 100
"""Apps that are read one by one; where more are stale, all are read."""

log = structlog.get_logger("caudex.apps")


class Catalog:
    """See `kernel.contracts.apps.Apps`. Warm, a read asks nobody; news names what to read anew."""

    def __init__(self, statements: Statements, sections: Sections = NO_SECTIONS) -> None:
        self._statements = statements
        self._sections = sections
        self._apps: dict[str, App] = {}
        self._stale: set[str] | None = None
        """Apps to read before the next answer; None means all."""
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
        await self.forget(None)

    async def forget(self, app_id: str | None) -> None:
        """Read one app anew before the next answer, or everything.

        Whoever may connect to the database can tell news: what names no app means any.
        """
        if app_id is None or not is_identifier(app_id):
            self._stale = None
        elif self._stale is not None:
            self._stale.add(app_id)
            if len(self._stale) > MOST:
                self._stale = None
        self._version += 1

    async def _load(self) -> None:
        """Read what is stale; news that arrives meanwhile is not lost.

        Who waited while a read failed shares its failure: the next one would take as long.
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
                    self._stale = None  # one of these must not keep the others from everybody
                    continue
                if ids is None:
                    self._apps = found
                else:
                    kept = {key: app for key, app in self._apps.items() if key not in ids}
                    self._apps = kept | found
                if version == self._version:
                    self._stale = set()
                    self._loaded = version
