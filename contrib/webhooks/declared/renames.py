"""Follows the names of tables and fields that an install changes."""

from __future__ import annotations

import msgspec

from contrib.webhooks import store
from contrib.webhooks.signing import TOPIC
from kernel.public import InstallPlan, PresentNames, Transaction, rename_where


async def follow(tx: Transaction, plan: InstallPlan) -> None:
    """Rename what webhooks are about, and the records of deliveries that wait."""
    names = PresentNames(plan)
    for hook in await store.lock_all(tx, plan.app.id):
        entity = names.entity(hook.entity)
        fields = hook.fields
        if fields is not None:
            fields = [names.field(entity, field) for field in fields]
        conditions = rename_where(hook.where, entity, names)
        renamed = msgspec.structs.replace(hook, entity=entity, where=conditions, fields=fields)
        if renamed != hook:
            await store.update(tx, renamed)
            await store.rename_deliveries(tx, hook.id, hook.entity, entity)
            await tx.publish(TOPIC, hook.id)
