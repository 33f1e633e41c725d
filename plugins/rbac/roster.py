"""Everything that decisions need, in memory, and dropped at the first doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import anyio
import structlog

from kernel.public import Permission, Unavailable

from .grammar import NEWS
from .rights import AppView
from .store import RbacStore

TOPIC: Final = "rbac"
_ALL: Final = ""
MOST: Final = 100
"""Parts that are read one by one; where more are stale, everything is read."""

log = structlog.get_logger("caudex.rbac")


def about(app_id: str, user_id: str = "") -> str:
    """The news that an app's roles changed, or only what one user holds on it."""
    return f"{app_id} {user_id}".strip()


class Roster:
    """One view for each app. After news they count as stale until they are read again; a read that
    fails leaves them stale, so nothing is ever decided from what may be wrong."""

    def __init__(self, store: RbacStore, core_keys: Sequence[Permission]) -> None:
        self.core_keys = core_keys
        self._store = store
        self._views: dict[str, AppView] = {}
        self._stale: set[str] = {_ALL}
        self._warm = False
        self._failures: int = 0
        self._lock = anyio.Lock()

    async def views(self) -> Mapping[str, AppView]:
        """Every app's view, from memory while it is warm. Raises Unavailable."""
        if not self._warm:
            await self._refresh()
        return self._views

    async def heard(self, news: str | None) -> None:
        """Forget what the news is about (None: everything), and read it again if possible.

        Whoever may connect to the database can tell news: any of another form means everything.
        """
        self._stale.add(news if news and NEWS.fullmatch(news) else _ALL)
        if len(self._stale) > MOST:
            self._stale = {_ALL}
        self._warm = False
        with suppress(Unavailable):
            await self._refresh()

    async def _refresh(self) -> None:
        """Read what is stale; who waited while a read failed shares its failure."""
        failures = self._failures
        async with self._lock:
            if self._failures != failures:
                raise Unavailable("roles cannot be read at the moment")
            while not self._warm:
                stale, self._stale = self._stale, set()
                try:
                    await self._read(stale)
                except BaseException as error:
                    self._stale |= stale
                    self._failures += isinstance(error, Unavailable)
                    raise
                self._warm = not self._stale

    async def _read(self, stale: set[str]) -> None:
        """Read parts, or everything: one that cannot be read must not keep all from everybody."""
        if _ALL not in stale:
            try:
                return await self._read_parts(stale)
            except Unavailable:
                raise
            except Exception as error:
                log.error("roles cannot be read in part", exc_info=error)
        rows = await self._store.apps()
        self._views = {row.app_id: AppView(row, self.core_keys) for row in rows}

    async def _read_parts(self, stale: set[str]) -> None:
        whole = {news for news in stale if " " not in news}
        for app_id in whole:
            await self._read_app(app_id)
        for news in stale - whole:
            app_id, _, user_id = news.partition(" ")
            if app_id in whole:
                continue
            if (view := self._views.get(app_id)) is None:
                await self._read_app(app_id)
            else:
                view.put(user_id, await self._store.held(app_id, user_id))

    async def _read_app(self, app_id: str) -> None:
        rows = await self._store.apps(app_id)
        if rows:
            self._views[app_id] = AppView(rows[0], self.core_keys)
        else:
            self._views.pop(app_id, None)
