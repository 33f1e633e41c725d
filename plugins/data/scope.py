"""Which records a caller may read or write: the grant, narrowed by `record_scope` hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kernel.public import Action, Actor, Grant, HookBus, NotFound, Param, hookspecs

from .filters import Conditions
from .store import Table


class RowScope(msgspec.Struct, frozen=True):
    """The rows of a table that a caller may access; `trees` are those of hooks."""

    table: Table
    user_id: str | None
    own_only: bool
    trees: Sequence[Mapping[str, Any]] = ()

    def rows(self, *params: Param) -> Conditions:
        """Begin the conditions of a statement whose first parameters are `params`."""
        rows = Conditions(self.table.columns, params)
        if self.own_only:
            self.table.is_owned(rows, self.user_id)
        for tree in self.trees:
            rows.matches(tree)
        return rows

    def record(self, record_id: str, *params: Param) -> Conditions:
        """Begin the conditions of a statement about one record. Raises BadRequest for a bad id."""
        self.table.check_id(record_id)
        rows = self.rows(*params)
        self.table.is_record(rows, record_id)
        return rows


async def resolve_scope(
    bus: HookBus, actor: Actor, grant: Grant, table: Table, action: Action
) -> RowScope:
    """Combine a grant with what `record_scope` hooks return."""
    trees = await bus.gather(
        hookspecs.record_scope, actor=actor, entity=table.entity, action=action
    )
    return RowScope(table, actor.user_id, grant.own_only, trees)


def record_not_found(record_id: str) -> NotFound:
    """Say the same for a record that does not exist and for one that is out of scope."""
    return NotFound(f"record '{record_id}' not found")
