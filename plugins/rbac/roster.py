"""Everything that decisions need, in memory, and dropped at the first doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import anyio
import structlog

from kernel.public import Permission, Unavailable

from .grammar import NOTIFICATIONS
from .models import CORE
from .rights import AppView
from .store import RbacStore

TOPIC: Final = "rbac"
_ALL: Final = ""
_WHOLE: Final = ""
MOST: Final = 100
"""Parts that are read one by one; where more are stale, everything is read."""
PATIENCE: Final = 0.5
"""Seconds that news wait for what they are about to be read: others wait behind them."""

log = structlog.get_logger("caudex.rbac")


def about(app_id: str, user_id: str = "") -> str:
    """The news that an app's roles changed, or only what one user holds on it."""
    return f"{app_id} {user_id}".strip()


class _Doubt:
    """What is not to be decided from until it is read: the users of an app, all of it, or all."""

    __slots__ = ("failures", "lock", "marks")

    def __init__(self) -> None:
        self.marks: set[str] = set()
        """Ids of users, or `_WHOLE`, that no read has begun for."""
        self.failures: int = 0
        self.lock = anyio.Lock()


class Roster:
    """One view for each app. After news they count as stale until they are read again; a read that
    fails leaves them stale, so nothing is ever decided from what may be wrong.

    Each app is read by itself, and only who asks about it waits for that: the admins of one decide
    how long theirs takes, and how often.
    """

    def __init__(self, store: RbacStore, core_keys: Sequence[Permission]) -> None:
        self.core_keys = core_keys
        self._store = store
        self._views: dict[str, AppView] = {}
        self._doubts: dict[str, _Doubt] = {}
        """By app, or `_ALL`; what is not here is as the tables have it."""
        self._doubt(_ALL, _WHOLE)

    async def views(self, *app_ids: str) -> Mapping[str, AppView]:
        """Every app's view, of which those of `app_ids` and `core` hold. Raises Unavailable."""
        if self._doubts:
            await self._settle(CORE, *app_ids)
        return self._views

    async def heard(self, news: str | None) -> None:
        """Forget what the news is about (None: everything), and read it again if possible.

        Whoever may connect to the database can tell news: any of another form means everything.
        """
        known = news if news and NOTIFICATIONS.fullmatch(news) else _ALL
        app_id, _, user_id = known.partition(" ")
        self._doubt(app_id, user_id or _WHOLE)
        with suppress(Unavailable), anyio.move_on_after(PATIENCE):
            await self._settle(app_id)

    def _doubt(self, app_id: str, mark: str) -> None:
        everything = self._doubts.get(_ALL)
        if everything is not None and everything.marks:
            return  # a read that is still to begin finds it
        self._doubts.setdefault(app_id, _Doubt()).marks.add(mark)
        if app_id == _ALL:
            # Reads under way are of no use any more: they may end after this one.
            self._doubts = {_ALL: self._doubts[_ALL]}
        elif sum(len(doubt.marks) or 1 for doubt in self._doubts.values()) > MOST:
            self._doubt(_ALL, _WHOLE)

    async def _settle(self, *app_ids: str) -> None:
        """Read until nothing of this is in doubt."""
        while found := [app_id for app_id in (_ALL, *app_ids) if app_id in self._doubts]:
            await self._refresh(found[0], self._doubts[found[0]])

    async def _refresh(self, app_id: str, doubt: _Doubt) -> None:
        """Read what is stale; who waited while a read failed shares its failure."""
        failures = doubt.failures
        async with doubt.lock:
            if doubt.failures != failures:
                raise Unavailable("roles cannot be read at the moment")
            while doubt.marks and self._stands(app_id, doubt):
                marks, doubt.marks = doubt.marks, set()
                try:
                    await self._read(app_id, doubt, marks)
                except BaseException as error:
                    doubt.marks |= marks
                    doubt.failures += isinstance(error, Unavailable)
                    raise
            if self._stands(app_id, doubt):
                del self._doubts[app_id]

    def _stands(self, app_id: str, doubt: _Doubt) -> bool:
        """Whether everything has not come into doubt since."""
        return self._doubts.get(app_id) is doubt

    async def _read(self, app_id: str, doubt: _Doubt, marks: set[str]) -> None:
        """Read a part, or everything: one that cannot be read must not keep it from everybody."""
        if app_id == _ALL:
            rows = await self._store.apps()
            self._views = {row.app_id: AppView(row, self.core_keys) for row in rows}
            return
        try:
            await self._read_part(app_id, doubt, marks)
        except Unavailable:
            raise
        except Exception as error:
            log.error("roles cannot be read in part", exc_info=error)
            self._doubt(_ALL, _WHOLE)

    async def _read_part(self, app_id: str, doubt: _Doubt, marks: set[str]) -> None:
        view = self._views.get(app_id)
        if view is None or _WHOLE in marks:
            rows = await self._store.apps(app_id)
            if not self._stands(app_id, doubt):
                return
            if rows:
                self._views[app_id] = AppView(rows[0], self.core_keys)
            else:
                self._views.pop(app_id, None)
            return
        for user_id in marks:  # of a view that everything was read instead of, it does not matter
            view.put(user_id, await self._store.held(app_id, user_id))
