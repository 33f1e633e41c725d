"""Deletes what no record holds: files first, and then contents that no file has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from kernel.public import ServiceKey, Statements, Storage, Transaction, server_actor
from plugins.files import store

BATCH: Final = 500
"""Rows that one statement deletes: others wait for none of them for long."""
MAX_BATCHES: Final = 200
"""Batches of one sweep; the next one goes on."""
GRACE: Final = 3600.0
"""Seconds for which a content stays after its last file."""
ORPHAN_AGE: Final = timedelta(hours=24)
"""Age from which a content that nothing refers to is no upload under way."""

log = structlog.get_logger("caudex.files")


class Sweep:
    """Deletes files that no record holds, and contents that no file has."""

    def __init__(self, statements: Statements, storage: Storage, keep_days: int) -> None:
        self._statements = statements
        self._storage = storage
        self._keep_days = keep_days

    async def run(self, grace: float = GRACE) -> None:
        """Sweep once. What is attached meanwhile stays: its row is locked."""
        for _ in range(MAX_BATCHES):
            if await store.end_holdings(self._statements, self._keep_days, BATCH) < BATCH:
                break
        files = 0
        for _ in range(MAX_BATCHES):
            deleted = await self._statements.run(server_actor(), self._delete_files)
            files += deleted
            if deleted == 0:
                break
        for _ in range(MAX_BATCHES):
            if await store.mark_unused(self._statements, BATCH) < BATCH:
                break
        contents = await self._delete_contents(grace)
        if files or contents:
            log.info("files swept", files=files, contents=contents)

    async def _delete_files(self, tx: Transaction) -> int:
        ids = await store.lock_unheld(tx, BATCH)
        return await store.delete_unheld(tx, ids) if ids else 0

    async def _delete_contents(self, grace: float) -> int:
        contents = 0
        for _ in range(MAX_BATCHES):
            hashes = await store.find_unused(self._statements, grace, BATCH)
            deleted = 0
            for sha256 in hashes:
                if await self._delete_content(sha256, grace):
                    deleted += 1
            contents += deleted
            if len(hashes) < BATCH or deleted == 0:
                break
        return contents

    async def _delete_content(self, sha256: str, grace: float) -> bool:
        """Delete a content under the lock that an upload of the same takes."""

        async def work(tx: Transaction) -> bool:
            if not await store.lock_unused(tx, sha256, grace):
                return False
            await self._storage.delete_blob(sha256)
            await store.forget_blob(tx, sha256)
            return True

        return await self._statements.run(server_actor(), work, quick=False)

    async def note_orphans(self) -> None:
        """Note contents of the store that no row knows, as of uploads that were cut off.

        A later sweep deletes them, unless an upload of the same content claims them before.
        """
        oldest_upload = datetime.now(UTC) - ORPHAN_AGE
        hashes: list[str] = []
        sizes: list[int] = []
        async for blob in self._storage.list_blobs():
            if blob.modified_at < oldest_upload:
                hashes.append(blob.sha256)
                sizes.append(blob.size)
            if len(hashes) == BATCH:
                await self._note(hashes, sizes)
                hashes = []
                sizes = []
        if hashes:
            await self._note(hashes, sizes)

    async def _note(self, hashes: list[str], sizes: list[int]) -> None:
        orphans = await store.note_orphans(self._statements, hashes, sizes)
        if orphans:
            log.info("contents without a file", count=orphans)


SWEEP = ServiceKey[Sweep]("file_sweep")
