"""Installs the dependencies of a release, as the account of its app."""

from __future__ import annotations

import hashlib
import signal
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from msgspec.structs import replace

from kernel.public import BadRequest, LogLevel, open_plain_file
from plugins.workers.child.listener import Listener
from plugins.workers.child.process import Bounds, Child, Program
from plugins.workers.host import Host
from plugins.workers.models import Release

from .environment import make_bounds, make_environment
from .ownership import give_to_account, reclaim

LOCKS: Final = ("bun.lock", "bun.lockb", "package-lock.json", "npm-shrinkwrap.json")
LOOK_SECONDS: Final = 1.0
"""An install is measured so often: the disk of most machines takes 1 GB meanwhile, at most."""


class Install:
    """The install of one release in its folder."""

    def __init__(self, host: Host, release: Release, folder: Path, room: Room) -> None:
        self._host = host
        self._release = release
        self._folder = folder
        self._room = room

    async def run(self, commands: Sequence[Sequence[str]]) -> None:
        """Run the first of these commands that does not fail.

        Raises BadRequest with the last lines of the tool.
        """
        host = self._host
        folder = self._folder
        sandbox = host.machine.sandbox
        number = self._release.number
        uid = await to_thread.run_sync(sandbox.find_uid_for, commands[0][0], number)
        await to_thread.run_sync(host.machine.folders.make_app, self._release.app, uid)
        await to_thread.run_sync(give_to_account, folder, uid)
        locks_before = await to_thread.run_sync(read_locks, folder)

        failure: str | None = None
        for command in commands:
            failure = await self._try(command)
            if failure is None:
                break
        if failure is not None:
            raise BadRequest(failure)

        for name, _ in locks_before - await to_thread.run_sync(read_locks, folder):
            self._write_log(f"{name} did not fit package.json: versions were chosen again")
        await self._room.check()
        await to_thread.run_sync(reclaim, folder, uid)

    async def _try(self, command: Sequence[str]) -> str | None:
        """Run one command and return why it failed, with the tool's last lines.

        Raises BadRequest where it takes too much of the disk.
        """
        name = Path(command[0]).name
        tool = "pip" if "pip" in command[1:4] else name
        verb = f" {command[1]}" if name == "npm" else ""

        bounds = await to_thread.run_sync(self._make_bounds, command[0])
        program = await to_thread.run_sync(self._make_program, command, bounds)
        output = _ToolOutput(self._host, self._release.app_id)
        self._write_log(f"installing dependencies with {tool}{verb}")
        status = await self._run(program, bounds, output)
        if status == 0:
            return None
        how = "took too long" if status is None else "failed"
        self._write_log(f"{tool}{verb} {how}")
        return "\n".join([f"{tool} {how}:", *output.tail])

    def _make_bounds(self, program: str) -> Bounds:
        machine = self._host.machine
        uid = machine.sandbox.find_uid_for(program, self._release.number)
        return make_bounds(machine, self._release, uid)

    def _make_program(self, command: Sequence[str], bounds: Bounds) -> Program:
        """Wrap a command, which may write into the folder."""
        machine = self._host.machine
        place = machine.folders.make_place(self._release, self._folder)
        place = replace(place, writable=(*place.writable, self._folder), cgroup=bounds.cgroup)
        environment = make_environment(machine, self._release, command[0])
        environment.update(self._host.config.install_environment)
        return Program(
            argv=machine.sandbox.wrap(command, self._release.number, place),
            environment=environment,
            folder=self._folder,
        )

    async def _run(self, program: Program, bounds: Bounds, output: _ToolOutput) -> int | None:
        """Run a program and return its exit status, None when it took too long.

        Raises BadRequest where the disk that its app may use is full before it ends.
        """
        child = await Child.spawn(output, program, bounds)
        try:
            child.input.close()
            with anyio.move_on_after(self._host.config.install_timeout):
                while not await child.wait_gone(LOOK_SECONDS):
                    await self._room.check()
            return child.status if child.gone.is_set() else None
        finally:
            with anyio.CancelScope(shield=True):
                child.send_signal(signal.SIGKILL)
                await child.wait_gone(5)

    def _write_log(self, message: str) -> None:
        self._host.logs.write(self._release.app_id, "system", message)


class Room:
    """The disk that an app may use, while a version of it is built."""

    def __init__(self, host: Host, release: Release, uid: int | None) -> None:
        self._host = host
        self._folder = host.machine.folders.locate_app(release.app)
        self._app_id = release.app_id
        self._uid = uid

    async def check(self) -> None:
        """Raise BadRequest where the app has too much, and write it into the app's log."""
        find_excess = self._host.machine.disk.find_excess
        excess = await to_thread.run_sync(find_excess, self._folder, self._uid)
        if excess is None:
            return
        in_service = await self._list_in_service()
        excess = await to_thread.run_sync(find_excess, self._folder, self._uid, in_service)
        if excess is None:
            return
        why = f"{excess}: the deploy is ended"
        self._host.logs.write(self._app_id, "system", why)
        raise BadRequest(why)

    async def _list_in_service(self) -> list[Path]:
        """Return the folder of the version in service, if there is one."""
        rows = await self._host.store.read_desired([self._app_id])
        releases = [row.release for row in rows if row.release is not None]
        return [self._host.machine.folders.locate_release(release) for release in releases]


class _ToolOutput(Listener):
    """Writes the lines of a tool into the log, and keeps the last ones."""

    def __init__(self, host: Host, app_id: str) -> None:
        self._host = host
        self._app_id = app_id
        self.tail: deque[str] = deque(maxlen=20)

    def on_noise(self, level: LogLevel, text: str) -> None:
        """See `Listener`."""
        if text.strip():
            self.tail.append(text[:400])
        self._host.logs.write(self._app_id, level, text)


def read_locks(folder: Path) -> set[tuple[str, bytes]]:
    """Return the lock files of JavaScript packages, each with its digest.

    They are large where a package has many others, so none is read as a whole.
    """
    digests = set[tuple[str, bytes]]()
    for name in LOCKS:
        with suppress(FileNotFoundError, BadRequest), open_plain_file(folder / name) as file:
            digests.add((name, hashlib.file_digest(file, "sha256").digest()))
    return digests
