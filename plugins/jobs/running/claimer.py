"""Claim jobs for the workers of this process: when notified, and once in each poll interval."""

from __future__ import annotations

import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import anyio

from plugins.jobs.config import JobsConfig
from plugins.jobs.models import Claimed, ClaimRequest

from .outcome import Run
from .store import RunsStore

ANY_NUMBER: Final = 1_000_000
"""More jobs than a claim asks for."""


class _App:
    """The jobs of an app in this process."""

    def __init__(self) -> None:
        self.runs: set[Run] = set()
        self.ready: deque[Run] = deque()
        """Claimed ahead; empty while a slot is free."""
        self.has_pending = True
        self.not_before = 0.0
        self.average_duration = 1.0
        """Moving average in seconds."""
        self.average_size = 1.0
        """Moving average of the payload's bytes."""


class Slots:
    """Count the jobs of each app in this process. A quarantined job takes all slots of its app."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._apps: dict[str, _App] = {}
        self._first = 0

    def notify_pending(self, app_ids: Iterable[str] | None) -> bool:
        """Note that these apps, or any, may have pending jobs; True when a worker runs here."""
        apps = self._apps.keys()
        notified = list(apps if app_ids is None else apps & set(app_ids))
        for app_id in notified:
            self._apps[app_id].has_pending = True
        return bool(notified)

    def hold(self, app_id: str, seconds: float) -> None:
        """Claim nothing for an app for a while."""
        self._get_app(app_id).not_before = time.monotonic() + seconds

    def plan(self, running: Sequence[str], limit: int = 250) -> list[ClaimRequest]:
        """Return what to claim for the running workers; each app in turn comes first."""
        self._follow_running(running)
        now = time.monotonic()
        left = limit
        requests = list[ClaimRequest]()
        self._first += 1
        for position in range(len(running)):
            app_id = running[(self._first + position) % len(running)]
            app = self._apps[app_id]
            free = min(self._count_free(app), left)
            if free > 0 and app.has_pending and app.not_before <= now:
                requests.append(ClaimRequest(app_id, free, not app.runs))
                app.has_pending = False
                left -= free
        return requests

    def note_answer(self, requests: Iterable[ClaimRequest], jobs: Iterable[Claimed] | None) -> None:
        """Note the answer to a claim: an app that got as many jobs as requested may have more.
        None when the answer was lost."""
        counts = Counter[str]()
        for job in jobs or ():
            # A quarantined job comes alone, and says nothing of how many others wait.
            counts[job.app_id] += ANY_NUMBER if job.quarantined else 1
        for request in requests:
            app = self._apps.get(request.app_id)
            if app is not None and (jobs is None or counts[request.app_id] >= request.free):
                app.has_pending = True

    def take(self, run: Run) -> bool:
        """Give a run a slot, or let it wait for one."""
        app = self._get_app(run.job.app_id)
        if len(app.runs) >= self._concurrency:
            app.ready.append(run)
            return False
        if app.runs:
            run.alone = False
            if len(app.runs) == 1:  # where there are more, none of them is marked alone
                next(iter(app.runs)).alone = False
        app.runs.add(run)
        return True

    def remove(self, run: Run, seconds: float) -> None:
        """Free the slot of a run that took `seconds`."""
        app = self._get_app(run.job.app_id)
        app.runs.discard(run)
        app.average_duration += (seconds - app.average_duration) / 5
        app.average_size += (len(run.job.payload) - app.average_size) / 5
        if not app.runs:
            app.has_pending = True  # a quarantined job may have waited for this

    def needs_claim(self, app_id: str) -> bool:
        """Whether to claim for an app: a claim may find jobs, and there is room for them."""
        app = self._get_app(app_id)
        return app.has_pending and self._count_free(app) > 0

    def take_ready(self, app_id: str) -> Run | None:
        """Take out the next run that was claimed ahead."""
        ready = self._get_app(app_id).ready
        return ready.popleft() if ready else None

    def take_stale(self, *, seconds: float = 0.5) -> Iterator[Run]:
        """Take out runs that waited so long for a slot, and claim nothing ahead for a while."""
        now = time.monotonic()
        for app in self._apps.values():
            if app.ready and now - app.ready[0].claimed_at > seconds:
                yield from app.ready
                app.ready.clear()
                app.average_duration = 1.0

    def runs(self, app_id: str | None = None) -> Iterator[Run]:
        """Iterate over the runs in a slot, of one app or all."""
        for name, app in list(self._apps.items()):
            if app_id is None or name == app_id:
                yield from list(app.runs)

    def _count_free(self, app: _App) -> int:
        """Return how many jobs to claim. Jobs ahead are claimed in portions: otherwise each end of
        a job would cost a claim."""
        free = self._concurrency - len(app.runs)
        ahead = self._count_ahead(app)
        missing = ahead - len(app.ready)
        if missing > 0 and 2 * missing >= ahead:
            free += missing
        return 0 if free and any(run.job.quarantined for run in app.runs) else free

    def _count_ahead(self, app: _App, *, below: float = 0.02) -> int:
        """Return how many jobs to hold ready: a tenth of a second's work, at most 20 for each slot
        and 16 MB of payloads; none if they take `below` seconds or more."""
        if app.average_duration >= below:
            return 0
        per_slot = min(20, 0.1 / app.average_duration)
        return int(min(per_slot * self._concurrency, 16_000_000 / app.average_size))

    def _get_app(self, app_id: str) -> _App:
        if app_id not in self._apps:
            self._apps[app_id] = _App()
        return self._apps[app_id]

    def _follow_running(self, running: Sequence[str]) -> None:
        for app_id in running:
            self._get_app(app_id)
        for app_id in self._apps.keys() - set(running):
            if not self._apps[app_id].runs and not self._apps[app_id].ready:
                del self._apps[app_id]


class Claimer:
    """Claims jobs for the workers of this process.

    `running` returns the apps whose workers take jobs, `start` runs a job that was claimed under a
    token, `notify_pending` notifies the other processes of an app's pending jobs.
    """

    def __init__(
        self,
        config: JobsConfig,
        store: RunsStore,
        slots: Slots,
        *,
        running: Callable[[], Sequence[str]],
        start: Callable[[Claimed, str], None],
        notify_pending: Callable[[str], None],
    ) -> None:
        self._config = config
        self._store = store
        self._slots = slots
        self._running = running
        self._start = start
        self._notify_others = notify_pending
        self._unanswered: list[str] = []
        """Tokens of claims whose answer was lost."""
        self._woken = anyio.Event()
        self._next_poll = 0.0

    def notify_pending(self, app_ids: Iterable[str] | None) -> None:
        """Claim soon: these apps, or any, have pending jobs."""
        if self._slots.notify_pending(app_ids):
            self._woken.set()

    def notify_pending_everywhere(self, app_id: str) -> None:
        """Claim soon, here and in the other processes: an app has pending jobs."""
        self.notify_pending([app_id])
        self._notify_others(app_id)

    def wake(self) -> None:
        """Claim soon: a slot has become free."""
        self._woken.set()

    def poll_in(self, seconds: float) -> None:
        """Poll no later than that, when scheduled jobs become due; 20 ms apart at least."""
        self._next_poll = min(self._next_poll, time.monotonic() + max(seconds, 0.02))
        self._woken.set()

    async def step(self) -> None:
        """Wait for a reason to claim, and claim. Raises Unavailable."""
        with anyio.move_on_after(self._next_poll - time.monotonic()):
            await self._woken.wait()
        self._woken = anyio.Event()
        await self.release_unanswered()
        if time.monotonic() >= self._next_poll:
            self._next_poll = time.monotonic() + self._config.poll_interval
            self._slots.notify_pending(None)
            if self._running():
                await self._promote_due()
        while True:
            requests = self._slots.plan(self._running())
            if not requests:
                break
            await self._claim(requests)
            if time.monotonic() >= self._next_poll:
                break  # busy apps would defer the poll for as long as they have jobs

    async def release_unanswered(self) -> None:
        """Release jobs of claims whose answer was lost. Raises Unavailable."""
        if self._unanswered:
            await self._store.release(self._unanswered)
            self._unanswered.clear()

    async def _claim(self, requests: Sequence[ClaimRequest]) -> None:
        token = str(uuid.uuid4())
        self._unanswered.append(token)
        try:
            jobs = await self._store.claim(requests, token, self._config.lease)
        except BaseException:
            self._slots.note_answer(requests, None)
            raise
        self._unanswered.remove(token)
        self._slots.note_answer(requests, jobs)
        for job in jobs:
            self._start(job, token)

    async def _promote_due(self) -> None:
        promoted = await self._store.promote_due()
        for app_id in promoted.apps:
            self._notify_others(app_id)
        if promoted.next is not None:
            self.poll_in(promoted.next)
