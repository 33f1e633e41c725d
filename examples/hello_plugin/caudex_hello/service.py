"""The rules: no HTTP, no SQL."""

from __future__ import annotations

import msgspec

from caudex import Actor, Event, ServiceKey, Statements

from . import store
from .config import HelloConfig


class Contact(msgspec.Struct, frozen=True):
    """What is read of a new contact."""

    first_name: str | None = None


class GreetingService:
    """Greets users, and records whom it greeted."""

    def __init__(self, statements: Statements, config: HelloConfig) -> None:
        self._statements = statements
        self._config = config

    async def greet(self, actor: Actor, name: str) -> bytes:
        """Greet a user and return the greeting as JSON."""
        text = f"{self._config.word}, {name}!"
        return await store.add(self._statements, actor.user_id, text)

    async def greet_contact(self, event: Event) -> None:
        """Greet a contact that was just created."""
        if self._config.greet_contacts and event.new:
            contact = msgspec.json.decode(event.new, type=Contact)
            await self.greet(event.actor, contact.first_name or "stranger")

    async def recent(self, limit: int) -> bytes:
        """Return a JSON array of the newest greetings."""
        return await store.recent(self._statements, limit)


GREETINGS = ServiceKey[GreetingService]("greetings")
"""By this key other plugins could greet as well."""
