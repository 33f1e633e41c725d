"""The row of a bulk that breaks a rule: PostgreSQL does not tell which one it was."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import uuid4

from kernel.public import Actor, ConstraintViolation, Statements, Transaction

from .hooked import NO_SETTINGS
from .store import Table
from .weight import encoded
from .writing import Row


class Culprit(Exception):
    """The row and what it breaks."""

    def __init__(self, index: int, breach: ConstraintViolation) -> None:
        super().__init__(index)
        self.index = index
        self.breach = breach


class _Innocent(Exception):
    """Every row could be inserted, this time; raised so that none is."""


async def plugin_at_fault(
    statements: Statements, actor: Actor, table: Table, rows: Sequence[Row]
) -> Culprit | None:
    """Insert the rows one by one, for a look: nothing stays. None where all of them go in now."""
    try:
        await statements.run(actor, partial(_one_by_one, table=table, rows=rows))
    except Culprit as found:
        return found
    except _Innocent:
        pass
    return None


async def _one_by_one(tx: Transaction, *, table: Table, rows: Sequence[Row]) -> None:
    links = [
        field.name
        for field in table.entity.fields
        if field.references is not None and field.references.entity == table.entity.name
    ]
    places = {row["id"]: index for index, row in enumerate(rows) if row.get("id") is not None}
    for index, each in enumerate(rows):
        ahead = [name for name in links if places.get(each.get(name), -1) > index]
        row = _on_its_own(each, ahead) if ahead else each
        try:
            written = encoded(table.columns, row)
            await tx.execute(table.insert(tuple(row)), NO_SETTINGS, written, tx.actor.user_id)
        except ConstraintViolation as breach:
            raise Culprit(index, breach) from None
    raise _Innocent


def _on_its_own(row: Row, ahead: Sequence[str]) -> Row:
    """Let a row's links to rows that come later lead to itself: in one statement they hold."""
    own = row.get("id") or str(uuid4())
    return {**row, "id": own, **dict.fromkeys(ahead, own)}
