"""The rules: no HTTP, no SQL."""

from __future__ import annotations

from caudex import (
    Access,
    Actor,
    ServiceKey,
    Statements,
    Transaction,
    limits_of,
    server_actor,
)

from . import store
from .config import NotesConfig
from .errors import NoteNotFound, NotYours


class NotesService:
    """Keeps notes."""

    def __init__(self, statements: Statements, access: Access, config: NotesConfig) -> None:
        self._statements = statements
        self._access = access
        self._config = config

    async def newest(self) -> bytes:
        """Return a JSON array of the newest notes."""
        return await store.newest(self._statements, self._config.most)

    async def add(self, actor: Actor, text: str) -> bytes:
        """Write a note and return it."""
        return await store.add(self._statements, actor.user_id, text)

    async def remove(self, actor: Actor, note: int) -> None:
        """Remove a note. Raises NoteNotFound, NotYours."""

        async def work(tx: Transaction) -> None:
            row = await store.lock_author(tx, note)
            if row is None:
                raise NoteNotFound(f"note {note} not found")
            await self.check_owner(actor, row.author)
            await store.remove(tx, note)

        await self._statements.run(actor, work)

    async def check_owner(self, actor: Actor, author: str | None) -> None:
        """See that a note is the actor's to remove. Raises NotYours."""
        if author is not None and author == actor.user_id:
            return
        if not await self._access.is_core_admin(actor.user_id, **limits_of(actor)):
            raise NotYours("only its author, or an admin of core, removes a note")

    async def sweep(self) -> None:
        """Remove the notes that are too old."""
        if self._config.keep_days:
            await store.sweep(self._statements, self._config.keep_days)

    async def welcome(self, app_id: str) -> None:
        """Write a note for a new app."""
        if self._config.welcome:
            await self.add(server_actor(), f"There is a new app: {app_id}")


NOTES = ServiceKey[NotesService]("sample_notes")
