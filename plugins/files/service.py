"""Uploads: who may send files, how much that no record holds, and the way into the store."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from kernel.public import (
    Access,
    Action,
    Actor,
    Apps,
    ConcurrencyLimiter,
    Entity,
    Forbidden,
    ServiceKey,
    Statements,
    Storage,
    Throttled,
    Transaction,
    Unavailable,
    entity,
)

from . import store
from .config import FilesConfig
from .models import NewFile, Pending, StoredFile
from .uploads.bodies import Incoming
from .uploads.detection import HEAD_BYTES, detect_type
from .uploads.names import clean_name

FILE_TYPES: Final = ("file", "[file]")
PENDING_HOURS: Final = 24
"""Hours after which a sweep deletes what no record holds."""

WRITES: Final[tuple[Action, ...]] = ("create", "update")


class UploadRights:
    """Decides who may send files to an app."""

    def __init__(self, apps: Apps, access: Access) -> None:
        self._apps = apps
        self._access = access

    async def check(self, actor: Actor, app_id: str, *, any_entity: bool = False) -> None:
        """Require that a caller may create or change records that hold files.

        With `any_entity`, records of any kind. Raises NotFound, Forbidden.
        """
        app = await self._apps.app(app_id)
        for described in app.entities.values():
            if not any_entity and not _has_file_field(described):
                continue
            if await self._may_write(actor, app_id, described.name):
                return
        records = "records" if any_entity else "records with files"
        raise Forbidden(f"only who may create or change {records} of the app sends files to it")

    async def _may_write(self, actor: Actor, app_id: str, name: str) -> bool:
        path = {"app_id": app_id, "entity": name}
        for action in WRITES:
            try:
                await self._access.authorize(actor, entity(action), path)
            except Forbidden:
                continue
            return True
        return False


def _has_file_field(described: Entity) -> bool:
    return any(field.type in FILE_TYPES for field in described.fields)


class Uploads:
    """Takes files: their content goes into the store piece by piece, and then into the tables."""

    def __init__(self, statements: Statements, storage: Storage, config: FilesConfig) -> None:
        self._statements = statements
        self._storage = storage
        self._config = config
        self.places = ConcurrencyLimiter(
            40,
            per_key=8,
            queue=16,
            timeout=20,
            message="too many uploads are under way",
            key_message="too many uploads of this user are under way",
            retry_after=5,
        )
        """What one process receives at a time: an upload may be slow."""

    async def receive(
        self, actor: Actor, app_id: str, incoming: Incoming, *, of_app: bool = False
    ) -> StoredFile:
        """Store a file that arrives in pieces.

        It is pending, or held by the app itself. Raises TooLarge, Throttled, Unavailable.
        """
        async with self.places.hold(actor.user_id):
            if not of_app:
                await self._check_pending(self._statements, actor, 0)
            received = _Received(incoming.pieces)
            async with aclosing(received.read()) as noted_pieces:
                blob = await self._storage.write_blob(noted_pieces, self._config.max_size)
            name = clean_name(incoming.name)
            file = NewFile(
                app_id=app_id,
                sha256=blob.sha256,
                name=name,
                type=detect_type(received.head, name),
                size=blob.size,
                of_app=of_app,
            )
            return await self._statements.run(actor, lambda tx: self._add(tx, file))

    async def _add(self, tx: Transaction, file: NewFile) -> StoredFile:
        actor = tx.actor
        if not file.of_app and actor.user_id is not None:
            # Uploads that end at the same moment count each other.
            await tx.lock(f"files.pending:{actor.user_id}")
            await self._check_pending(tx, actor, file.size)
        await store.claim_blob(tx, file.sha256, file.size)
        if await self._storage.measure_blob(file.sha256) is None:
            # A sweep deleted the same content after it was written and before this lock.
            raise Unavailable("the store has lost the file: send it again")
        return await store.add(tx, file, actor.user_id)

    async def _check_pending(
        self, reader: Statements | Transaction, actor: Actor, size: int
    ) -> None:
        """Raise Throttled where a user has too much that no record holds."""
        if actor.user_id is None:
            return
        pending = await store.count_pending(reader, actor.user_id)
        has_too_many = pending.files >= self._config.pending_files
        has_too_much = pending.size + size > self._config.pending
        if has_too_many or (has_too_much and pending.files > 0):
            raise self._describe_pending(pending)

    def _describe_pending(self, pending: Pending) -> Throttled:
        remaining = PENDING_HOURS * 3600 - pending.oldest
        return Throttled(
            f"no record holds {pending.files} files of {pending.size} bytes that you uploaded: "
            "put them into records, delete them, or wait until the oldest ones are gone",
            max(1, math.ceil(remaining)),
        )


class _Received:
    """The pieces of a file on their way, of which the first bytes are looked at."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.head = b""

    async def read(self) -> AsyncGenerator[bytes]:
        """Yield the pieces."""
        async for piece in self._pieces:
            missing = HEAD_BYTES - len(self.head)
            if missing > 0:
                self.head += piece[:missing]
            if piece:
                yield piece


UPLOADS = ServiceKey[Uploads]("file_uploads")
