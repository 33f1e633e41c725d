"""Which records a caller may see or touch: the grant, and what `record_scope` hooks narrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kernel.public import Action, Actor, BadRequest, Grant, HookBus, NotFound, Param, hookspecs

from .filters import Conditions
from .store import Table
from .values import UUID, shown


class Reach(msgspec.Struct, frozen=True):
    """The rows of a table that a caller reaches."""

    table: Table
    user_id: str | None
    own_only: bool
    trees: Sequence[Mapping[str, Any]] = ()

    @property
    def narrowed(self) -> bool:
        """Whether hooks say more about it than the grant does."""
        return bool(self.trees)

    @property
    def owner(self) -> tuple[str | None, ...]:
        """The first parameter of a statement that was made for `own_only`."""
        return (self.user_id,) if self.own_only else ()

    def rows(self, *params: Param) -> Conditions:
        """Begin the conditions of a statement whose first parameters are `params`."""
        rows = Conditions(self.table.columns, params)
        if self.own_only:
            self.table.is_owned(rows, self.user_id)
        for tree in self.trees:
            rows.matches(tree)
        return rows

    def record(self, record_id: str, *params: Param) -> Conditions:
        """The same for one record. Raises BadRequest where the id cannot be one."""
        self.check_id(record_id)
        rows = self.rows(*params)
        self.table.is_record(rows, record_id)
        return rows

    def check_id(self, record_id: str) -> None:
        """Raises BadRequest where an id cannot be one."""
        entity = self.table.entity
        if entity.id_type == "uuid" and not UUID.fullmatch(record_id):
            raise BadRequest(f"{entity.name}.id: a UUID is wanted, not {shown(record_id)}")
        if "\0" in record_id:
            raise BadRequest("text must not contain the character U+0000")


async def reach_of(bus: HookBus, actor: Actor, grant: Grant, table: Table, action: Action) -> Reach:
    """Ask everybody who narrows what."""
    trees = await bus.gather(
        hookspecs.record_scope, actor=actor, entity=table.entity, action=action
    )
    return Reach(table, actor.user_id, grant.own_only, trees)


def missing(record_id: str) -> NotFound:
    """There is no such record, or not for this caller: nobody learns which."""
    return NotFound(f"record '{record_id}' not found")
