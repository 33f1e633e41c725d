"""Finds blobs that are not what their hash says."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec

from kernel.contracts.files import Storage
from kernel.errors import NotFound


class CheckedBlob(msgspec.Struct, frozen=True):
    """A blob that was read and hashed again; `size` is in bytes."""

    sha256: str
    size: int
    is_intact: bool


async def check_blob(storage: Storage, sha256: str) -> bool | None:
    """Return whether the content of a blob is what its hash says; None if it is not there."""
    digest = hashlib.sha256()
    try:
        reader = await storage.open_blob(sha256)
    except NotFound:
        return None
    async with aclosing(reader):
        async for piece in reader:
            digest.update(piece)
    return digest.hexdigest() == sha256


async def check_blobs(storage: Storage) -> AsyncIterator[CheckedBlob]:
    """Read every blob of a store, one after the other. Those deleted meanwhile are left out."""
    async for blob in storage.list_blobs():
        is_intact = await check_blob(storage, blob.sha256)
        if is_intact is not None:
            yield CheckedBlob(blob.sha256, blob.size, is_intact)
