"""Follows what the tables want, and tells them what runs here."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import anyio
import structlog
from anyio import to_thread

from kernel.public import Unavailable
from plugins.workers.models import DesiredState
from plugins.workers.models import Replica as ReplicaRow
from plugins.workers.releases.folders import Folders
from plugins.workers.store import WorkersStore

from .supervisor import Supervisor

BEAT: Final = 5.0
"""Seconds between two signs of life."""

PAUSE: Final = 1.0
"""Seconds after the database could not be asked."""

log = structlog.get_logger("caudex.workers")


class Reconciler:
    """One for each server process."""

    def __init__(
        self, store: WorkersStore, folders: Folders, create: Callable[[str], Supervisor]
    ) -> None:
        self.server_id = str(uuid.uuid4())
        self.supervisors: dict[str, Supervisor] = {}
        self._store = store
        self._folders = folders
        self._create = create
        self._stale: set[str] | None = None
        """Apps whose rows have to be read; None means all."""
        self._ended: set[str] = set()
        """Apps whose supervisors ended since: what they could not remove is not tried at once."""
        self._unreported = False
        self._last_told: frozenset[ReplicaRow] = frozenset()
        self._wake = anyio.Event()
        self._closed = False

    async def on_notification(self, payload: str | None) -> None:
        """Notifications: something about an app changed, or anything may have."""
        if payload is None or "\0" in payload:  # whoever may connect to the database can tell news
            self._stale = None
        elif self._stale is not None:
            self._stale.add(payload)
        self._wake.set()

    def gone(self, app_id: str, number: int) -> None:
        """An app was removed by this very process, which need not wait for the news of it."""
        supervisor = self.supervisors.get(app_id)
        if supervisor is not None and supervisor.number == number and not supervisor.leaving:
            supervisor.forget()

    def tell(self) -> None:
        """Something changed here that others should know soon."""
        self._unreported = True
        self._wake.set()

    async def run(self) -> None:
        """Follow and tell, as long as the server lives."""
        due = 0.0
        while not self._closed:
            self._wake = anyio.Event()
            try:
                await self._follow()
                if self._unreported or anyio.current_time() >= due:
                    await self._beat()
                    due = anyio.current_time() + BEAT
                pause = max(0.0, due - anyio.current_time())
            except Unavailable:
                pause = PAUSE
            except Exception as error:
                log.error("what workers should run cannot be followed", exc_info=error)
                pause = PAUSE
            if not self._wake.is_set() or pause == PAUSE:
                with anyio.move_on_after(pause):
                    await self._wake.wait()

    def close(self) -> None:
        """Follow nothing any more: the server ends."""
        self._closed = True
        self._wake.set()

    async def leave(self) -> None:
        """Tell the others that nothing runs here any more."""
        await self._store.beat(self.server_id, ())

    async def _follow(self) -> None:
        stale = self._stale
        if stale is not None and not stale:
            return
        self._stale, ended, self._ended = set(), self._ended, set()
        try:
            # Before the rows: who comes between the two has a row, and is not taken for left over.
            here = await self._here(stale)
            rows = await self._store.wanted(None if stale is None else sorted(stale))
        except BaseException:
            self._stale = None
            raise
        known = {row.app_id for row in rows}
        for row in rows:
            self._apply(row)
        for app_id in set(self.supervisors if stale is None else stale) - known:
            if (supervisor := self.supervisors.get(app_id)) is not None:
                supervisor.forget()
        for app_id in here.keys() - known - ended - self.supervisors.keys():
            self.supervisor(app_id).forget(here[app_id])

    async def _here(self, stale: set[str] | None) -> Mapping[str, int]:
        """Apps without a supervisor that have files here, with their numbers: of these, or all.

        Their workers were stopped when this server started, or they went while none ran. Who told
        of them may be anybody, so a name is looked for among the folders, not made into a path.
        """
        if stale is not None and stale <= self.supervisors.keys():
            return {}
        return await to_thread.run_sync(self._folders.numbers, stale)

    def _apply(self, row: DesiredState) -> None:
        supervisor = self.supervisors.get(row.app_id)
        if supervisor is not None and supervisor.leaving:
            return  # an app of the same name came after it; asked again when this one has ended
        if supervisor is not None and supervisor.number not in (None, row.number):
            supervisor.forget()  # likewise, and nobody told us that the former one went
            return
        if supervisor is None:
            if row.release is None:
                return
            supervisor = self.supervisor(row.app_id)
        supervisor.set_desired(row)

    def supervisor(self, app_id: str) -> Supervisor:
        """The supervisor of an app."""
        if app_id not in self.supervisors:
            self.supervisors[app_id] = self._create(app_id)
        return self.supervisors[app_id]

    def ended(self, app_id: str) -> None:
        """A supervisor is done with an app that is gone."""
        self.supervisors.pop(app_id, None)
        self._ended.add(app_id)
        if self._stale is not None:
            self._stale.add(app_id)
        self.tell()

    async def _beat(self) -> None:
        self._unreported = False
        rows = list(self.rows())
        if rows or self._last_told:
            try:
                await self._store.beat(self.server_id, rows)
            except BaseException:
                self._unreported = True
                raise
        self._last_told = frozenset(rows)

    def rows(self) -> Iterable[ReplicaRow]:
        """What runs here, or should."""
        for app_id, supervisor in self.supervisors.items():
            if supervisor.state != "stopped":
                yield ReplicaRow(
                    server_id=self.server_id,
                    app_id=app_id,
                    state=supervisor.state,
                    version=supervisor.version,
                )
