"""One actor for each app: brings what runs in line with what is wanted."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog
from anyio import to_thread

from kernel.public import KernelError, Unavailable, WorkerState
from plugins.workers.config import WorkersConfig
from plugins.workers.models import DesiredState, Release
from plugins.workers.replica.launch_specs import LaunchSpecs
from plugins.workers.replica.replica import Replica, Spawn, StartFailed

CRASHES: Final = 5
"""So many within WINDOW seconds are enough, or so many starts in turn that fail."""

WINDOW: Final = 60.0
MAX_BACKOFF: Final = 60.0
POSTPONED: Final = 2.0
"""Seconds until a start is tried again that failed for want of a database."""

FAULT: Final = 1.0
"""Seconds after a fault of ours."""

MAX_WAITING: Final = 4
"""Deploys of one app that may wait for the one under way."""

log = structlog.get_logger("caudex.workers")


class Host:
    """What a supervisor needs of the server; given by the service."""

    def __init__(
        self,
        *,
        config: WorkersConfig,
        spawn: Spawn,
        launch_specs: LaunchSpecs,
        changed: Callable[[Supervisor], Awaitable[None]],
        remove: Callable[[str, int | None], None],
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self.config = config
        self.spawn = spawn
        self.launch_specs = launch_specs
        self.changed = changed
        self.remove = remove
        self.clock = clock
        self.starts = anyio.CapacityLimiter(8)
        """Workers of this server that come up at the same moment."""


class Supervisor:
    """The worker of one app in this server process."""

    def __init__(self, app_id: str, host: Host) -> None:
        self.app_id = app_id
        self.state: WorkerState = "stopped"
        self.replica: Replica | None = None
        self.ended = False
        self._host = host
        self.number: int | None = None
        """That of the app, once it is known."""
        self._goal: Release | None = None
        self._attempt = 0
        self._settled = -1
        """The last attempt that came to an end, one way or the other."""
        self._failure: StartFailed | None = None
        self._candidate: Replica | None = None
        self._restart = False
        self._refreshed = False
        """Whether the start under way was made for the sake of newer secrets: one is enough."""
        self._forget = False
        self._given_up = False
        self._closing = False
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._came_up = 0.0
        """When a worker last did."""
        self._not_before = 0.0
        self._postponed = False
        self._last_told: tuple[WorkerState, int | None] = ("stopped", None)
        self._wake = anyio.Event()
        self._changed_event = anyio.Event()
        self._starting: anyio.CancelScope | None = None
        self._deploys = anyio.Lock()

    @property
    def version(self) -> int | None:
        """The version that runs here, or should."""
        release = self.replica.release if self.replica is not None else self._goal
        return None if release is None else release.version

    @property
    def leaving(self) -> bool:
        """Whether the app is gone and this is about to end."""
        return self._forget

    # What others ask for

    def set_desired(self, row: DesiredState) -> None:
        """Be told what should run, or nothing; old news changes nothing."""
        if row.attempt < self._attempt:
            return
        if row.attempt > self._attempt:
            self._given_up, self._not_before = False, 0.0
            self._crashes.clear()
        self._attempt, self.number = row.attempt, row.number
        self._set_goal(row.release)

    def forget(self, number: int | None = None) -> None:
        """The app is gone: kill, remove what it has, end. `number` is its, for who knows it.

        Nothing is left that would be worth a wait, and another app may have the name already.
        """
        self._forget = True
        self.number = self.number or number
        for replica in self._left():
            replica.detach()
        self._set_goal(None)

    def restart(self) -> None:
        """Replace the process of a worker that runs."""
        if self.replica is not None:
            self._restart = True
            self._wake_up()

    def promote(self, candidate: Replica, attempt: int) -> None:
        """Put a replica that is up already into service, in place of the one that runs; not when
        something else was wanted since."""
        if self._forget or attempt < self._attempt:
            self._host.spawn(candidate.kill)
            return
        self._attempt, self.number = attempt, candidate.release.number
        self._given_up, self._not_before = False, 0.0
        self._crashes.clear()
        previous, self._candidate = self._candidate, candidate
        if previous is not None:
            self._host.spawn(previous.kill)
        self._set_goal(candidate.release)

    @asynccontextmanager
    async def deploying(self) -> AsyncGenerator[None]:
        """Deploy one at a time. Raises Unavailable when too many wait."""
        if self._deploys.statistics().tasks_waiting >= MAX_WAITING:
            raise Unavailable("too many deploys of this app are waiting", retry_after=10)
        async with self._deploys:
            yield

    async def outcome(self, attempt: int) -> StartFailed | None:
        """Wait until an attempt to start has come to an end; None when the worker runs."""
        while self._settled < attempt and not self.ended:
            await self._changed_event.wait()
        return self._failure

    async def stopped(self) -> None:
        """Wait until nothing runs."""
        while self.state != "stopped" and not self.ended:
            await self._changed_event.wait()

    async def over(self) -> None:
        """Wait until an app that is gone has nothing left."""
        while not self.ended:
            await self._changed_event.wait()

    def _left(self) -> list[Replica]:
        """Every process of the app, also what retires or comes up."""
        return [] if self.number is None else self._host.launch_specs.of(self.app_id, self.number)

    def _set_goal(self, goal: Release | None) -> None:
        if goal != self._goal and self._starting is not None:
            self._starting.cancel()
        self._goal = goal
        self._wake_up()

    def _wake_up(self) -> None:
        self._wake.set()

    # The actor

    async def run(self) -> None:
        """Bring reality in line with what is wanted, again and again."""
        while True:
            self._wake = anyio.Event()
            pause = await self._guarded_step()
            if self._closing:
                return
            if self._forget and self.replica is None:
                break
            if self._wake.is_set():
                continue
            with anyio.move_on_after(math.inf if pause is None else pause):
                await self._wake.wait()
        for replica in self._left():
            await replica.kill()
        try:
            await to_thread.run_sync(self._host.remove, self.app_id, self.number)
        except Exception as error:  # the next start tries again; others wait for the end of this
            log.error("files of an app that is gone stay", app_id=self.app_id, exc_info=error)
        self.ended = True
        self._notify_waiters()

    async def _guarded_step(self) -> float | None:
        """Whatever goes wrong, the app keeps its actor."""
        try:
            return await self._step()
        except Exception as error:
            log.error("a supervisor met a fault", app_id=self.app_id, exc_info=error)
            return FAULT

    async def close(self, drain: float, shutdown_wait: float, term_wait: float) -> None:
        """Stop for good, with the server."""
        self._closing = True
        if self._starting is not None:
            self._starting.cancel()
        self._wake_up()
        if self._candidate is not None:
            await self._candidate.kill()
        if self.replica is not None:
            await self.replica.retire(drain, shutdown_wait, term_wait)

    async def _step(self) -> float | None:
        """Do the next thing; returns the seconds until there may be another, None for no idea."""
        if self._closing:
            return None
        await self._swap()
        if self.replica is not None and self.replica.gone and not self._forget:
            await self._crashed(self.replica)
        if self._goal is None:
            await self._stop()
            return None
        if self.replica is not None:
            if self._restart or self.replica.release != self._goal:
                return await self._replace(self._goal)
            self._settled, self._failure = self._attempt, None
            self._notify_waiters()
            return None
        if self._given_up:
            return None
        wait = self._not_before - self._host.clock()
        if wait > 0:
            await self._become("starting")
            return wait
        await self._start(self._goal)
        return 0.0

    async def _swap(self) -> None:
        """Let a candidate that came up take over; the old one answers what it was asked."""
        candidate, self._candidate = self._candidate, None
        if candidate is None:
            return
        if self._goal != candidate.release:
            await candidate.kill()
            return
        old = self.replica
        await self._take(candidate)
        if old is not None:
            self._retire(old)

    async def _take(self, replica: Replica) -> None:
        """Let a replica that is up answer from now on."""
        self.replica, self._settled, self._failure = replica, self._attempt, None
        self._restart, self._came_up = False, self._host.clock()
        await self._become("running")
        refreshed, self._refreshed = self._refreshed, False
        if not refreshed and await self._is_outdated(replica):
            self._refreshed = self._restart = True

    async def _is_outdated(self, replica: Replica) -> bool:
        """Whether the secrets changed while a worker came up with the old ones."""
        try:
            return await self._host.launch_specs.is_outdated(replica.spec)
        except KernelError:
            return False  # what changes while the database is away is told when it is back

    def _retire(self, old: Replica) -> None:
        config = self._host.config
        waits = (config.rpc_timeout, config.shutdown_wait, config.term_wait)
        self._host.spawn(old.retire, *waits)

    async def _stop(self) -> None:
        replica, attempt = self.replica, self._attempt
        if replica is not None:
            await self._become("stopping")
            config = self._host.config
            if self._forget:
                await replica.kill()
            else:
                await replica.stop(config.shutdown_wait, config.term_wait)
            self.replica = None
        self._settled, self._failure, self._restart = attempt, None, False
        await self._become("stopped")

    async def _start(self, goal: Release) -> None:
        await self._become("starting")
        replica = await self._bring_up(goal)
        if replica is not None:
            await self._take(replica)

    async def _replace(self, goal: Release) -> float | None:
        """Start the new one beside the old; when it fails the old one goes all the same: it has
        another version, or an environment that is not to be used any more."""
        restart, self._restart = self._restart, False
        old = self.replica
        new = await self._bring_up(goal)
        if new is None and (self._goal != goal or self._postponed):
            self._restart = restart
            return POSTPONED if self._postponed else 0.0
        if new is not None:
            await self._take(new)
        else:
            self.replica = None
            await self._become(self._after_failure())
        if old is not None:
            self._retire(old)
        return 0.0

    async def _bring_up(self, goal: Release) -> Replica | None:
        """Start a replica; None when that failed or is not wanted any more."""
        attempt, self._postponed = self._attempt, False
        with anyio.CancelScope() as self._starting:
            try:
                return await self.start_replica(goal)
            except StartFailed as error:
                await self._failed(error, attempt)
            except Unavailable as error:
                # The database is away: that says nothing about the worker.
                self._postponed = True
                self._not_before = self._host.clock() + POSTPONED
                log.warning("a worker has to wait", app_id=self.app_id, error=error.message)
            except KernelError as error:
                await self._failed(StartFailed(error.message, ()), attempt)
            except Exception as error:
                log.error("a worker cannot be started", app_id=self.app_id, exc_info=error)
                await self._failed(StartFailed("an unexpected error happened", ()), attempt)
            finally:
                self._starting = None
                # What another server deployed was fetched for it, whatever came of it then.
                self._host.spawn(self._host.launch_specs.tidy, self.app_id)
        return None

    async def start_replica(self, release: Release) -> Replica:
        """Start a replica of a release and wait until it is up. Raises StartFailed, KernelError."""
        host = self._host
        spec = await host.launch_specs.prepare(release)
        async with host.starts:
            replica = host.launch_specs.make(spec, host.spawn, self._wake_up)
            try:
                await replica.start(host.config.start_timeout)
            except StartFailed as error:
                host.launch_specs.write_log(
                    self.app_id, "system", f"version {release.version}: {error.why}"
                )
                raise
        host.launch_specs.write_log(self.app_id, "system", f"version {release.version} runs")
        return replica

    # Crashes

    async def _crashed(self, replica: Replica) -> None:
        """It ended by itself."""
        self.replica = None
        said = f"the worker ended ({replica.ending()})"
        self._host.launch_specs.write_log(self.app_id, "system", said)
        log.warning("a worker crashed", app_id=self.app_id, ending=replica.ending())
        self._count()
        if self._goal is not None:
            await self._become(self._after_failure())

    async def _failed(self, error: StartFailed, attempt: int) -> None:
        """It did not come up. One that hangs would hang again: it is not tried anew by itself."""
        log.warning("a worker did not start", app_id=self.app_id, why=error.why)
        self._count()
        self._given_up = self._given_up or error.hung
        self._settled, self._failure = attempt, error
        if self.replica is None:
            await self._become(self._after_failure())
        self._notify_waiters()

    def _count(self) -> None:
        """Note a crash: the first is followed by a start at once, the next ones by longer waits.
        Starts that fail count until one does not: a build may take longer than WINDOW to fail."""
        now = self._host.clock()
        self._crashes.append(now)
        since = min(now - WINDOW, self._came_up)
        recent = sum(1 for at in self._crashes if at >= since)
        self._given_up = recent >= CRASHES
        unit = self._host.config.backoff
        wait = 0.0 if recent <= 1 else unit * 2 ** (recent - 2)
        self._not_before = now + min(wait, MAX_BACKOFF)

    def _after_failure(self) -> WorkerState:
        return "crashed" if self._given_up else "starting"

    # Telling

    async def _become(self, state: WorkerState) -> None:
        self.state = state
        told = (state, self.version)
        if told != self._last_told:
            self._last_told = told
            await self._host.changed(self)
        self._notify_waiters()

    def _notify_waiters(self) -> None:
        news, self._changed_event = self._changed_event, anyio.Event()
        news.set()
