"""Adds a webhook to an app, by REST or by a manifest: within the limit, under a free name."""

from __future__ import annotations

from kernel.public import BadRequest, NotFound, Transaction

from . import store
from .models import Hook
from .signing import TOPIC


async def add_hook(tx: Transaction, hook: Hook, limit: int) -> None:
    """Store a new webhook; `limit` is how many an app has at most. Raises NotFound, BadRequest."""
    if not await store.lock_app(tx, hook.app_id):
        raise NotFound(f"app '{hook.app_id[:80]}' not found")
    if await store.count(tx, hook.app_id) >= limit:
        raise BadRequest(f"an app has at most {limit} webhooks")
    if not await store.insert(tx, hook):
        raise name_taken(hook.name)
    await tx.publish(TOPIC, hook.id)


def name_taken(name: str) -> BadRequest:
    """Return the error for a name that another webhook of the app has."""
    return BadRequest(f"the app has a webhook {name!r} already")
