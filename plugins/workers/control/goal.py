"""What the worker of an app should be in this server process, and whether it is."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from plugins.workers.models import Release
from plugins.workers.replica.replica import Replica, StartFailed


class Changes:
    """Wakes those who wait for a condition whenever something changed that it may depend on."""

    def __init__(self) -> None:
        self.are_over = False
        """Whether nothing changes any more: nothing is left of an app that is uninstalled."""
        self._event = anyio.Event()

    def notify(self) -> None:
        """Have each waiting task check its condition."""
        event = self._event
        self._event = anyio.Event()
        event.set()

    def end(self) -> None:
        """Let all waiting tasks go on, whatever their conditions are."""
        self.are_over = True
        self.notify()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, or until the end."""
        while not self.are_over and not condition():
            await self._event.wait()


class Goal:
    """What should run, by the latest request to start, stop or deploy.

    The table numbers the requests of an app (`revision`). One is settled once its worker runs, has
    failed to start, or has stopped.
    """

    def __init__(self) -> None:
        self.release: Release | None = None
        """None where no worker should run."""
        self.revision = 0
        """The number of the latest request."""
        self.needs_restart = False
        """Whether the process that runs must be replaced even if its release is the right one."""
        self.is_refreshing = False
        """Whether newer secrets caused the start under way: one such start is enough."""
        self.failure: StartFailed | None = None
        """Why the last request that was settled has failed, if it has."""
        self._settled = -1

    def is_met_by(self, replica: Replica) -> bool:
        """Whether a replica is what should run."""
        return not self.needs_restart and replica.release == self.release

    def is_settled(self, revision: int) -> bool:
        """Whether a request, or a later one, has succeeded or failed."""
        return self._settled >= revision

    def settle(self, revision: int, failure: StartFailed | None = None) -> None:
        """Take note that a request has succeeded, or why it has failed."""
        self._settled = revision
        self.failure = failure
