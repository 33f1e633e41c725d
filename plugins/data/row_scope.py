"""Which records a caller may read or write: the grant, narrowed by `record_scope` hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from kernel.public import (
    Action,
    Actor,
    BadRequest,
    Grant,
    HookBus,
    HookFailed,
    Implementation,
    NotFound,
    Param,
    hookspecs,
)

from .columns import Columns
from .filters import RELATION_OPERATORS, Conditions
from .statements.entity import OWNER
from .store import Table

Tree = Mapping[str, Any]
"""A where-tree."""


class RowScope(msgspec.Struct, frozen=True):
    """The rows of a table that a caller may access; `trees` are those of hooks.

    `guards` are the implementations that returned the trees. `related` are the rows of other
    entities that conditions may reach, by entity. With `ids` only these records, as of accounts.
    """

    table: Table
    user_id: str | None
    own_only: bool
    trees: Sequence[Tree] = ()
    guards: Sequence[Implementation] = ()
    related: Mapping[str, RowScope] = {}
    ids: Sequence[str] | None = None

    @property
    def source(self) -> bytes:
        """The name of the table in SQL."""
        return self.table.name

    @property
    def columns(self) -> Columns:
        """What the caller may see of the rows."""
        return self.table.columns

    @property
    def every_column(self) -> Columns:
        """What conditions of hooks may name."""
        return self.table.every_column

    def rows(self, *params: Param) -> Conditions:
        """Begin the conditions of a statement whose first parameters are `params`."""
        rows = Conditions(self.table.columns, params, self.related)
        rows.parts += self.limits(rows, b"t")
        return rows

    def limits(self, rows: Conditions, alias: bytes) -> list[bytes]:
        """Return the conditions of these rows under an alias."""
        found: list[bytes] = []
        if self.own_only:
            owner = b"%b.%b" % (alias, OWNER)
            found.append(b"%b = %b" % (owner, rows.bind(self.user_id, b"uuid")))
        if self.ids is not None:
            found.append(b"%b.id = any (%b)" % (alias, rows.bind_once(self.ids, b"uuid[]")))
        for guard, tree in zip(self.guards, self.trees, strict=True):
            try:
                found += rows.within(self.every_column.under(alias), [tree], of_hook=True)
            except BadRequest as error:  # the plugin's mistake, not the caller's
                raise guard.failed(HookFailed(f"its where-tree is wrong: {error}")) from error
        return found

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
    guards, trees = list[Implementation](), list[Tree]()
    for guard in bus.implementations(hookspecs.record_scope):
        given = {"actor": actor, "entity": table.entity, "action": action}
        if (tree := await guard.call(given)) is not None:
            guards.append(guard)
            trees.append(tree)
    return RowScope(table, actor.user_id, grant.own_only, trees, guards)


def entities_in(columns: Columns, tree: object) -> Iterator[tuple[str, Tree]]:
    """Yield the entities that the relation filters of a where-tree reach directly, with the trees
    over them. What is wrong in a tree is found when it becomes SQL."""
    if not isinstance(tree, Mapping):
        return
    for name, wanted in cast("Tree", tree).items():
        if name in ("$and", "$or") and isinstance(wanted, Sequence):
            for branch in cast("Sequence[object]", wanted):
                yield from entities_in(columns, branch)
        elif name == "$not":
            yield from entities_in(columns, wanted)
        elif isinstance(wanted, Mapping) and (link := columns.links.get(name)) is not None:
            inner = cast("Tree", wanted)
            for operator in RELATION_OPERATORS:
                if operator in inner:
                    yield link.entity, inner[operator]


def record_not_found(record_id: str) -> NotFound:
    """Say the same for a record that does not exist and for one that is out of scope."""
    return NotFound(f"record '{record_id}' not found")
