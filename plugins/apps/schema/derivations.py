"""Steps for derived columns. Their values can be computed again, so they are dropped freely."""

from __future__ import annotations

from collections.abc import Iterator

from plugins.apps.manifest.access import SEARCH_COLUMN

from . import checks, ddl
from .current import CurrentColumn, CurrentTable
from .derived import MARK
from .steps import Phase, Step, change
from .tables import Column, Table


def is_derived(column: CurrentColumn) -> bool:
    """Whether an install made a column that PostgreSQL computes, or did before."""
    return (column.comment or "").startswith(MARK)


def mark_step(table: Table, column: Column) -> Iterator[Step]:
    """Comment a new derived column."""
    if column.mark is not None:
        statement = ddl.mark_column(table.schema, table.name, column.name, column.mark)
        yield Step(Phase.RULES, table.name, statement=statement)


def unmark_step(table: Table, present: CurrentColumn) -> Iterator[Step]:
    """Remove the comment of a column that is no longer derived: it may get values of its own."""
    if is_derived(present):
        statement = ddl.mark_column(table.schema, table.name, present.name, None)
        yield Step(Phase.RULES, table.name, statement=statement)


def derive_again(
    table: Table, column: Column, present: CurrentColumn | None, converts: bool
) -> Iterator[Step]:
    """Make a derived column that is missing or has another expression.

    So is every one where a column of the table `converts`: PostgreSQL changes no type that an
    expression uses.
    """
    is_same = present is not None and present.generated and present.comment == column.mark
    if is_same and not converts:
        return

    kind = "add_column"
    if present is not None:
        kind = "alter_expression"
        # A field that was an ordinary one has values of its own.
        check = None
        if not is_derived(present):
            check = checks.has_no_value(table, column)
        yield Step(Phase.LIFT, table.name, clause=ddl.drop_column(column.name), check=check)

    derived = change(table.name, kind, column.name, "generated")
    addition = Step(Phase.RULES, table.name, derived, clause=ddl.add_column(column))
    yield addition.silence(is_same)
    yield from mark_step(table, column)


def freeze(table: str, column: CurrentColumn) -> Step:
    """Make a derived column an ordinary one that keeps its values."""
    frozen = change(table, "drop_expression", column.name)
    return Step(Phase.LIFT, table, frozen, clause=ddl.drop_expression(column.name))


def drop_vectors(table: Table, current: CurrentTable) -> Iterator[Step]:
    """Drop columns of a search that the manifest no longer has."""
    for column in current.columns:
        is_undeclared = column.name not in table.columns
        if is_undeclared and is_derived(column) and column.name.startswith(SEARCH_COLUMN):
            dropped = change(table.name, "drop_column", column.name)
            clause = ddl.drop_column(column.name)
            yield Step(Phase.LIFT, table.name, dropped, clause=clause)
