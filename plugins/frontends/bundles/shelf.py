"""Copies of bundles on this machine, so that the database is not asked for each file."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from anyio import to_thread

from kernel.public import ServiceKey, Unavailable, sync_folder
from plugins.frontends.store import FrontendsStore

from .bundle import Bundle

NAME: Final = re.compile(r"[0-9a-f]{64}")
STALE: Final = 3600.0
"""Seconds after which a temporary file belongs to a process that was killed."""

log = structlog.get_logger("caudex.frontends")


class Shelf:
    """A folder of bundles, shared by the server processes of this machine.

    A bundle that is missing is read from the database. One that is removed while a process sends
    from it remains until that is done.
    """

    def __init__(self, folder: Path, store: FrontendsStore, max_bytes: int) -> None:
        self._folder = folder
        self._temporary = folder / ".new"
        self._store = store
        self._max_bytes = max_bytes

    def prepare(self) -> None:
        """Make the folders, and remove what killed processes left. Blocking."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._temporary.mkdir(mode=0o700, exist_ok=True)

    def locate_temporary(self) -> Path:
        """Return the path of a new file or folder."""
        return self._temporary / secrets.token_hex(8)

    async def open(self, name: str) -> Bundle:
        """Open a bundle, and read it from the database where it is missing. Raises Unavailable."""
        path = self._folder / name
        with suppress(OSError, ValueError):
            return await to_thread.run_sync(_open, path)
        await self._fetch(name)
        try:
            return await to_thread.run_sync(_open, path)
        except (OSError, ValueError):
            raise Unavailable("a file of this app's frontend cannot be read") from None

    def keep(self, file: Path, name: str) -> Path:
        """Give a whole bundle its name, and return its path. Blocking."""
        path = self._folder / name
        file.replace(path)
        sync_folder(self._folder)
        return path

    def sweep(self) -> None:
        """Remove what was not used for longest beyond the limit, and what is stale. Blocking."""
        before = time.time() - STALE
        for path in self._temporary.iterdir():
            with suppress(OSError):
                if path.stat().st_mtime >= before:
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        bundles = list[tuple[float, int, Path]]()
        for path in self._folder.iterdir():
            with suppress(OSError):
                if NAME.fullmatch(path.name):
                    status = path.stat()
                    bundles.append((status.st_mtime, status.st_size, path))
        size = sum(bytes_of_bundle for _, bytes_of_bundle, _ in bundles)
        for _, bytes_of_bundle, path in sorted(bundles):
            if size <= self._max_bytes:
                break
            path.unlink(missing_ok=True)
            size -= bytes_of_bundle

    async def _fetch(self, name: str) -> None:
        file = self.locate_temporary()
        digest = hashlib.sha256()
        try:
            with file.open("xb") as target:
                async for piece in self._read_pieces(name):
                    digest.update(piece)
                    await to_thread.run_sync(target.write, piece)
            if digest.hexdigest() != name:
                raise Unavailable("this app's frontend is not whole in the database")
            await to_thread.run_sync(self.keep, file, name)
        finally:
            file.unlink(missing_ok=True)
        await to_thread.run_sync(self.sweep)

    async def _read_pieces(self, name: str) -> AsyncIterator[bytes]:
        position = 0
        while (piece := await self._store.read_chunk(name, position)) is not None:
            yield piece
            position += 1


SHELF = ServiceKey[Shelf]("frontends_shelf")


def _open(path: Path) -> Bundle:
    os.utime(path)  # the sweep begins with what was not opened for longest
    return Bundle(path)
