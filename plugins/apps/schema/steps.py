"""The steps of a sync."""

from __future__ import annotations

from enum import IntEnum

import msgspec
from psycopg import sql

from kernel.public import Renamed
from plugins.apps.models import Change

from .checks import Check


class Phase(IntEnum):
    """When a step runs; each phase ends before the next begins.

    RENAME gives tables and columns their new names, which all other steps use. LIFT drops what
    could fail later steps, BUILD creates tables and columns, CONVERT changes types, RULES creates
    the rules that are new or were dropped.

    Links to tables of other schemas, such as the accounts, come last: until the transaction ends,
    PostgreSQL blocks writes to a table that gets a link (JOIN), and reads of one that loses a link
    (PART).
    """

    RENAME = 0
    LIFT = 1
    BUILD = 2
    CONVERT = 3
    RULES = 4
    JOIN = 5
    PART = 6


class Step(msgspec.Struct, frozen=True):
    """A clause of ALTER TABLE or a statement, and the check that must pass before.

    `table` is empty for a step about the whole schema. `change` is reported to callers; None for a
    part of another change. `parts` says that a link to a table of another schema is dropped.
    """

    phase: Phase
    table: str
    change: Change | None = None
    clause: sql.Composable | None = None
    statement: sql.Composable | None = None
    check: Check | None = None
    parts: bool = False

    def silence(self, silent: bool) -> Step:
        """Return the step without its change where it is `silent`, for a part of another one."""
        if not silent:
            return self
        return msgspec.structs.replace(self, change=None)


def change(table: str, kind: str, column: str | None = None, detail: str = "") -> Change:
    """Describe a change of a table, or of one of its columns."""
    return Change(entity=table, change_type=kind, column=column, detail=detail)


class Plan(msgspec.Struct, frozen=True):
    """The steps of a sync; `refusals` are reasons why it is not possible.

    `first` says that the app was not installed before, `renamed` what gets another name.
    """

    steps: list[Step]
    refusals: list[str]
    first: bool = False
    renamed: tuple[Renamed, ...] = ()

    @property
    def changes(self) -> list[Change]:
        """The changes to report."""
        return [step.change for step in self.steps if step.change is not None]

    @property
    def new_tables(self) -> tuple[str, ...]:
        """Entities that get a table."""
        return tuple(
            change.entity for change in self.changes if change.change_type == "create_table"
        )

    @property
    def former_tables(self) -> dict[str, str]:
        """The names that tables have now, by those that they get."""
        former_names: dict[str, str] = {}
        for name in self.renamed:
            if name.field is None:
                former_names[name.entity] = former_names.pop(name.former, name.former)
        return former_names

    def steps_of(self, phase: Phase) -> list[Step]:
        """Return the steps that are checked and done together."""
        return [step for step in self.steps if step.phase is phase]

    def tables(self) -> list[str]:
        """Return the present names of existing tables that change."""
        names = {
            step.table
            for step in self.steps
            if step.clause is not None or step.statement is not None or step.check is not None
        }
        former_names = self.former_tables
        names_for_a_moment = {name.former for name in self.renamed if name.field is None} - set(
            former_names.values()
        )
        present_names = names - {"", *self.new_tables} - names_for_a_moment
        return sorted(former_names.get(name, name) for name in present_names)
