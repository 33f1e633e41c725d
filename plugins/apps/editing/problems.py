"""Finds what would refuse a plan, without locking a table."""

from __future__ import annotations

from collections.abc import Iterator

from kernel.public import Reader
from plugins.apps.schema.steps import Phase, Plan, Step
from plugins.apps.schema.sync import check_steps

UNREADY = ("add_column", "rename_column", "alter_type", "alter_expression")
"""Changes after which a column is one that the checks of rules cannot query yet."""


async def check_rows(reader: Reader, plan: Plan) -> list[str]:
    """Refuse a plan that rows prevent. Raises BadRequest.

    Rules on columns that the plan itself makes or converts are checked by the install only. Of
    many rows some are checked; a sentence is returned for each field of which that is so.
    """
    fields = await check_steps(reader, list(_list_checkable(plan)), in_brief=True)
    return [
        f"{field}: a part of its many values was tried, and each of them converts; "
        "the change itself tries them all"
        for field in fields
    ]


def _list_checkable(plan: Plan) -> Iterator[Step]:
    renamed_tables = {name.entity for name in plan.renamed if name.field is None}
    unready_columns = {
        (change.entity, change.column) for change in plan.changes if change.change_type in UNREADY
    }
    renamed_columns = {(name.entity, name.field) for name in plan.renamed}
    for step in plan.steps:
        if step.check is None or step.table in renamed_tables:
            continue
        columns = {(step.table, column) for column in step.check.columns}
        unready = renamed_columns
        if step.phase >= Phase.RULES:
            unready = renamed_columns | unready_columns
        if columns.isdisjoint(unready):
            yield step
