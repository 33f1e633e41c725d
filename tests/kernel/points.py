"""A plugin that keeps tenants apart, and uses every extension point of records, events, installs.

Tests control it through the data, never through its internals.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from kernel.public import (
    Action,
    Actor,
    BadRequest,
    Change,
    Entity,
    Event,
    Forbidden,
    InstallPlan,
    Plugin,
    Transaction,
    for_subjects,
    hookimpl,
)

SCOPED = "tenants"
HEARD: list[tuple[str, str]] = []
"""What `event_committed` received: subject and operation."""


class PointsPlugin(Plugin):
    name = "points"

    @hookimpl
    async def record_scope(
        self, actor: Actor, entity: Entity, action: Action
    ) -> Mapping[str, Any] | None:
        """The user's name names the tenant; a user without one sees everything."""
        if entity.app_id != SCOPED:
            return None
        tenant, _, _ = actor.username.partition("_")
        return {"tenant": tenant} if tenant in ("red", "blue") else None

    @hookimpl
    @for_subjects("tenants.*")
    async def record_writing(self, tx: Transaction, change: Change) -> None:
        """Stamps the tenant, and lets no one touch what is locked."""
        if change.values.get("title") == "forbidden":
            raise Forbidden("this title is taken")
        if change.action == "delete" and change.entity == "ledger":
            raise BadRequest("a ledger keeps its entries")
        tenant, _, _ = change.actor.username.partition("_")
        if change.action == "create" and tenant in ("red", "blue"):
            change.values["tenant"] = tenant
        if title := change.values.get("title"):
            change.values["title"] = title.strip().capitalize()

    @hookimpl
    @for_subjects("tenants.notes")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        """Writes a table of its own in the same transaction, and may abort it."""
        record = msgspec.json.decode(event.new or event.old or b"{}")
        await tx.execute(
            "insert into public.journal (operation, record, title)"
            " values ($1::text, $2::text, $3::text)",
            event.operation,
            event.record_id,
            record.get("title"),
        )
        if record.get("title") == "Abort":
            raise BadRequest("the journal is closed")

    @hookimpl
    @for_subjects("tenants.notes", "core.*")
    async def event_committed(self, event: Event) -> None:
        """Hears of it afterwards, and fails at some."""
        HEARD.append((event.subject, event.operation))
        if b"Failing" in (event.new or b""):
            raise RuntimeError("an observer that fails")

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Refuses what has no name worth the word."""
        if plan.app.name == "Untitled":
            raise BadRequest("give the app a name")
