"""Follows the names of tables and fields in what shares show."""

from __future__ import annotations

from kernel.public import InstallPlan, PresentNames, Transaction, rename_link_query

from . import store


async def follow(tx: Transaction, plan: InstallPlan) -> None:
    """Rename what an install renames in the shares of its app."""
    names = PresentNames(plan)
    for share in await store.read_shares(tx, plan.app.id, None):
        if share.entity is None:
            continue
        entity = names.entity(share.entity)
        query = rename_link_query(share.query, entity, names)
        if (entity, query) != (share.entity, share.query):
            await store.change(tx, share.id, entity, query)
