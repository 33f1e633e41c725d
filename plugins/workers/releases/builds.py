"""Archives in the database, and the folders that are built from them."""

from __future__ import annotations

import hashlib
import signal
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from kernel.public import BadRequest, LogLevel, Transaction, Unavailable
from plugins.workers import store
from plugins.workers.host import Host
from plugins.workers.isolation.orphans import REPLICA_VARIABLE
from plugins.workers.isolation.sandbox import Place
from plugins.workers.models import Release
from plugins.workers.replica.process import Child
from plugins.workers.replica.protocol import text_of
from plugins.workers.store import WorkersStore

from .folders import discard, fill, full_disk, give_to_account, reclaim

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


async def fetch_archive(chunks: WorkersStore, release: Release, archive: Path) -> None:
    """Write an archive from the database into a new file. Raises Unavailable if it is not whole."""
    found, position = hashlib.sha256(), 0
    with full_disk(), archive.open("xb") as file:
        while (data := await chunks.chunk(release, position)) is not None:
            found.update(data)
            await to_thread.run_sync(file.write, data)
            position += 1
    if found.hexdigest() != release.digest:
        raise Unavailable("the archive of this version is not whole in the database")


class Builder:
    """Unpacks releases, and installs their dependencies as the account of their app."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def build(self, release: Release, archive: Path) -> Path:
        """Build a release and return its folder. Raises BadRequest with the tool's last lines."""
        host = self._host
        async with host.builds:
            uid = host.sandbox.uid(release.number)
            await to_thread.run_sync(host.folders.make_app, release, uid)
            async with self._staging(release) as folder:
                await to_thread.run_sync(fill, folder, archive)
                commands = await to_thread.run_sync(self._plan, folder)
                if commands:
                    uid = host.sandbox.uid_for(commands[0][0], release.number)
                    await to_thread.run_sync(host.folders.make_app, release, uid)
                    await to_thread.run_sync(give_to_account, folder, uid)
                for command in commands:
                    await self._install(release, folder, command)
                if commands:
                    await to_thread.run_sync(reclaim, folder, uid)
                with full_disk():
                    return await to_thread.run_sync(host.folders.publish, folder, release)

    @asynccontextmanager
    async def _staging(self, release: Release) -> AsyncGenerator[Path]:
        folder = await to_thread.run_sync(self._host.folders.staging, release)
        try:
            yield folder
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(discard, folder)

    def _plan(self, folder: Path) -> Sequence[Sequence[str]]:
        runtime, entry = self._host.runtimes.find(folder)
        runtime.launch(folder, entry)  # raises where this server cannot run it
        return runtime.installs(folder)

    async def _install(self, release: Release, folder: Path, command: Sequence[str]) -> None:
        host = self._host
        name = Path(command[0]).name
        shown = "pip" if "pip" in command[1:4] else name
        environment = self.environment(release, command[0])
        environment.update(host.config.install_environment)
        place = host.folders.place(release, folder)
        place = Place(readable=place.readable, writable=(*place.writable, folder))
        wrapped = await to_thread.run_sync(host.sandbox.command, command, release.number, place)
        tool = _Tool(host, release.app_id)
        host.write_log(release.app_id, "system", f"installing dependencies with {shown}")
        status = await tool.run(wrapped, environment, folder, host.config.install_timeout)
        if status != 0:
            how = "took too long" if status is None else "failed"
            raise BadRequest("\n".join([f"{shown} {how}:", *tool.tail]))

    def environment(self, release: Release, program: str) -> dict[str, str]:
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


class _Tool:
    """Runs a command and keeps its last lines."""

    def __init__(self, host: Host, app_id: str) -> None:
        self._host = host
        self._app_id = app_id
        self.tail: deque[str] = deque(maxlen=20)

    async def run(
        self, argv: Sequence[str], environment: Mapping[str, str], folder: Path, seconds: float
    ) -> int | None:
        """Run it and return its exit status, None when it took too long."""
        child = await Child.spawn(self, argv, environment, folder)
        try:
            child.close_input()
            return child.status if await child.exits_within(seconds) else None
        finally:
            with anyio.CancelScope(shield=True):
                child.signal(signal.SIGKILL)
                await child.exits_within(5)

    def on_line(self, line: bytes) -> None:
        """See `Listener`."""
        self.on_noise("stdout", text_of(line))

    def on_noise(self, level: LogLevel, text: str) -> None:
        """See `Listener`."""
        if text.strip():
            self.tail.append(text[:400])
        self._host.write_log(self._app_id, level, text)

    def on_unreadable(self, ids: list[str], why: str) -> None:
        """See `Listener`."""

    def on_gone(self) -> None:
        """See `Listener`."""
