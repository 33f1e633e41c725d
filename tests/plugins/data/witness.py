"""A plugin that takes part in every write, so that none is a single statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio

from kernel.public import (
    Action,
    Actor,
    BadRequest,
    Change,
    Entity,
    Event,
    Plugin,
    Transaction,
    for_subjects,
    hookimpl,
    subjects_from,
)


class WitnessPlugin(Plugin):
    """Remembers what it is reported; `change` may change a write."""

    name = "witness"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.changes: list[Change] = []
        self.recorded: list[Event] = []
        self.committed: list[Event] = []
        self.values: dict[str, Any] = {}
        self.refusal = ""
        self.statement = ""
        self.fails_after = False

    @hookimpl
    @for_subjects("lab.*")
    async def record_writing(self, tx: Transaction, change: Change) -> None:
        """Change or refuse a write."""
        self.changes.append(change)
        if self.refusal:
            raise BadRequest(self.refusal)
        if self.statement:
            await tx.execute(self.statement.encode())
        change.values.update(self.values if change.action != "delete" else {})

    @hookimpl
    @for_subjects("lab.*")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        """Remember an event of the transaction."""
        self.recorded.append(event)
        if self.fails_after:
            raise BadRequest("not so")

    @hookimpl
    @for_subjects("lab.*")
    async def event_committed(self, event: Event) -> None:
        """Remember an event that is in."""
        self.committed.append(event)


class ShopWitnessPlugin(Plugin):
    """Takes part in the writes of the app `shop`, and remembers its events."""

    name = "shopwitness"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.recorded: list[Event] = []
        self.committed: list[Event] = []

    @hookimpl
    @for_subjects("shop.*")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        """Remember an event of the transaction."""
        self.recorded.append(event)

    @hookimpl
    @for_subjects("shop.*")
    async def event_committed(self, event: Event) -> None:
        """Remember an event that is in."""
        self.committed.append(event)


class StaffWitnessPlugin(Plugin):
    """Takes part in the writes of the app `staff`, and remembers its events."""

    name = "staffwitness"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.recorded: list[Event] = []

    @hookimpl
    @for_subjects("staff.*")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        """Remember an event of the transaction."""
        self.recorded.append(event)


class ObserverPlugin(Plugin):
    """Only hears of what is in: writes stay single statements."""

    name = "observer"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.committed: list[Event] = []
        self.begun: anyio.Event | None = None
        """Set when an event arrives that takes a moment."""

    @hookimpl
    async def event_committed(self, event: Event) -> None:
        """Remember an event that is in."""
        if self.begun is not None:
            self.begun.set()
            await anyio.sleep(0.01)
        self.committed.append(event)


class ScopePlugin(Plugin):
    """Shows callers only what its tree lets through."""

    name = "scope"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.tree: Mapping[str, Any] | None = None
        self.trees: dict[str, Mapping[str, Any]] = {}
        """Trees by entity, used before `tree`."""
        self.narrowed = ""
        """The only user that it narrows; every one where this is empty."""
        self.asked: list[tuple[str, str]] = []

    @hookimpl
    async def record_scope(
        self, actor: Actor, entity: Entity, action: Action
    ) -> Mapping[str, Any] | None:
        """Narrow."""
        self.asked.append((entity.subject, action))
        if self.narrowed and actor.user_id != self.narrowed:
            return None
        return self.trees.get(entity.name, self.tree)


class OldPlugin(Plugin):
    """Observes, and asks for the record before each change."""

    name = "old"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.committed: list[Event] = []

    @hookimpl
    @for_subjects("lab.samples", old=True)
    async def event_committed(self, event: Event) -> None:
        """Remember an event."""
        self.committed.append(event)


class ConfiguredPlugin(Plugin):
    """Listens to what its configuration names, which a test sets."""

    name = "configured"

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.wanted: list[str] = []
        self.recorded: list[Event] = []

    def _wanted(self) -> list[str]:
        return self.wanted

    @hookimpl
    @subjects_from("_wanted")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        """Remember an event."""
        self.recorded.append(event)
