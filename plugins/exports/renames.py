"""Follows the names of tables and fields in what links show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from kernel.public import InstallPlan, PresentNames, Transaction, rename_link_query

from . import store
from .models import ExportQuery


async def follow(tx: Transaction, plan: InstallPlan) -> None:
    """Rename what an install renames in the links of its app."""
    names = PresentNames(plan)
    for link in await store.read_links(tx, plan.app.id, None):
        entity = names.entity(link.entity)
        query = rename_query(link.query, entity, names)
        if (entity, query) != (link.entity, link.query):
            await store.change(tx, link.id, entity, query)


def rename_query(query: ExportQuery, entity: str, names: PresentNames) -> ExportQuery:
    """Return a query with present names; those of aggregates are its own."""
    own_names = query.aggregate or {}

    def path(former: str) -> str:
        return former if former in own_names else names.path(entity, former)

    changes: dict[str, Any] = {}
    if query.expand is not None:
        changes["expand"] = [
            path(link)
            if isinstance(link, str)
            else {path(name): options for name, options in link.items()}
            for link in query.expand
        ]
    if query.group_by is not None:
        changes["group_by"] = [
            path(group)
            if isinstance(group, str)
            else {unit: path(name) for unit, name in group.items()}
            for group in query.group_by
        ]
    if query.aggregate is not None:
        changes["aggregate"] = {
            alias: {function: names.path(entity, name) for function, name in item.items()}
            for alias, item in query.aggregate.items()
        }
    if query.having is not None:
        changes["having"] = _rename_having(query.having, own_names, entity, names)
    renamed = rename_link_query(query, entity, names, own_names)
    return msgspec.structs.replace(renamed, **changes)


def _rename_having(
    tree: Any, own_names: Mapping[str, object], entity: str, names: PresentNames
) -> Any:
    if isinstance(tree, list):
        branches = cast("list[Any]", tree)
        return [_rename_having(branch, own_names, entity, names) for branch in branches]
    if not isinstance(tree, dict):
        return tree
    renamed: dict[str, Any] = {}
    for key, condition in cast("dict[str, Any]", tree).items():
        if key.startswith("$"):
            renamed[key] = _rename_having(condition, own_names, entity, names)
        elif key in own_names:
            renamed[key] = condition
        else:
            renamed[names.path(entity, key)] = condition
    return renamed
