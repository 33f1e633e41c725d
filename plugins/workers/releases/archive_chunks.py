"""Archives in the database, in chunks of 1 MB."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from anyio import to_thread

from kernel.public import Transaction, Unavailable
from plugins.workers import store
from plugins.workers.models import Release
from plugins.workers.store import WorkersStore

from .folders import full_disk

CHUNK_BYTES: Final = 1_000_000


def digest_of(archive: Path) -> tuple[str, int]:
    """Return the SHA-256 and the size of a file."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


async def store_archive(tx: Transaction, release: Release, archive: Path) -> None:
    """Write an archive into the database."""
    with archive.open("rb") as file:
        position = 0
        while data := await to_thread.run_sync(file.read, CHUNK_BYTES):
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
