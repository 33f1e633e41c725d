"""The folder: the file of each secret, written so that no reader sees half of it.

    <folder>/id                             which folder this is
    <folder>/platform/<KEY>-<hash>.secret   the platform's secrets
    <folder>/apps/<app>/<KEY>-<hash>.secret an app's

The hash keeps names apart that a file system without case would take for one. Everything here
blocks, and raises OSError.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from kernel.public import SECRET_NAME, Unopenable, sync_folder, write_file

from .models import FileState
from .sealing import MAX_FILE

APP: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
FILE: Final = re.compile(r"(\w+)-[0-9a-f]{16}\.secret", re.ASCII)
ASIDE: Final = ".new-"


class Folder:
    """Sealed files by scope (an app's id, or None for the platform) and name."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def identity(self) -> str | None:
        """Which folder this is; None before its first use, or where it is not there at all."""
        with suppress(FileNotFoundError):
            return (self.root / "id").read_bytes().decode("ascii", "replace").strip()
        return None

    def set_up(self, identity: str) -> None:
        """Make the folder and say which it is."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make(self.root / "apps")
        write_file(self.root / "id", f"{identity}\n".encode())

    def scopes(self) -> list[str | None]:
        """Every scope that has a folder."""
        apps = self.root / "apps"
        if not apps.is_dir():
            return [None]
        names = [entry.name for entry in os.scandir(apps) if APP.fullmatch(entry.name)]
        return [None, *sorted(names)]

    def names(self, app_id: str | None) -> list[str]:
        """Names of a scope's secrets, sorted."""
        return sorted(name for name, _ in self._entries(app_id))

    def read(self, app_id: str | None, name: str) -> bytes | None:
        """The content of a file, None without the file. Raises Unopenable for a foreign one."""
        try:
            handle = os.open(self._file(app_id, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with os.fdopen(handle, "rb") as stream:
            content = stream.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise Unopenable("it is too long")
        return content

    def write(self, app_id: str | None, name: str, content: bytes) -> None:
        """Put a file in its place, on the disk when this returns."""
        for remaining_attempts in (2, 1, 0):
            self._make(self._place(app_id))
            try:
                write_file(self._file(app_id, name), content)
                return
            except FileNotFoundError:  # the folder of an app that went a moment ago
                if not remaining_attempts:
                    raise

    def delete(self, app_id: str | None, name: str) -> bool:
        """Delete a file and return whether it existed."""
        try:
            self._file(app_id, name).unlink()
        except FileNotFoundError:
            return False
        sync_folder(self._place(app_id))
        return True

    def states(self, app_id: str) -> list[FileState]:
        """The files of an app as they are now."""
        states: list[FileState] = []
        for name, entry in self._entries(app_id):
            status = entry.stat(follow_symlinks=False)
            states.append(FileState(name, status.st_ino, status.st_mtime_ns))
        return states

    def forget(self, app_id: str, states: Sequence[FileState]) -> None:
        """Delete files of an app in these states, and none that was written since."""
        for state in self.states(app_id):
            if state in states:
                self.delete(app_id, state.name)
        with suppress(OSError):  # another process has put a new one there
            self._place(app_id).rmdir()

    def wipe(self, app_id: str) -> None:
        self.forget(app_id, self.states(app_id))

    def sweep(self) -> None:
        """Delete what a crash left behind an hour ago before it had its place."""
        for path in self.root.rglob(f"{ASIDE}*"):
            with suppress(FileNotFoundError):
                if path.lstat().st_mtime < time.time() - 3600:
                    path.unlink()

    def _entries(self, app_id: str | None) -> Iterator[tuple[str, os.DirEntry[str]]]:
        place = self._place(app_id)
        if not place.is_dir():
            return
        with os.scandir(place) as entries:
            for entry in entries:
                match = FILE.fullmatch(entry.name)
                if match and entry.name == _file_name(match[1]):
                    yield match[1], entry

    def _place(self, app_id: str | None) -> Path:
        if app_id is None:
            return self.root / "platform"
        if not APP.fullmatch(app_id):
            raise ValueError(f"{app_id!r} is no app")
        return self.root / "apps" / app_id

    def _file(self, app_id: str | None, name: str) -> Path:
        return self._place(app_id) / _file_name(name)

    def _make(self, folder: Path) -> None:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            sync_folder(folder.parent)


def _file_name(name: str) -> str:
    if not SECRET_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a secret")
    return f"{name}-{hashlib.sha256(name.encode()).hexdigest()[:16]}.secret"
