"""The content of files in a backup: from the store into the tar, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec
from anyio import to_thread

from kernel.public import (
    STORAGE,
    BadRequest,
    BlobFiles,
    KernelError,
    Services,
    Storage,
    StoredBlob,
    supports,
)

from .archive import ArchivedFiles, read_files

PIECE: Final = 1 << 20


class StoredFiles(msgspec.Struct, frozen=True):
    """What a store holds when a backup is made. `find` returns the file of a blob, by its hash."""

    about: ArchivedFiles | None = None
    blobs: Sequence[StoredBlob] = ()
    find: Callable[[str], Path | None] = lambda _: None

    def locate(self) -> Iterator[tuple[str, Path]]:
        """Yield each hash with the file of its content; those deleted meanwhile are left out."""
        for blob in self.blobs:
            file = self.find(blob.sha256)
            if file is not None:
                yield blob.sha256, file


async def list_files(services: Services, *, leave_out: bool) -> StoredFiles:
    """List what the backup is to hold: all that the store has, if its blobs are files here."""
    storage = services.build_early(STORAGE)
    if storage is None:
        return StoredFiles()
    location = storage.location
    find = _get_finder(storage)
    if leave_out or find is None:
        return StoredFiles(ArchivedFiles(location=location, is_included=False))
    blobs = [blob async for blob in storage.list_blobs()]
    size = sum(blob.size for blob in blobs)
    about = ArchivedFiles(location=location, is_included=True, count=len(blobs), size=size)
    return StoredFiles(about, blobs, find)


def _get_finder(storage: Storage) -> Callable[[str], Path | None] | None:
    """Return what finds the file of a blob; None for a store that is no folder here."""
    return storage.find_file if supports(storage, BlobFiles) else None


def describe_files(about: ArchivedFiles | None) -> str:
    """Say in a line what a backup has of the files."""
    if about is None:
        return "there is no store of files"
    if not about.is_included:
        return f"without the files in {about.location}: copy them by that store's own tools"
    return f"with {about.count} files ({about.size / 1e6:.1f} MB) of {about.location}"


async def restore_files(
    services: Services, file: Path, key: bytes | None, about: ArchivedFiles | None
) -> str:
    """Write the files of a backup into the store, and say so. Raises BadRequest.

    Those that are there already are written again.
    """
    if about is None:
        return "the backup knows no files"
    if not about.is_included:
        return f"the backup holds no files: those of {about.location} must be in the store"
    storage = services.build_early(STORAGE)
    if storage is None:
        raise BadRequest("the backup holds files, but no plugin provides STORAGE")
    count = 0
    try:
        for sha256, content in read_files(file, key):
            blob = await storage.write_blob(_read(content), about.size)
            if blob.sha256 != sha256:
                raise BadRequest(f"the file {sha256} of the backup is damaged")
            count += 1
    except (KernelError, OSError) as error:
        problem = f"the database is restored, but after {count} files: {error}"
        raise BadRequest(f"{problem}; restore once more with --replace") from None
    return f"restored {count} files into {storage.location}"


async def _read(content: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await to_thread.run_sync(content.read, PIECE):
        yield piece
