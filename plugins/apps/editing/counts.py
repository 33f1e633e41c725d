"""How many rows the tables have that a plan changes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
from psycopg import sql

from kernel.public import Reader
from plugins.apps.models import Change
from plugins.apps.schema import ddl
from plugins.apps.schema.steps import Plan

MAX_COUNTED: Final = 1_000_000
"""Rows of a table that are counted; of a larger one the number is this one."""

RENAMES: Final = ("rename_table", "rename_column")

_COUNT: Final = "select count(*) from (select from {} limit {}) as counted"


async def add_row_counts(
    reader: Reader, app_id: str, plan: Plan, kinds: Collection[str] = ()
) -> list[Change]:
    """Return the changes of a plan with the rows of their tables; of some kinds only, if given.

    A table is counted once, under the name that it has now.
    """
    former_names = plan.former_tables
    rows: dict[str, int] = {}
    changes: list[Change] = []
    for change in plan.changes:
        is_counted = not kinds or change.change_type in kinds
        is_new = not change.entity or change.entity in plan.new_tables
        if is_new or not is_counted:
            changes.append(change)
            continue
        if change.entity not in rows:
            table = former_names.get(change.entity, change.entity)
            rows[change.entity] = await _count(reader, app_id, table)
        changes.append(msgspec.structs.replace(change, rows=rows[change.entity]))
    return changes


async def _count(reader: Reader, app_id: str, table: str) -> int:
    query = sql.SQL(_COUNT).format(ddl.relation(app_id, table), sql.Literal(MAX_COUNTED))
    return int(await reader.fetch(query.as_bytes(None), quick=False) or 0)
