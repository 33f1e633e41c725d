"""From an archive to a folder that a worker can be started in."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from kernel.public import BadRequest, LogLevel, Runtime
from plugins.workers.config import WorkersConfig
from plugins.workers.isolation.orphans import REPLICA_VARIABLE
from plugins.workers.isolation.sandbox import Place, Sandbox
from plugins.workers.models import Release
from plugins.workers.replica.process import Child, text_of
from plugins.workers.runtimes import Runtimes

from .folders import Folders, discard, fill, full_disk, give_to_account, reclaim

TAIL: Final = 20
TAIL_WIDTH: Final = 400
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

WriteLog = Callable[[LogLevel, str], None]


class Builder:
    """Unpacks releases and installs what they need, as the account of their app."""

    def __init__(
        self,
        config: WorkersConfig,
        folders: Folders,
        runtimes: Runtimes,
        sandbox: Sandbox,
        server: str,
    ) -> None:
        self._server = server
        self._config = config
        self._folders = folders
        self._runtimes = runtimes
        self._sandbox = sandbox
        self._turns = anyio.CapacityLimiter(4)

    async def build(self, release: Release, archive: Path, write_log: WriteLog) -> Path:
        """Build a release and return its folder. Raises BadRequest with the tool's last lines."""
        async with self._turns:
            uid = self._sandbox.uid(release.number)
            await to_thread.run_sync(self._folders.make_app, release, uid)
            async with self._staging(release) as folder:
                await to_thread.run_sync(fill, folder, archive)
                commands = await to_thread.run_sync(self._plan, folder)
                if commands:
                    uid = self._sandbox.uid_for(commands[0][0], release.number)
                    await to_thread.run_sync(self._folders.make_app, release, uid)
                    await to_thread.run_sync(give_to_account, folder, uid)
                for command in commands:
                    await self._install(release, folder, command, write_log)
                if commands:
                    await to_thread.run_sync(reclaim, folder, uid)
                with full_disk():
                    return await to_thread.run_sync(self._folders.publish, folder, release)

    @asynccontextmanager
    async def _staging(self, release: Release) -> AsyncGenerator[Path]:
        folder = await to_thread.run_sync(self._folders.staging, release)
        try:
            yield folder
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(discard, folder)

    def _plan(self, folder: Path) -> Sequence[Sequence[str]]:
        runtime, entry = self._runtimes.find(folder)
        runtime.launch(folder, entry)  # raises where this server cannot run it
        return runtime.installs(folder)

    async def _install(
        self, release: Release, folder: Path, command: Sequence[str], write_log: WriteLog
    ) -> None:
        name = Path(command[0]).name
        shown = "pip" if "pip" in command[1:4] else name
        environment = self.environment(release, command[0])
        environment.update(self._config.install_environment)
        place = self._folders.place(release, folder)
        place = Place(readable=place.readable, writable=(*place.writable, folder))
        wrapped = await to_thread.run_sync(self._sandbox.command, command, release.number, place)
        tool = _Tool(write_log)
        write_log("system", f"installing dependencies with {shown}")
        status = await tool.run(wrapped, environment, folder, self._config.install_timeout)
        if status != 0:
            how = "took too long" if status is None else "failed"
            raise BadRequest("\n".join([f"{shown} {how}:", *tool.tail]))

    def environment(self, release: Release, program: str) -> dict[str, str]:
        """What every process of an app finds in its environment: nothing of ours."""
        beside = str(Path(program).parent)
        path = SYSTEM_PATH if beside in SYSTEM_PATH.split(":") else f"{beside}:{SYSTEM_PATH}"
        return {
            "PATH": path,
            "HOME": str(self._folders.home(release)),
            "TMPDIR": str(self._folders.tmp(release)),
            "LANG": "C.UTF-8",
            "CAUDEX_APP_ID": release.app_id,
            REPLICA_VARIABLE: self._server,
        }

    def runtime_of(self, folder: Path) -> tuple[Runtime, Path]:
        """The runtime and entry file of a release. Raises BadRequest."""
        return self._runtimes.find(folder)


class _Tool:
    """A command whose last lines are kept."""

    def __init__(self, write_log: WriteLog) -> None:
        self._write_log = write_log
        self.tail: deque[str] = deque(maxlen=TAIL)

    async def run(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        seconds: float,
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
            self.tail.append(text[:TAIL_WIDTH])
        self._write_log(level, text)

    def on_unreadable(self, ids: list[str], why: str) -> None:
        """See `Listener`."""

    def on_gone(self) -> None:
        """See `Listener`."""
