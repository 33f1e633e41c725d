"""Gathers what a worker needs before it can start: code, environment, secrets and limits."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakSet

import anyio
from anyio import to_thread

from kernel.public import APPS, HOOKS, Unavailable, hookspecs
from plugins.workers.host import Host
from plugins.workers.models import Release
from plugins.workers.releases.builds import Builder, fetch_archive
from plugins.workers.releases.folders import discard
from plugins.workers.store import KEPT

from .protocol import Hello
from .replica import Replica, ReplicaSpec


class LaunchSpecs:
    """Makes launch specs, and knows every replica that was made from one."""

    def __init__(self, host: Host, builder: Builder) -> None:
        self._host = host
        self._builder = builder
        self._made: WeakSet[Replica] = WeakSet()
        """A live process holds its replica, so none that still runs is missing here."""

    async def prepare(self, release: Release) -> ReplicaSpec:
        """Return what to start, with the code in place. Raises KernelError."""
        folders = self._host.folders
        app = await self._host.services.get(APPS).app(release.app_id)
        if app.key != release.key:  # one of them is outdated; the next step finds out which
            raise Unavailable(f"app '{release.app_id}' is being installed again", retry_after=5)
        folder = folders.release(release)
        await to_thread.run_sync(folders.clear, release)
        if not await to_thread.run_sync(folder.is_dir):
            await self._fetch(release)
        hello = Hello(
            app_id=release.app_id,
            runtime_url=self._host.runtime_url,
            credentials=await self._secrets(release.app_id),
            database_url=await logins.url(app) if (logins := self._host.logins) else None,
        )
        return await to_thread.run_sync(self._spec, release, folder, hello)

    async def is_outdated(self, spec: ReplicaSpec) -> bool:
        """Return whether the secrets changed since a worker was started. Raises KernelError."""
        return await self._secrets(spec.release.app_id) != spec.hello.credentials

    def make(self, spec: ReplicaSpec) -> Replica:
        """Make a replica; the caller starts it."""
        replica = Replica(spec, self._host)
        self._made.add(replica)
        return replica

    def of(self, app_id: str, number: int) -> list[Replica]:
        """Return every replica of an app whose process may live, also one that retires.

        A later app of the same name has another number.
        """
        wanted = (app_id, number)
        made = list(self._made)
        return [each for each in made if (each.release.app_id, each.release.number) == wanted]

    async def tidy(self, app_id: str) -> None:
        """Delete the code of old versions.

        Versions that run here stay, and so do newer ones: another process may be about to use them.
        """
        try:
            releases = await self._host.store.releases(app_id)
        except Unavailable:
            return  # the next start or deploy does it
        names = {release.folder for release in releases}
        for number in {release.number for release in releases}:
            running = (each for each in self.of(app_id, number) if not each.gone)
            names.update(replica.release.folder for replica in running)
        oldest = max((release.version for release in releases), default=0) - KEPT + 1
        await to_thread.run_sync(self._host.folders.keep, app_id, names, oldest)

    async def kill_all(self) -> None:
        """End every process that is left, also when the task that was to end it was cancelled."""
        async with anyio.create_task_group() as killing:
            for replica in list(self._made):
                killing.start_soon(replica.kill)

    async def _secrets(self, app_id: str) -> dict[str, str]:
        found: dict[str, str] = {}
        bus = self._host.services.get(HOOKS)
        for more in await bus.gather(hookspecs.worker_environment, app_id=app_id):
            found.update(more)
        return found

    async def _fetch(self, release: Release) -> None:
        """Build a version that another server deployed."""
        archive = self._host.folders.upload()
        try:
            await fetch_archive(self._host.store, release, archive)
            await self._builder.build(release, archive)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(discard, archive)

    def _spec(self, release: Release, folder: Path, hello: Hello) -> ReplicaSpec:
        host = self._host
        runtime, entry = host.runtimes.find(folder)
        launch = runtime.launch(folder, entry)
        program = launch.argv[0]
        uid = host.sandbox.uid_for(program, release.number)
        host.folders.make_app(release, uid)
        place = host.folders.place(release, folder)
        return ReplicaSpec(
            release=release,
            program=program,
            argv=host.sandbox.command(launch.argv, release.number, place),
            environment={
                **launch.environment,
                **self._builder.environment(release, program),
                "CAUDEX_RUNTIME_URL": host.runtime_url,
            },
            folder=folder,
            hello=hello,
            uid=uid,
        )
