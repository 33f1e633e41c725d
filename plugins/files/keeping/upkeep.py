"""What an operator does with contents: looks whether they are whole, and erases one for good."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

import msgspec

from kernel.public import (
    BadRequest,
    Event,
    NotFound,
    ServiceKey,
    Statements,
    Storage,
    Transaction,
    is_uuid,
    server_actor,
)
from plugins.files import store

PAGE: Final = 1000
MAX_NAMED: Final = 20


class Damage(msgspec.Struct, frozen=True):
    """A content that is not what its hash says; `problem` is a sentence without a subject."""

    sha256: str
    problem: str


class Upkeep:
    """Verifies and erases contents."""

    def __init__(self, statements: Statements, storage: Storage) -> None:
        self._statements = statements
        self._storage = storage

    async def verify(self) -> AsyncIterator[Damage | None]:
        """Read every content, and yield what is wrong with it, or None where nothing is."""
        last = ""
        while True:
            page = await store.list_blobs(self._statements, last, PAGE)
            for sha256, size in page:
                yield await self._examine(sha256, size)
            if len(page) < PAGE:
                return
            last = page[-1][0]

    async def _examine(self, sha256: str, size: int) -> Damage | None:
        if await self._storage.measure_blob(sha256) is None:
            return Damage(sha256, "is not in the store")
        digest = hashlib.sha256()
        read = 0
        async with aclosing(await self._storage.open_blob(sha256)) as pieces:
            async for piece in pieces:
                digest.update(piece)
                read += len(piece)
        if digest.hexdigest() != sha256:
            return Damage(sha256, f"has other bytes ({read} of {size})")
        return None

    async def erase(self, file_id: str, *, shared: bool = False) -> int:
        """Remove the content of a file for good, and record that; return how many files had it.

        Files with the same content lose it as well, so that needs `shared`. Raises NotFound,
        BadRequest.
        """
        file = await store.find_any(self._statements, file_id) if is_uuid(file_id) else None
        if file is None or file.sha256 is None:
            raise NotFound(f"there is no file {file_id!r} with a content")
        sha256 = file.sha256

        async def work(tx: Transaction) -> int:
            ids = await store.find_files_of(tx, sha256, MAX_NAMED + 1)
            if len(ids) > 1 and not shared:
                others = ", ".join(other for other in ids[:MAX_NAMED] if other != file_id)
                raise BadRequest(f"other files have the same content: {others}; add --shared")
            await store.erase(tx, sha256)
            await self._storage.delete_blob(sha256)
            erased = {"files": ids, "name": file.name, "size": file.size, "sha256": sha256}
            await tx.record(Event.core("files", "FILE_ERASED", tx.actor, file_id, old=erased))
            return len(ids)

        return await self._statements.run(server_actor(), work, quick=False)


UPKEEP = ServiceKey[Upkeep]("file_upkeep")
