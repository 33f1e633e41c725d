"""Makes releases ready to run: unpacks, installs, and gathers what a worker is started from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import anyio
from anyio import to_thread
from msgspec.structs import replace

from kernel.public import APPS, HOOKS, Transaction, Unavailable, full_disk, hookspecs
from plugins.workers import store
from plugins.workers.child.process import Program
from plugins.workers.child.protocol import Hello
from plugins.workers.host import Host
from plugins.workers.models import Installation, Release
from plugins.workers.replica.replica import ReplicaSpec

from .environment import make_bounds, make_environment
from .folders import discard
from .installs import Install, Room
from .unpack import unpack


def digest_of(archive: Path) -> tuple[str, int]:
    """Return the SHA-256 and the size of a file."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


async def store_archive(tx: Transaction, release: Release, archive: Path) -> None:
    """Write an archive into the database."""
    with archive.open("rb") as file:
        position = 0
        while data := await to_thread.run_sync(file.read, 1_000_000):
            await store.add_chunk(tx, release, position, data)
            position += 1


class Builder:
    """Unpacks releases, installs their dependencies as the account of their app, and gathers the
    environment, secrets and limits that a start needs."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._machine = host.machine
        self._apps = host.services.get(APPS)
        self._hooks = host.services.get(HOOKS)

    # What a worker is started from

    async def prepare(self, release: Release) -> ReplicaSpec:
        """Return what to start, with the code in place. Raises KernelError."""
        app = await self._apps.app(release.app_id)
        if app.key != release.key:  # one of them is outdated; the next step finds out which
            raise Unavailable(f"app '{release.app_id}' is being installed again", retry_after=5)
        folder = self._machine.folders.locate_release(release)
        if not await to_thread.run_sync(folder.is_dir):
            await self._fetch(release)
        logins = self._host.logins
        hello = Hello(
            app_id=release.app_id,
            runtime_url=self._machine.runtime_url,
            credentials=await self._gather_secrets(release.app_id),
            database_url=None if logins is None else await logins.url(app),
        )
        ports = await self._find_ports(release.app_id)
        return await to_thread.run_sync(self._make_spec, release, hello, ports)

    async def is_outdated(self, spec: ReplicaSpec) -> bool:
        """Return whether secrets or ports changed since a start. Raises KernelError."""
        app_id = spec.release.app_id
        if await self._gather_secrets(app_id) != spec.hello.credentials:
            return True
        return await self._find_ports(app_id) != spec.ports

    async def _gather_secrets(self, app_id: str) -> dict[str, str]:
        secrets: dict[str, str] = {}
        for part in await self._hooks.gather(hookspecs.worker_environment, app_id=app_id):
            secrets.update(part)
        return secrets

    async def _find_ports(self, app_id: str) -> tuple[int, ...]:
        """Return the ports that the worker of an app may serve at. Raises NotFound."""
        allowed = await self._host.store.read_ports(app_id)
        if not allowed:  # as for most apps: their manifests are not read
            return ()
        ports = await self._host.ports.find_usable(app_id, allowed)
        return tuple(ports.usable)

    def _make_spec(self, release: Release, hello: Hello, ports: tuple[int, ...]) -> ReplicaSpec:
        machine = self._machine
        folder = machine.folders.locate_release(release)
        runtime, entry = machine.runtimes.find(folder)
        launch = runtime.launch(folder, entry)
        interpreter = launch.argv[0]
        uid = machine.sandbox.find_uid_for(interpreter, release.number)
        machine.folders.make_app(release.app, uid)

        bounds = make_bounds(machine, release, uid)
        place = machine.folders.make_place(release, folder)
        place = replace(place, ports=ports, cgroup=bounds.cgroup)
        program = Program(
            argv=machine.sandbox.wrap(launch.argv, release.number, place),
            environment={
                **launch.environment,
                **make_environment(machine, release, interpreter),
                "CAUDEX_RUNTIME_URL": machine.runtime_url,
            },
            folder=folder,
            variables=hello.credentials,
        )
        return ReplicaSpec(
            release=release,
            interpreter=interpreter,
            program=program,
            hello=hello,
            bounds=bounds,
            ports=ports,
        )

    # Builds

    async def build(self, release: Release, archive: Path) -> Path:
        """Build a release and return its folder. Raises BadRequest with the tool's last lines."""
        machine = self._machine
        async with machine.builds:
            uid = machine.sandbox.find_uid(release.number)
            await to_thread.run_sync(machine.folders.make_app, release.app, uid)
            folder = await to_thread.run_sync(machine.folders.make_staging, release.app)
            try:
                with full_disk():
                    await self._fill(release, folder, archive)
                    return await to_thread.run_sync(machine.folders.publish, folder, release)
            finally:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(discard, folder)

    async def _fill(self, release: Release, folder: Path, archive: Path) -> None:
        """Unpack an archive into a folder, and install its dependencies there."""
        await to_thread.run_sync(unpack, archive, folder)
        uid = self._machine.sandbox.find_uid(release.number)
        room = Room(self._host, release, uid)
        await room.check()
        commands = await to_thread.run_sync(self._plan_install, folder)
        if commands:
            await Install(self._host, release, folder, room).run(commands)

    def _plan_install(self, folder: Path) -> Sequence[Sequence[str]]:
        runtime, entry = self._machine.runtimes.find(folder)
        runtime.launch(folder, entry)  # raises where this server cannot run it
        return runtime.installs(folder)

    async def _fetch(self, release: Release) -> None:
        """Build a version that another server deployed. Raises Unavailable if it is not whole."""
        archive = self._machine.folders.locate_upload()
        digest = hashlib.sha256()
        position = 0
        try:
            with full_disk(), archive.open("xb") as file:
                while (data := await self._host.store.read_chunk(release, position)) is not None:
                    digest.update(data)
                    await to_thread.run_sync(file.write, data)
                    position += 1
            if digest.hexdigest() != release.digest:
                raise Unavailable("the archive of this version is not whole in the database")
            await self.build(release, archive)
        finally:
            archive.unlink(missing_ok=True)

    async def tidy(self, app: Installation, running: Iterable[Release]) -> None:
        """Delete the code of old versions.

        Versions that run here stay, and so do newer ones: another process may be about to use them.
        """
        folders = self._machine.folders
        try:
            releases = await self._host.store.read_releases(app.app_id)
        except Unavailable:
            return  # the next start or deploy does it
        spared = {folders.locate_release(release) for release in (*releases, *running)}
        newest = max((release.version for release in releases), default=0)
        oldest = newest - store.KEPT + 1
        await to_thread.run_sync(folders.remove_old, app, spared, oldest)
