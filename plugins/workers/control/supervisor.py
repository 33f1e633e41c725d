"""One actor for each app: starts, replaces and stops its worker in this server process."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

import anyio
import structlog
from anyio import to_thread

from kernel.public import KernelError, Unavailable, WorkerState
from plugins.workers.host import Host
from plugins.workers.models import DesiredState, Release
from plugins.workers.releases.builds import Builder
from plugins.workers.replica.replica import Replica, StartFailed

MAX_CRASHES: Final = 5
"""Crashes within 60 seconds, or failed starts in a row, after which a worker is `crashed`."""

log = structlog.get_logger("caudex.workers")


class Supervisor:
    """The worker of one app in this server process."""

    def __init__(self, app_id: str, key: int, host: Host, builder: Builder) -> None:
        self.app_id = app_id
        self.key = key
        self.state: WorkerState = "stopped"
        self.replica: Replica | None = None
        self.leaving = self.ended = False
        """The app is uninstalled; nothing is left of it here."""
        self._host = host
        self._builder = builder
        self._made: WeakSet[Replica] = WeakSet()
        """A live process holds its replica, so none that still runs is missing here."""
        self._goal: Release | None = None
        self._attempt = 0
        self._settled = -1
        """The last attempt that succeeded or failed."""
        self._failure: StartFailed | None = None
        self._candidate: Replica | None = None
        self._restart = False
        self._refreshed = False
        """Whether newer secrets caused the start under way: one such start is enough."""
        self._failures = 0
        """Crashes and failed starts that the next wait follows from."""
        self._closing = False
        self._crashes: deque[float] = deque(maxlen=MAX_CRASHES)
        self._came_up = 0.0
        """When a worker last came up."""
        self._not_before = 0.0
        self._postponed = False
        self._wake_event = anyio.Event()
        self._change_event = anyio.Event()
        self._starting: anyio.CancelScope | None = None

    @property
    def version(self) -> int | None:
        """The version that runs here, or should."""
        release = self.replica.release if self.replica is not None else self._goal
        return None if release is None else release.version

    # Requests

    def set_desired(self, row: DesiredState) -> None:
        """Set what should run. A row that is older than the current one changes nothing."""
        if row.attempt >= self._attempt and not self.leaving:
            if row.attempt > self._attempt:
                self._clear_failures()
            self._attempt = row.attempt
            self._set_goal(row.release)

    def promote(self, candidate: Replica, attempt: int) -> None:
        """Put a replica that is up into service, in place of the one that runs.

        The candidate is killed if a later attempt has begun since.
        """
        if self.leaving or attempt < self._attempt:
            self._host.spawn(candidate.kill)
            return
        previous, self._candidate = self._candidate, candidate
        if previous is not None:
            self._host.spawn(previous.kill)
        self._clear_failures()
        self._attempt = attempt
        self._set_goal(candidate.release)

    def remove(self) -> None:
        """Kill the worker of an app that is uninstalled, delete its files and end."""
        self.leaving = True
        for replica in self.replicas():
            replica.detach()
        self._set_goal(None)

    def restart(self) -> None:
        """Replace the process of a running worker."""
        if self.replica is not None:
            self._restart = True
            self.wake()

    def wake(self) -> None:
        """Run the next step now."""
        self._wake_event.set()

    async def outcome(self, attempt: int) -> StartFailed | None:
        """Wait until an attempt to start has succeeded (None) or failed."""
        await self._wait_until(lambda: self._settled >= attempt)
        return self._failure

    async def come_up(self) -> Replica | None:
        """Wait while a worker that should run is starting. Returns the one that takes calls."""
        await self._wait_until(lambda: self.usable is not None or not self._is_starting())
        return self.usable

    @property
    def usable(self) -> Replica | None:
        """The replica that takes calls, if there is one."""
        replica = self.replica
        return replica if replica is not None and replica.usable else None

    def _is_starting(self) -> bool:
        """Whether a start is under way or due; not after too many crashes."""
        return self._goal is not None and not self._closing and self.state != "crashed"

    async def stopped(self) -> None:
        """Wait until nothing runs."""
        await self._wait_until(lambda: self.state == "stopped")

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, or nothing is left of an app that is uninstalled."""
        while not self.ended and not condition():
            await self._change_event.wait()

    def _clear_failures(self) -> None:
        self._failures, self._not_before = 0, 0.0
        self._crashes.clear()

    def _set_goal(self, goal: Release | None) -> None:
        if goal != self._goal and self._starting is not None:
            self._starting.cancel()
        self._goal = goal
        self.wake()

    def replicas(self) -> list[Replica]:
        """Return every replica whose process may live, those that start or retire among them."""
        return list(self._made)

    async def tidy(self) -> None:
        """Delete the code of versions that are old and do not run here."""
        running = [each.release for each in self.replicas() if not each.gone]
        await self._builder.tidy(self.app_id, self.key, running)

    # The actor

    async def run(self) -> None:
        """Bring what runs in line with what should run, until the app is removed."""
        while True:
            self._wake_event = anyio.Event()
            pause = await self._guarded_step()
            if self._closing:
                return
            if self.leaving and self.replica is None:
                break
            with anyio.move_on_after(math.inf if pause is None else pause):
                await self._wake_event.wait()
        for replica in self.replicas():
            await replica.kill()
        try:
            await to_thread.run_sync(self._host.remove_app, self.app_id, self.key)
        except Exception as error:  # the next start tries again
            log.error("files of an uninstalled app remain", app_id=self.app_id, exc_info=error)
        self.ended = True
        self._notify_waiters()

    async def _guarded_step(self) -> float | None:
        try:
            return await self._step()
        except Exception as error:
            log.error("a supervisor failed", app_id=self.app_id, exc_info=error)
            return 1.0

    async def close(self, drain: float, shutdown_wait: float, term_wait: float) -> None:
        """Stop for good, with the server."""
        self._closing = True
        self._notify_waiters()
        if self._starting is not None:
            self._starting.cancel()
        self.wake()
        if self._candidate is not None:
            await self._candidate.kill()
        if self.replica is not None:
            await self.replica.retire(drain, shutdown_wait, term_wait)

    async def _step(self) -> float | None:
        """Take the next step. Returns the seconds until another is due, None for no limit."""
        if self._closing:
            return None
        await self._swap()
        if self.replica is not None and self.replica.gone and not self.leaving:
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
        await self._become(self._state_after_failure())
        wait = self._not_before - self._host.clock()
        if wait > 0:
            return wait
        replica = await self._bring_up(self._goal)
        if replica is not None:
            await self._take(replica)
        return 0.0

    async def _swap(self) -> None:
        """Put the candidate into service; the old replica finishes its calls and retires."""
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
        """Send calls to a replica that is up."""
        self.replica, self._settled, self._failure = replica, self._attempt, None
        self._restart, self._came_up = False, self._host.clock()
        await self._become("running")
        refreshed, self._refreshed = self._refreshed, False
        if not refreshed and await self._is_outdated(replica):
            self._refreshed = self._restart = True

    async def _is_outdated(self, replica: Replica) -> bool:
        """Return whether the secrets changed while the worker started with the old ones."""
        try:
            return await self._builder.is_outdated(replica.spec)
        except KernelError:
            return False  # a change while the database is away is reported when it is back

    def _retire(self, old: Replica) -> None:
        config = self._host.config
        waits = (config.rpc_timeout, config.shutdown_wait, config.term_wait)
        self._host.spawn(old.retire, *waits)

    async def _stop(self) -> None:
        replica, attempt = self.replica, self._attempt
        if replica is not None:
            await self._become("stopping")
            config = self._host.config
            if self.leaving:
                await replica.kill()
            else:
                await replica.stop(config.shutdown_wait, config.term_wait)
            self.replica = None
            await to_thread.run_sync(self._host.tidy_memory, self.app_id, self.key)
        self._settled, self._failure, self._restart = attempt, None, False
        await self._become("stopped")

    async def _replace(self, goal: Release) -> float | None:
        """Start the new replica beside the old one.

        If that fails the old one still goes: it has another version, or an environment that must
        not be used any more.
        """
        restart, self._restart = self._restart, False
        old = self.replica
        new = await self._bring_up(goal)
        if new is None and (self._goal != goal or self._postponed):
            self._restart = restart
            return max(0.0, self._not_before - self._host.clock())
        if new is not None:
            await self._take(new)
        else:
            self.replica = None
            await self._become(self._state_after_failure())
        if old is not None:
            self._retire(old)
        return 0.0

    async def _bring_up(self, goal: Release) -> Replica | None:
        """Start a replica. Returns None if that failed, or if the goal changed meanwhile."""
        attempt, self._postponed = self._attempt, False
        with anyio.CancelScope() as self._starting:
            try:
                return await self.start_replica(goal)
            except StartFailed as error:
                await self._failed(error, attempt)
            except Unavailable as error:
                # The database is away, which is no failure of the worker.
                self._postponed = True
                self._not_before = self._host.clock() + 2.0
                log.warning("a worker has to wait", app_id=self.app_id, error=error.message)
            except KernelError as error:
                await self._failed(StartFailed(error.message, ()), attempt)
            except Exception as error:
                log.error("a worker cannot be started", app_id=self.app_id, exc_info=error)
                await self._failed(StartFailed("an unexpected error happened", ()), attempt)
            finally:
                self._starting = None
                # The code may have been fetched for this start.
                self._host.spawn(self.tidy)
        return None

    async def start_replica(self, release: Release) -> Replica:
        """Start a replica of a release and wait until it is up. Raises StartFailed, KernelError."""
        host = self._host
        spec = await self._builder.prepare(release)
        async with host.starts:
            replica = Replica(spec, host)
            self._made.add(replica)
            try:
                await replica.start(host.config.start_timeout)
            except StartFailed as error:
                host.write_log(self.app_id, "system", f"version {release.version}: {error.why}")
                raise
        host.spawn(self._wake_at_end, replica)
        host.write_log(self.app_id, "system", f"version {release.version} runs")
        return replica

    async def _wake_at_end(self, replica: Replica) -> None:
        await replica.wait_gone()
        self.wake()

    # Crashes

    async def _crashed(self, replica: Replica) -> None:
        self.replica = None
        message = f"the worker ended ({replica.ending()})"
        self._host.write_log(self.app_id, "system", message)
        log.warning("a worker crashed", app_id=self.app_id, ending=replica.ending())
        if self._host.clock() - self._came_up > 60.0:
            self._clear_failures()
        self._count()
        if self._goal is not None:
            await self._become(self._state_after_failure())

    async def _failed(self, error: StartFailed, attempt: int) -> None:
        """Record a failed start. A worker that hangs would hang again: it counts as crashed."""
        log.warning("a worker did not start", app_id=self.app_id, why=error.why)
        self._count(at_least=MAX_CRASHES if error.hung else 1)
        self._settled, self._failure = attempt, error
        if self.replica is None:
            await self._become(self._state_after_failure())
        self._notify_waiters()

    def _count(self, at_least: int = 1) -> None:
        """Count a crash: a start follows the first one at once, the next ones after longer waits.

        Failed starts count until one succeeds: a build may take longer than a minute to fail. A
        crashed worker is tried again until one runs for a minute; the waits grow to five minutes.
        """
        now = self._host.clock()
        self._crashes.append(now)
        since = min(now - 60.0, self._came_up)
        recent = sum(1 for at in self._crashes if at >= since)
        crashed = self._failures >= MAX_CRASHES
        self._failures = max(at_least, self._failures + 1 if crashed else recent)
        doubled = self._host.config.backoff * 2.0 ** min(self._failures - 2, 20)
        wait = 0.0 if self._failures == 1 else min(doubled, 300.0)
        self._not_before = now + wait
        if self._failures >= MAX_CRASHES:
            log.error("a worker crashes again and again", app_id=self.app_id, next_try_in=wait)
            message = f"crashed too often; the next try is in {wait:g} seconds"
            self._host.write_log(self.app_id, "system", message)

    def _state_after_failure(self) -> WorkerState:
        return "crashed" if self._failures >= MAX_CRASHES else "starting"

    async def _become(self, state: WorkerState) -> None:
        if state != self.state:
            self.state = state
            await self._host.announce(self.app_id, state)
        self._notify_waiters()

    def _notify_waiters(self) -> None:
        event, self._change_event = self._change_event, anyio.Event()
        event.set()
