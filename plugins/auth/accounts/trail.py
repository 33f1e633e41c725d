"""What the audit trail says of accounts."""

from __future__ import annotations

from kernel.public import Actor, Event, Transaction, User


async def record_change(
    tx: Transaction,
    operation: str,
    actor: Actor,
    *,
    old: User | None = None,
    new: User | None = None,
) -> None:
    """Record what became of an account: it was created (without `old`), changed or deleted."""
    before = old and old.view
    after = new and new.view
    user = new or old
    user_id = user and user.id
    await tx.record(Event.core("users", operation, actor, user_id, old=before, new=after))
