"""Makes releases ready to run: unpacks, installs, and gathers what a worker is started from."""

from __future__ import annotations

import hashlib
import signal
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from msgspec.structs import replace

from kernel.public import (
    APPS,
    HOOKS,
    BadRequest,
    LogLevel,
    Transaction,
    Unavailable,
    hookspecs,
    open_plain_file,
)
from plugins.workers import store
from plugins.workers.host import Host
from plugins.workers.isolation.orphans import REPLICA_VARIABLE
from plugins.workers.models import Release
from plugins.workers.replica.listener import Listener
from plugins.workers.replica.process import Bounds, Child
from plugins.workers.replica.protocol import Hello
from plugins.workers.replica.replica import ReplicaSpec

from .folders import discard, full_disk
from .ownership import give_to_account, reclaim
from .unpack import unpack

LOCKS: Final = ("bun.lock", "bun.lockb", "package-lock.json", "npm-shrinkwrap.json")
LOOK_SECONDS: Final = 1.0
"""An install is measured so often: the disk of most machines takes 1 GB meanwhile, at most."""
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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
        self._apps = host.services.get(APPS)
        self._hooks = host.services.get(HOOKS)

    async def prepare(self, release: Release) -> ReplicaSpec:
        """Return what to start, with the code in place. Raises KernelError."""
        app = await self._apps.app(release.app_id)
        if app.key != release.key:  # one of them is outdated; the next step finds out which
            raise Unavailable(f"app '{release.app_id}' is being installed again", retry_after=5)
        if not await to_thread.run_sync(self._host.folders.release(release).is_dir):
            await self._fetch(release)
        hello = Hello(
            app_id=release.app_id,
            runtime_url=self._host.runtime_url,
            credentials=await self._secrets(release.app_id),
            database_url=await logins.url(app) if (logins := self._host.logins) else None,
        )
        ports = await self._ports(release.app_id)
        return await to_thread.run_sync(self._spec, release, hello, ports)

    async def is_outdated(self, spec: ReplicaSpec) -> bool:
        """Return whether secrets or ports changed since a start. Raises KernelError."""
        app_id = spec.release.app_id
        if await self._secrets(app_id) != spec.hello.credentials:
            return True
        return await self._ports(app_id) != spec.ports

    async def tidy(self, app_id: str, key: int, running: Iterable[Release]) -> None:
        """Delete the code of old versions.

        Versions that run here stay, and so do newer ones: another process may be about to use them.
        """
        folders = self._host.folders
        try:
            releases = await self._host.store.releases(app_id)
        except Unavailable:
            return  # the next start or deploy does it
        kept = {folders.release(each) for each in (*releases, *running)}
        oldest = max((release.version for release in releases), default=0) - store.KEPT + 1
        await to_thread.run_sync(folders.keep, folders.app(app_id, key), kept, oldest)

    async def _secrets(self, app_id: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for more in await self._hooks.gather(hookspecs.worker_environment, app_id=app_id):
            found.update(more)
        return found

    async def _ports(self, app_id: str) -> tuple[int, ...]:
        """Return the ports that the worker of an app may serve at. Raises NotFound."""
        allowed = await self._host.store.ports(app_id)
        if not allowed:  # as for most apps: their manifests are not read
            return ()
        return tuple((await self._host.ports.among(app_id, allowed)).usable)

    async def _fetch(self, release: Release) -> None:
        """Build a version that another server deployed. Raises Unavailable if it is not whole."""
        archive, found, position = self._host.folders.upload(), hashlib.sha256(), 0
        try:
            with full_disk(), archive.open("xb") as file:
                while (data := await self._host.store.chunk(release, position)) is not None:
                    found.update(data)
                    await to_thread.run_sync(file.write, data)
                    position += 1
            if found.hexdigest() != release.digest:
                raise Unavailable("the archive of this version is not whole in the database")
            await self.build(release, archive)
        finally:
            archive.unlink(missing_ok=True)

    def _spec(self, release: Release, hello: Hello, ports: tuple[int, ...]) -> ReplicaSpec:
        host = self._host
        folder = host.folders.release(release)
        runtime, entry = host.runtimes.find(folder)
        launch = runtime.launch(folder, entry)
        program = launch.argv[0]
        uid = host.sandbox.uid_for(program, release.number)
        host.folders.make_app(release, uid)
        bounds = self._bounds(release, uid)
        place = host.folders.place(release, folder)
        place = replace(place, ports=ports, cgroup=bounds.cgroup)
        return ReplicaSpec(
            release=release,
            argv=host.sandbox.command(launch.argv, release.number, place),
            environment={
                **launch.environment,
                **self._environment(release, program),
                "CAUDEX_RUNTIME_URL": host.runtime_url,
            },
            program=program,
            folder=folder,
            hello=hello,
            bounds=bounds,
            ports=ports,
        )

    def _bounds(self, release: Release, uid: int | None) -> Bounds:
        """Make what finds the processes of an app. Raises Unavailable."""
        host = self._host
        owner = f"{release.app_id}.{release.key}"
        try:
            groups = host.cgroups
            cgroup = "" if groups is None else groups.make(owner)
        except OSError as error:
            raise Unavailable(f"no cgroup can be made: {error.strerror}") from None
        return Bounds(uid, cgroup, host.folders.servers, owner)

    async def build(self, release: Release, archive: Path) -> Path:
        """Build a release and return its folder. Raises BadRequest with the tool's last lines."""
        host = self._host
        async with host.builds:
            uid = host.sandbox.uid(release.number)
            await to_thread.run_sync(host.folders.make_app, release, uid)
            folder = await to_thread.run_sync(host.folders.staging, release)
            try:
                with full_disk():
                    await self._fill(release, folder, archive)
                    return await to_thread.run_sync(host.folders.publish, folder, release)
            finally:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(discard, folder)

    async def _fill(self, release: Release, folder: Path, archive: Path) -> None:
        host = self._host
        await to_thread.run_sync(unpack, archive, folder)
        uid = host.sandbox.uid(release.number)
        room = _Room(host, release, uid)
        await room.check()
        commands = await to_thread.run_sync(self._plan, folder)
        if not commands:
            return
        uid = host.sandbox.uid_for(commands[0][0], release.number)
        await to_thread.run_sync(host.folders.make_app, release, uid)
        await to_thread.run_sync(give_to_account, folder, uid)
        failure: str | None = ""
        before = await to_thread.run_sync(_locks, folder)
        for command in commands:
            if failure is not None:
                failure = await self._install(release, folder, command, room)
        if failure is not None:
            raise BadRequest(failure)
        for name, _ in before - await to_thread.run_sync(_locks, folder):
            said = f"{name} did not fit package.json: versions were chosen again"
            host.write_log(release.app_id, "system", said)
        await room.check()
        await to_thread.run_sync(reclaim, folder, uid)

    def _plan(self, folder: Path) -> Sequence[Sequence[str]]:
        runtime, entry = self._host.runtimes.find(folder)
        runtime.launch(folder, entry)  # raises where this server cannot run it
        return runtime.installs(folder)

    async def _install(
        self, release: Release, folder: Path, command: Sequence[str], room: _Room
    ) -> str | None:
        """Run one command and return why it failed, with the tool's last lines.

        Raises BadRequest where it takes too much of the disk.
        """
        host = self._host
        name = Path(command[0]).name
        shown = "pip" if "pip" in command[1:4] else name
        environment = self._environment(release, command[0])
        environment.update(host.config.install_environment)
        place = host.folders.place(release, folder)
        uid = await to_thread.run_sync(host.sandbox.uid_for, command[0], release.number)
        bounds = await to_thread.run_sync(self._bounds, release, uid)
        place = replace(place, writable=(*place.writable, folder), cgroup=bounds.cgroup)
        wrapped = await to_thread.run_sync(host.sandbox.command, command, release.number, place)
        tool = _Tool(host, release.app_id, bounds, room)
        verb = f" {command[1]}" if name == "npm" else ""
        host.write_log(release.app_id, "system", f"installing dependencies with {shown}{verb}")
        status = await tool.run(wrapped, environment, folder)
        if status == 0:
            return None
        how = "took too long" if status is None else "failed"
        host.write_log(release.app_id, "system", f"{shown}{verb} {how}")
        return "\n".join([f"{shown} {how}:", *tool.tail])

    def _environment(self, release: Release, program: str) -> dict[str, str]:
        """Return the environment of every process of an app; it has nothing of the server's."""
        beside = str(Path(program).parent)
        path = SYSTEM_PATH if beside in SYSTEM_PATH.split(":") else f"{beside}:{SYSTEM_PATH}"
        return {
            "PATH": path,
            "HOME": str(self._host.folders.home(release)),
            "TMPDIR": str(self._host.folders.tmp(release)),
            "LANG": "C.UTF-8",
            "CAUDEX_APP_ID": release.app_id,
            REPLICA_VARIABLE: self._host.server_name,
        }


def _locks(folder: Path) -> set[tuple[str, bytes]]:
    """Return the lock files of JavaScript packages, each with its digest.

    They are large where a package has many others, so none is read as a whole.
    """
    digests = set[tuple[str, bytes]]()
    for name in LOCKS:
        with suppress(FileNotFoundError, BadRequest), open_plain_file(folder / name) as file:
            digests.add((name, hashlib.file_digest(file, "sha256").digest()))
    return digests


class _Room:
    """The disk that an app may use, while a version of it is built."""

    def __init__(self, host: Host, release: Release, uid: int | None) -> None:
        self._host = host
        self._app = host.folders.app(release.app_id, release.key)
        self._app_id = release.app_id
        self._uid = uid

    async def check(self) -> None:
        """Raise BadRequest where the app has too much, and write it into the app's log."""
        find_excess = self._host.disk.find_excess
        excess = await to_thread.run_sync(find_excess, self._app, self._uid)
        if excess is not None:
            kept = await self._find_in_service()
            excess = await to_thread.run_sync(find_excess, self._app, self._uid, kept)
        if excess is not None:
            self._host.write_log(self._app_id, "system", f"{excess}: the deploy is ended")
            raise BadRequest(f"{excess}: the deploy is ended")

    async def _find_in_service(self) -> list[Path]:
        """Return the folder of the version in service, if there is one."""
        rows = await self._host.store.desired([self._app_id])
        return [self._host.folders.release(row.release) for row in rows if row.release is not None]


class _Tool(Listener):
    """Runs a command and keeps its last lines."""

    def __init__(self, host: Host, app_id: str, bounds: Bounds, room: _Room) -> None:
        self._bounds = bounds
        self._host = host
        self._app_id = app_id
        self._room = room
        self.tail: deque[str] = deque(maxlen=20)

    async def run(
        self, argv: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> int | None:
        """Run it and return its exit status, None when it took too long.

        Raises BadRequest where the disk that its app may use is full before it ends.
        """
        child = await Child.spawn(self, argv, environment, folder, self._bounds)
        try:
            child.close_input()
            with anyio.move_on_after(self._host.config.install_timeout):
                while not await child.exits_within(LOOK_SECONDS):
                    await self._room.check()
            return child.status if child.gone.is_set() else None
        finally:
            with anyio.CancelScope(shield=True):
                child.signal(signal.SIGKILL)
                await child.exits_within(5)

    def on_noise(self, level: LogLevel, text: str) -> None:
        """See `Listener`."""
        if text.strip():
            self.tail.append(text[:400])
        self._host.write_log(self._app_id, level, text)
