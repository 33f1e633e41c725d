"""One actor for each app: starts, replaces and stops its worker in this server process."""

from __future__ import annotations

import math

import anyio
import structlog
from anyio import to_thread

from kernel.public import Unavailable, WorkerState
from plugins.workers.host import Host
from plugins.workers.models import DesiredState, Installation, Release
from plugins.workers.releases.builds import Builder
from plugins.workers.replica.replica import Replica, StartFailed, Waits

from .crashes import Crashes
from .goal import Changes, Goal
from .starts import Starts

log = structlog.get_logger("caudex.workers")


class Supervisor:
    """The worker of one app in this server process.

    It takes one step after the other, until what runs is what should run. Its state:

        stopped ── a release should run ──▶ starting ── an attempt is up ──▶ running
           ▲                                 │    ▲                           │ │ │
           │                                 │    └──────── it crashes ───────┘ │ │
           │                                 │ fails for the fifth time         │ │
           │                                 ▼                                  │ │
           │                              crashed ◀── crashes too often ────────┘ │
           │                                 └─────── a later attempt is up ──▶ running
           │                                                                      │
           └──── it has ended ──── stopping ◀───────── none should run ───────────┘

    Without a process it is `stopped` as soon as none should run. What an attempt is, and its own
    states, are in `replica/attempt.py`. While a replica is replaced the old one is still in
    service, so the worker stays `running`.
    """

    def __init__(self, app: Installation, host: Host, builder: Builder) -> None:
        self.app = app
        self.state: WorkerState = "stopped"
        self.replica: Replica | None = None
        """The replica in service."""
        self.is_leaving = False
        """Whether the app is uninstalled."""
        self._is_closing = False
        """Whether the server ends."""
        self._host = host
        self._goal = Goal()
        self._crashes = Crashes(host.config.backoff, host.clock)
        self._starts = Starts(app, host, builder, self.wake)
        self._candidate: Replica | None = None
        """A replica that is up, and is put into service with the next step."""
        self._wake_event = anyio.Event()
        self._changes = Changes()

    @property
    def app_id(self) -> str:
        """The name of the app."""
        return self.app.app_id

    @property
    def version(self) -> int | None:
        """The version that runs here, or should."""
        release = self._goal.release if self.replica is None else self.replica.release
        return None if release is None else release.version

    @property
    def usable(self) -> Replica | None:
        """The replica that takes calls, if there is one."""
        replica = self.replica
        return replica if replica is not None and replica.is_usable else None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left here of an app that is uninstalled."""
        return self._changes.are_over

    def list_replicas(self) -> list[Replica]:
        """Return every replica whose process may live, those that start or retire among them."""
        return self._starts.list_replicas()

    # Requests

    def set_desired(self, row: DesiredState) -> None:
        """Set what should run. A row that is older than the current one changes nothing."""
        if row.revision < self._goal.revision or self.is_leaving:
            return
        if row.revision > self._goal.revision:
            self._crashes.clear()
        self._set_goal(row.release, row.revision)

    def promote(self, candidate: Replica, revision: int) -> None:
        """Put a replica that is up into service, in place of the one that runs.

        The candidate is killed if a later request has come since.
        """
        if self.is_leaving or revision < self._goal.revision:
            self._host.background.spawn(candidate.kill)
            return
        if self._candidate is not None:
            self._host.background.spawn(self._candidate.kill)
        self._candidate = candidate
        self._crashes.clear()
        self._set_goal(candidate.release, revision)

    def remove(self) -> None:
        """Kill the worker of an app that is uninstalled, delete its files and end."""
        self.is_leaving = True
        for replica in self.list_replicas():
            replica.disown()
        self._set_goal(None, self._goal.revision)

    def restart(self) -> None:
        """Replace the process of a running worker."""
        if self.replica is not None:
            self._goal.needs_restart = True
            self.wake()

    def wake(self) -> None:
        """Run the next step now."""
        self._wake_event.set()

    def _set_goal(self, release: Release | None, revision: int) -> None:
        if release != self._goal.release:
            self._starts.cancel()
        self._goal.release = release
        self._goal.revision = revision
        self.wake()

    # What others wait for

    async def wait_settled(self, revision: int) -> StartFailed | None:
        """Wait until the worker of a request has come up (None) or failed to start."""
        await self._changes.wait_until(lambda: self._goal.is_settled(revision))
        return self._goal.failure

    async def wait_up(self) -> Replica | None:
        """Wait while a worker that should run is starting. Returns the one that takes calls."""
        await self._changes.wait_until(lambda: self.usable is not None or not self._is_starting())
        return self.usable

    async def wait_stopped(self) -> None:
        """Wait until nothing runs."""
        await self._changes.wait_until(lambda: self.state == "stopped")

    async def wait_over(self) -> None:
        """Wait until nothing is left of an app that is uninstalled."""
        await self._changes.wait_until(lambda: False)

    def _is_starting(self) -> bool:
        """Whether a start is under way or due; not after too many crashes."""
        return self._goal.release is not None and not self._is_closing and self.state != "crashed"

    # The actor

    async def run(self) -> None:
        """Bring what runs in line with what should run, until the app is removed."""
        while True:
            self._wake_event = anyio.Event()
            pause = await self._step_guarded()
            if self._is_closing:
                return
            if self.is_leaving and self.replica is None:
                break
            with anyio.move_on_after(math.inf if pause is None else pause):
                await self._wake_event.wait()
        await self._remove_rest()
        self._changes.end()

    async def _remove_rest(self) -> None:
        for replica in self.list_replicas():
            await replica.kill()
        try:
            await to_thread.run_sync(self._host.machine.remove_app, self.app)
        except Exception as error:  # the next start tries again
            log.error("files of an uninstalled app remain", app_id=self.app_id, exc_info=error)

    async def close(self, waits: Waits) -> None:
        """Stop for good, with the server."""
        self._is_closing = True
        self._changes.notify()
        self._starts.cancel()
        self.wake()
        if self._candidate is not None:
            await self._candidate.kill()
        if self.replica is not None:
            await self.replica.retire(waits)

    async def _step_guarded(self) -> float | None:
        try:
            return await self._step()
        except Exception as error:
            log.error("a supervisor failed", app_id=self.app_id, exc_info=error)
            return 1.0

    async def _step(self) -> float | None:
        """Take the next step. Returns the seconds until another is due, None for no limit."""
        if self._is_closing:
            return None
        await self._swap_candidate()
        if self.replica is not None and not self.replica.is_running and not self.is_leaving:
            await self._note_crash(self.replica)

        release = self._goal.release
        if release is None:
            await self._stop()
            return None
        if self.replica is None:
            return await self._start(release)
        if not self._goal.is_met_by(self.replica):
            return await self._replace(release)
        self._goal.settle(self._goal.revision)
        self._changes.notify()
        return None

    # Steps

    async def _swap_candidate(self) -> None:
        """Put the candidate into service; the old replica finishes its calls and retires."""
        candidate = self._candidate
        self._candidate = None
        if candidate is None:
            return
        if candidate.release != self._goal.release:
            await candidate.kill()
            return
        old = self.replica
        await self._put_in_service(candidate)
        if old is not None:
            self._retire(old)

    async def _start(self, release: Release) -> float:
        """Start a replica where none is in service, once the wait after a failure is over."""
        await self._become(self._find_state_without_replica())
        wait = self._crashes.wait
        if wait > 0:
            return wait
        replica = await self._bring_up(release)
        if isinstance(replica, Replica):
            await self._put_in_service(replica)
        return 0.0

    async def _replace(self, release: Release) -> float:
        """Start the new replica beside the old one.

        If that fails the old one still goes: it has another version, or an environment that must
        not be used any more.
        """
        old = self.replica
        needs_restart = self._goal.needs_restart
        self._goal.needs_restart = False
        new = await self._bring_up(release)
        if new is None or (isinstance(new, StartFailed) and self._goal.release != release):
            self._goal.needs_restart = needs_restart
            return max(0.0, self._crashes.wait)
        if isinstance(new, Replica):
            await self._put_in_service(new)
        else:
            self.replica = None
            await self._become(self._find_state_without_replica())
        if old is not None:
            self._retire(old)
        return 0.0

    async def _bring_up(self, release: Release) -> Replica | StartFailed | None:
        """Start a replica, or return why that failed.

        Returns None if the goal changed meanwhile, or if the start has to wait for the database.
        """
        revision = self._goal.revision
        try:
            return await self._starts.try_start(release)
        except StartFailed as error:
            await self._note_failed_start(error, revision)
            return error
        except Unavailable as error:
            self._crashes.postpone()
            log.warning("a worker has to wait", app_id=self.app_id, error=error.message)
            return None

    async def start_replica(self, release: Release) -> Replica:
        """Start a replica for `promote`. Raises StartFailed, KernelError."""
        return await self._starts.start(release)

    async def _put_in_service(self, replica: Replica) -> None:
        """Send calls to a replica that is up."""
        self.replica = replica
        self._goal.settle(self._goal.revision)
        self._goal.needs_restart = False
        self._crashes.note_start()
        await self._become("running")

        was_refreshing = self._goal.is_refreshing
        self._goal.is_refreshing = False
        if not was_refreshing and await self._starts.is_outdated(replica):
            self._goal.is_refreshing = True
            self._goal.needs_restart = True

    async def _stop(self) -> None:
        """End the replica in service, if there is one."""
        replica = self.replica
        revision = self._goal.revision
        if replica is not None:
            await self._become("stopping")
            if self.is_leaving:
                await replica.kill()
            else:
                config = self._host.config
                await replica.stop(Waits(shutdown=config.shutdown_wait, term=config.term_wait))
            self.replica = None
            await to_thread.run_sync(self._host.machine.tidy_memory, self.app)
        self._goal.settle(revision)
        self._goal.needs_restart = False
        await self._become("stopped")

    def _retire(self, replica: Replica) -> None:
        config = self._host.config
        waits = Waits(
            drain=config.rpc_timeout, shutdown=config.shutdown_wait, term=config.term_wait
        )
        self._host.background.spawn(replica.retire, waits)

    async def tidy(self) -> None:
        """Delete the code of versions that are old and do not run here."""
        await self._starts.tidy()

    # Failures

    async def _note_crash(self, replica: Replica) -> None:
        ending = replica.describe_end()
        self.replica = None
        self._write_log(f"the worker ended ({ending})")
        log.warning("a worker crashed", app_id=self.app_id, ending=ending)
        self._report_wait(self._crashes.note_crash())
        if self._goal.release is not None:
            await self._become(self._find_state_without_replica())

    async def _note_failed_start(self, error: StartFailed, revision: int) -> None:
        log.warning("a worker did not start", app_id=self.app_id, why=error.why)
        self._report_wait(self._crashes.note_failed_start(hung=error.hung))
        self._goal.settle(revision, error)
        if self.replica is None:
            await self._become(self._find_state_without_replica())
        self._changes.notify()

    def _report_wait(self, wait: float) -> None:
        if self._crashes.are_too_many:
            log.error("a worker crashes again and again", app_id=self.app_id, next_try_in=wait)
            self._write_log(f"crashed too often; the next try is in {wait:g} seconds")

    # The state

    def _find_state_without_replica(self) -> WorkerState:
        return "crashed" if self._crashes.are_too_many else "starting"

    async def _become(self, state: WorkerState) -> None:
        if state != self.state:
            self.state = state
            await self._host.states.announce(self.app_id, state)
        self._changes.notify()

    def _write_log(self, message: str) -> None:
        self._host.logs.write(self.app_id, "system", message)
