"""How many jobs of which app may run here, and which apps may have some that wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from .models import Asked, Claimed
from .runs import Run

MOST: Final = 250
"""Jobs that are claimed at once."""

HORIZON: Final = 0.1
"""Seconds of work that are claimed ahead."""

AHEAD: Final = 20
"""Jobs for each place that are claimed ahead at most."""

QUICK: Final = 0.02
"""Seconds that the jobs of an app take on the average, or none is claimed ahead."""

ROOM: Final = 16_000_000
"""Bytes that the payloads of jobs claimed ahead for one app take, going by those before."""

STALE: Final = 0.5
"""Seconds after which a job that was claimed ahead goes back: its turn did not come."""


class _App:
    def __init__(self) -> None:
        self.runs: set[Run] = set()
        self.ready: deque[Run] = deque()
        """Claimed ahead; never any while a place is free."""
        self.hungry = True
        """There may be jobs that wait."""
        self.not_before = 0.0
        self.pace = 1.0
        """Seconds that a job takes, on a moving average."""
        self.size = 1.0
        """Bytes of its payload, likewise."""


class Slots:
    """The places of every worker in this process. A suspect takes all places of its worker."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._apps: dict[str, _App] = {}
        self._first = 0

    def feed(self, app_ids: Iterable[str] | None) -> bool:
        """Note that jobs of these apps may wait, or of any; True where somebody here cares."""
        known = self._apps.keys()
        fed = list(known if app_ids is None else known & set(app_ids))
        for app_id in fed:
            self._apps[app_id].hungry = True
        return bool(fed)

    def hold(self, app_id: str, seconds: float) -> None:
        """Claim nothing for an app for a while."""
        self._app(app_id).not_before = time.monotonic() + seconds

    def ask(self, running: Sequence[str]) -> list[Asked]:
        """Which jobs to claim for the workers that run; every app has its turn at being first."""
        self._follow(running)
        now, left, asked = time.monotonic(), MOST, list[Asked]()
        self._first += 1
        for position in range(len(running)):
            app_id = running[(self._first + position) % len(running)]
            app = self._apps[app_id]
            free = min(self._free(app), left)
            if free > 0 and app.hungry and app.not_before <= now:
                asked.append(Asked(app_id, free, not app.runs))
                app.hungry = False
                left -= free
        return asked

    def answered(self, asked: Iterable[Asked], jobs: Iterable[Claimed] | None) -> None:
        """Note what a claim brought: who got all that was asked for may have more; None where
        nobody knows."""
        counts: dict[str, int] = {}
        for job in jobs or ():
            counts[job.app_id] = MOST if job.suspect else counts.get(job.app_id, 0) + 1
        for one in asked:
            app = self._apps.get(one.app_id)
            if app is not None and (jobs is None or counts.get(one.app_id, 0) >= one.free):
                app.hungry = True

    def take(self, run: Run) -> bool:
        """Give a run a place, or let it wait for one."""
        app = self._app(run.job.app_id)
        if len(app.runs) >= self._concurrency:
            app.ready.append(run)
            return False
        if app.runs:
            run.alone = False
            if len(app.runs) == 1:  # where there are more, all know already
                next(iter(app.runs)).alone = False
        app.runs.add(run)
        return True

    def remove(self, run: Run, seconds: float) -> bool:
        """Take the place of a run that took so long; True where a claim is worth it."""
        app = self._app(run.job.app_id)
        app.runs.discard(run)
        app.pace += (seconds - app.pace) / 5
        app.size += (len(run.job.payload) - app.size) / 5
        if not app.runs:
            app.hungry = True  # a suspect may have waited for this
        return app.hungry

    def next(self, app_id: str) -> Run | None:
        """A run that waits for a place, which the caller has made free."""
        ready = self._app(app_id).ready
        return ready.popleft() if ready else None

    def stale(self) -> Iterator[Run]:
        """Take out runs that have waited for too long, and claim nothing ahead for a while."""
        now = time.monotonic()
        for app in self._apps.values():
            if app.ready and now - app.ready[0].claimed_at > STALE:
                yield from app.ready
                app.ready.clear()
                app.pace = 1.0

    def runs(self, app_id: str | None = None) -> Iterator[Run]:
        """The runs of one app that have a place, or all."""
        for name, app in list(self._apps.items()):
            if app_id is None or name == app_id:
                yield from list(app.runs)

    def _free(self, app: _App) -> int:
        """How many jobs may be claimed. Those ahead in portions, or every end of a job would cost
        a claim."""
        if any(run.job.suspect for run in app.runs):
            return 0
        places = self._concurrency - len(app.runs)
        missing = (ahead := self._ahead(app)) - len(app.ready)
        return places + missing if missing > 0 and 2 * missing >= ahead else places

    def _ahead(self, app: _App) -> int:
        if app.pace >= QUICK:
            return 0
        each = min(AHEAD, HORIZON / app.pace)
        return int(min(each * self._concurrency, ROOM / app.size))

    def _app(self, app_id: str) -> _App:
        app = self._apps.get(app_id)
        if app is None:
            app = self._apps[app_id] = _App()
        return app

    def _follow(self, running: Sequence[str]) -> None:
        for app_id in running:
            self._app(app_id)
        for app_id in self._apps.keys() - set(running):
            if not self._apps[app_id].runs and not self._apps[app_id].ready:
                del self._apps[app_id]
