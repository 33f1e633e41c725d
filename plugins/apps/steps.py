"""What a sync does, piece by piece."""

from __future__ import annotations

from enum import IntEnum

import msgspec
from psycopg import sql

from .checks import Check
from .models import Change


class Phase(IntEnum):
    """When a step runs; each phase ends before the next begins.

    First all that a later step could trip over is lifted, then tables and columns are made, then
    types change, then the rules that are new or were lifted are put in force.

    Links to tables that are not the app's, such as the accounts, come last: PostgreSQL lets nobody
    write to a table that gets a link (JOIN), nobody even read one that loses a link (PART), until
    the transaction ends.
    """

    LIFT = 1
    BUILD = 2
    CONVERT = 3
    RULES = 4
    JOIN = 5
    PART = 6


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One piece: a clause of ALTER TABLE or a statement, and what must hold before.

    `table` is empty for what concerns the whole schema.

    `change` is what callers are told; None for what is part of another change. `parts` tells that
    a link to a table of others is lifted.
    """

    phase: Phase
    table: str
    change: Change | None = None
    clause: sql.Composable | None = None
    statement: sql.Composable | None = None
    check: Check | None = None
    parts: bool = False


def told(table: str, kind: str, column: str | None = None, detail: str = "") -> Change:
    """A change in words."""
    return Change(entity=table, change_type=kind, column=column, detail=detail)


class Plan(msgspec.Struct, frozen=True):
    """Every step of a sync; `refusals` are reasons why it cannot be done at all.

    `first` tells that the app was not there before.
    """

    steps: list[Step]
    refusals: list[str]
    first: bool = False

    @property
    def changes(self) -> list[Change]:
        """What a caller is told."""
        return [step.change for step in self.steps if step.change is not None]

    @property
    def new_tables(self) -> tuple[str, ...]:
        """Entities that get a table."""
        return tuple(c.entity for c in self.changes if c.change_type == "create_table")

    def steps_of(self, phase: Phase) -> list[Step]:
        """What is asked and done together."""
        return [step for step in self.steps if step.phase is phase]

    def tables(self) -> list[str]:
        """Tables that stand and are touched, by name."""
        touched = {s.table for s in self.steps if s.clause or s.statement or s.check}
        return sorted(touched - {"", *self.new_tables})
