"""The attempts to run the worker of one app."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import structlog

from kernel.public import KernelError, Unavailable
from plugins.workers.host import Host
from plugins.workers.models import Installation, Release
from plugins.workers.releases.builds import Builder
from plugins.workers.replica.replica import Replica, StartFailed

log = structlog.get_logger("caudex.workers")


class Starts:
    """Starts the replicas of one app, and knows all that may live.

    `on_end` is called when one of them has ended that was up.
    """

    def __init__(
        self, app: Installation, host: Host, builder: Builder, on_end: Callable[[], None]
    ) -> None:
        self._app = app
        self._host = host
        self._builder = builder
        self._on_end = on_end
        self._replicas: set[Replica] = set()
        """Those whose process may live, also when the task that was to end them was cancelled."""
        self._scope: anyio.CancelScope | None = None
        """The start under way, of those that `cancel` ends."""

    def list_replicas(self) -> list[Replica]:
        """Return every replica whose process may live, those that start or retire among them."""
        self._replicas = {one for one in self._replicas if one.attempt.state != "ended"}
        return list(self._replicas)

    async def start(self, release: Release) -> Replica:
        """Start a replica of a release and wait until it is up. Raises StartFailed, KernelError."""
        host = self._host
        spec = await self._builder.prepare(release)
        async with host.machine.starts:
            replica = Replica(spec, host)
            self._replicas.add(replica)
            try:
                await replica.start(host.config.start_timeout)
            except StartFailed as error:
                self._write_log(f"version {release.version}: {error.why}")
                raise
        host.background.spawn(self._report_end, replica)
        self._write_log(f"version {release.version} runs")
        return replica

    async def try_start(self, release: Release) -> Replica | None:
        """Start a replica. Returns None if that was cancelled.

        Raises StartFailed, and Unavailable where the database is away, which is no failure.
        """
        with anyio.CancelScope() as self._scope:
            try:
                return await self.start(release)
            except (StartFailed, Unavailable):
                raise
            except KernelError as error:
                raise StartFailed(error.message, ()) from error
            except Exception as error:
                log.error("a worker cannot be started", app_id=self._app.app_id, exc_info=error)
                raise StartFailed("an unexpected error happened", ()) from error
            finally:
                self._scope = None
                # The code may have been fetched for this start.
                self._host.background.spawn(self.tidy)
        return None

    def cancel(self) -> None:
        """Give up the start that `try_start` is at."""
        if self._scope is not None:
            self._scope.cancel()

    async def is_outdated(self, replica: Replica) -> bool:
        """Return whether secrets or ports changed while a replica started with the old ones."""
        try:
            return await self._builder.is_outdated(replica.spec)
        except KernelError:
            return False  # a change while the database is away is reported when it is back

    async def tidy(self) -> None:
        """Delete the code of versions that are old and do not run here."""
        running = [replica.release for replica in self.list_replicas()]
        await self._builder.tidy(self._app, running)

    async def _report_end(self, replica: Replica) -> None:
        await replica.attempt.wait_ended()
        self._replicas.discard(replica)
        self._on_end()

    def _write_log(self, message: str) -> None:
        self._host.logs.write(self._app.app_id, "system", message)
