"""Contents of files, each stored once under the hash of its bytes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import msgspec

from kernel.contracts.base import ServiceKey

__all__ = ["BLOB_HASH", "STORAGE", "Blob", "BlobFiles", "BlobReader", "Storage", "StoredBlob"]

BLOB_HASH: Final = re.compile(r"[0-9a-f]{64}")
"""The form of a hash. Engines look for no blob under any other text."""


class Blob(msgspec.Struct, frozen=True):
    """Immutable content: its SHA-256 in lowercase hex, and its size in bytes."""

    sha256: str
    size: int


class StoredBlob(msgspec.Struct, frozen=True):
    """A blob of `size` bytes in a listing; `modified_at` is when it was last written, in UTC."""

    sha256: str
    size: int
    modified_at: datetime


class BlobReader(Protocol):
    """The pieces of an open blob, each of at most 1 MB. Raises Unavailable between two of them.

    `aclose` gives back what it holds. The end of the pieces and an error do so, too.
    """

    @property
    def size(self) -> int:
        """Bytes of the whole blob, not of the range."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """Read no further; call it as often as you like."""
        ...


class Storage(Protocol):
    """Stores blobs. A store that is full, slow or away raises Unavailable.

    It counts no references. A plugin that does takes a lock of the database for each hash: for the
    check that nothing refers to a blob and its `delete_blob`, and for a new reference and
    `measure_blob`, since the blob may have been deleted after `write_blob`.
    """

    @property
    def location(self) -> str:
        """Where the blobs are, for people: a folder, or an address without its password."""
        ...

    async def write_blob(self, pieces: AsyncIterator[bytes], limit: int) -> Blob:
        """Store what the pieces add up to, and return its hash and size.

        When it returns, the blob is complete and survives a loss of power. Otherwise nothing of it
        can be read. Equal content is stored once; to write it again renews `modified_at`.
        Raises TooLarge for more than `limit` bytes, and what the pieces raise.
        """
        ...

    async def measure_blob(self, sha256: str) -> int | None:
        """Return the size of a blob, or None without one."""
        ...

    async def open_blob(self, sha256: str, start: int = 0, end: int | None = None) -> BlobReader:
        """Open the bytes from `start` to before `end`, or to the last one.

        A range beyond the blob is cut to it. What is open is read to its end, or raises
        Unavailable, when the blob is deleted meanwhile. Raises NotFound.
        """
        ...

    async def delete_blob(self, sha256: str) -> None:
        """Delete a blob; without one, do nothing."""
        ...

    def list_blobs(self) -> AsyncIterator[StoredBlob]:
        """Yield every blob, in any order. Those that come and go meanwhile may be left out."""
        ...

    async def check(self) -> None:
        """Check that blobs can be written now. Raises Unavailable with a sentence for people."""
        ...


class BlobFiles(Protocol):
    """A part of STORAGE for engines that keep blobs as files of this machine; backups copy them."""

    def find_file(self, sha256: str) -> Path | None:
        """Return the file of a blob, None without one. It blocks, and raises OSError."""
        ...


STORAGE = ServiceKey[Storage]("storage")
