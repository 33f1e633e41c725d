"""What the server processes of one machine share: a file each in the data directory."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Final

import msgspec
from anyio import to_thread

from .models import Snapshot

MAX_PROCESSES: Final = 256
SUFFIX: Final = ".json"
MAX_FILE: Final = 16_000_000
"""Bytes; files are a few hundred kB at most."""

_decode: Final = msgspec.json.Decoder(Snapshot).decode


class Processes:
    """A scrape reaches any one of the processes that share a port: it answers for them all.

    Each writes its numbers every few seconds; the first process that sees a stale file
    deletes it. No number is secret, and none is kept.
    """

    def __init__(self, folder: Path, keep: float) -> None:
        self.name: Final = f"{os.getpid()}-{secrets.token_hex(2)}"
        """Distinguishes this process from its siblings, and from one of the same id before."""
        self._folder = folder
        self._keep = keep

    async def write(self, snapshot: Snapshot) -> None:
        """Write the numbers for the others. Raises OSError."""
        await to_thread.run_sync(self._write, msgspec.json.encode(snapshot))

    async def read_siblings(self) -> list[Snapshot]:
        """The numbers of the others, without processes that ended."""
        return await to_thread.run_sync(self._read_all)

    def leave(self) -> None:
        """Take this process out of what others answer."""
        self._file.unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        return self._folder / f"{self.name}{SUFFIX}"

    def _write(self, raw: bytes) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        aside = self._file.with_suffix(".partial")
        aside.write_bytes(raw)
        aside.replace(self._file)

    def _read_all(self) -> list[Snapshot]:
        snapshots: list[Snapshot] = []
        paths = sorted(self._folder.glob("*-*.*"))[:MAX_PROCESSES]
        for path in paths:
            if path == self._file:
                continue
            snapshot = self._read(path)
            if snapshot is not None:
                snapshots.append(snapshot)
        return snapshots

    def _read(self, path: Path) -> Snapshot | None:
        try:
            status = path.stat()
            if status.st_mtime < time.time() - self._keep:
                path.unlink(missing_ok=True)
                return None
            if path.suffix != SUFFIX or status.st_size > MAX_FILE:
                return None
            return _decode(path.read_bytes())
        except (OSError, msgspec.MsgspecError):  # gone meanwhile, or another version's
            return None
