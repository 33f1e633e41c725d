"""All that a worker needs before it can be started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from weakref import WeakSet

import anyio
import structlog
from anyio import to_thread

from kernel.public import APPS, HOOKS, LOGS, LogLevel, Services, Unavailable, hookspecs
from plugins.workers.isolation.sandbox import Sandbox
from plugins.workers.logins import Logins
from plugins.workers.models import Release
from plugins.workers.releases.archive_chunks import write_archive
from plugins.workers.releases.builds import Builder
from plugins.workers.releases.folders import Folders, discard
from plugins.workers.store import KEPT, WorkersStore

from .protocol import Hello
from .replica import Replica, ReplicaSpec, Spawn

log = structlog.get_logger("caudex.workers")


class LaunchSpecs:
    """Gathers code, environment, secrets and limits of a release."""

    def __init__(
        self,
        services: Services,
        store: WorkersStore,
        logins: Logins,
        folders: Folders,
        sandbox: Sandbox,
        builder: Builder,
        runtime_url: str,
    ) -> None:
        self._services = services
        self._store = store
        self._logins = logins
        self._folders = folders
        self._sandbox = sandbox
        self._builder = builder
        self._runtime_url = runtime_url
        self._made: WeakSet[Replica] = WeakSet()
        """Every replica whose process lives is among them: the process holds it."""

    async def prepare(self, release: Release) -> ReplicaSpec:
        """Return what to start, with the code in place. Raises KernelError."""
        app = await self._services.get(APPS).app(release.app_id)
        if app.born != release.born:  # either is old news, and the next look finds out
            raise Unavailable(f"app '{release.app_id}' is being installed anew", retry_after=5)
        folder = self._folders.release(release)
        await to_thread.run_sync(self._folders.clear, release)
        if not await to_thread.run_sync(folder.is_dir):
            await self._fetch(release)
        hello = Hello(
            app_id=release.app_id,
            runtime_url=self._runtime_url,
            credentials=await self._secrets(release.app_id),
            database_url=await self._logins.url(app, release.number),
        )
        return await to_thread.run_sync(self._spec, release, folder, hello)

    async def is_outdated(self, spec: ReplicaSpec) -> bool:
        """Whether the secrets are others than a worker was started with. Raises KernelError."""
        return await self._secrets(spec.release.app_id) != spec.hello.credentials

    def make(self, spec: ReplicaSpec, spawn: Spawn, on_gone: Callable[[], None]) -> Replica:
        """Make a replica, which is yet to be started."""
        write_log = self.log_of(spec.release.app_id)
        replica = Replica(spec, self._services, spawn, write_log, on_gone)
        self._made.add(replica)
        return replica

    def of(self, app_id: str, number: int) -> list[Replica]:
        """Every replica of an app whose process may live, those that retire among them. A later app
        of its name has another number."""
        wanted = (app_id, number)
        made = list(self._made)
        return [each for each in made if (each.release.app_id, each.release.number) == wanted]

    async def tidy(self, app_id: str) -> None:
        """Remove the code of versions that are kept no more, but never what runs here, nor what
        another process may be about to put into service."""
        try:
            releases = await self._store.releases(app_id)
        except Unavailable:
            return  # the next start or deploy does it
        names = {release.folder for release in releases}
        for number in {release.number for release in releases}:
            running = (each for each in self.of(app_id, number) if not each.gone)
            names.update(replica.release.folder for replica in running)
        oldest = max((release.version for release in releases), default=0) - KEPT + 1
        await to_thread.run_sync(self._folders.keep, app_id, names, oldest)

    async def kill_all(self) -> None:
        """End every process that is left, whoever was to do it and was cancelled."""
        async with anyio.create_task_group() as killing:
            for replica in list(self._made):
                killing.start_soon(replica.kill)

    def log_of(self, app_id: str) -> Callable[[LogLevel, str], None]:
        """What writes into an app's log."""
        return lambda level, message: self.write_log(app_id, level, message)

    def write_log(self, app_id: str, level: LogLevel, message: str) -> None:
        """Write a line into an app's log, where the server keeps one."""
        if (logs := self._services.find(LOGS)) is not None:
            logs.write(app_id, level, message)
        else:
            log.debug("a worker said", app_id=app_id, kind=level, message=message[:1000])

    async def _secrets(self, app_id: str) -> dict[str, str]:
        found: dict[str, str] = {}
        bus = self._services.get(HOOKS)
        for more in await bus.gather(hookspecs.worker_environment, app_id=app_id):
            found.update(more)
        return found

    async def _fetch(self, release: Release) -> None:
        """Bring code that another server deployed."""
        archive = self._folders.upload()
        try:
            await write_archive(self._store, release, archive)
            await self._builder.build(release, archive, self.log_of(release.app_id))
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(discard, archive)

    def _spec(self, release: Release, folder: Path, hello: Hello) -> ReplicaSpec:
        runtime, entry = self._builder.runtime_of(folder)
        launch = runtime.launch(folder, entry)
        program = launch.argv[0]
        uid = self._sandbox.uid_for(program, release.number)
        self._folders.make_app(release, uid)
        place = self._folders.place(release, folder)
        return ReplicaSpec(
            release=release,
            program=program,
            argv=self._sandbox.command(launch.argv, release.number, place),
            environment={
                **launch.environment,
                **self._builder.environment(release, program),
                "CAUDEX_RUNTIME_URL": self._runtime_url,
            },
            folder=folder,
            hello=hello,
            uid=uid,
        )
