"""Which records a caller may read or write: the grant, narrowed by `record_scope` hooks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
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

from .columns import Column, Columns
from .filters import RELATION_OPERATORS, Conditions
from .statements.entity import OWNER
from .store import Table, Values

Tree = Mapping[str, Any]
"""A where-tree."""


class RowScope(msgspec.Struct, frozen=True):
    """The rows of a table that a caller may access; `trees` are those of hooks.

    `guards` are the implementations that returned the trees. `related` are the rows of other
    entities that conditions may reach, by entity. With `ids` only these records, as of accounts.
    `links` are the limits of what the caller may link to.
    """

    table: Table
    user_id: str | None
    own_only: bool
    trees: Sequence[Tree] = ()
    guards: Sequence[Implementation] = ()
    related: Mapping[str, RowScope] = {}
    ids: Sequence[str] | None = None
    links: LinkLimits | None = None

    @property
    def is_narrowed(self) -> bool:
        """Whether these may be fewer than all rows of the table."""
        return self.own_only or bool(self.trees) or self.ids is not None

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
                raise guard.note_failure(HookFailed(f"its where-tree is wrong: {error}")) from error
        return found

    def written(self, rows: Conditions) -> Values | None:
        """Return how a statement writes values, if links are limited; see `LinkLimits.values`."""
        return None if self.links is None else self.links.values(rows)

    def record(self, record_id: str, *params: Param) -> Conditions:
        """Begin the conditions of a statement about one record. Raises BadRequest for a bad id."""
        self.table.check_id(record_id)
        rows = self.rows(*params)
        self.table.is_record(rows, record_id)
        return rows


class LinkLimits(msgspec.Struct, frozen=True):
    """What a writer of an entity may link to where it may not read every record of the target.

    `targets` are the rows that it may read, by the field of the link. `related` are the rows that
    their conditions reach. `readable` are those of the table itself, for changes: a writer may send
    the link that it reads in a record.

    A value beyond the limits becomes one that no record has, within the statement that writes it.
    So PostgreSQL refuses it as it refuses every unknown id, in the same words and at the same time.
    """

    entity: str
    targets: Mapping[str, RowScope]
    related: Mapping[str, RowScope]
    readable: RowScope | None = None

    @property
    def leads_back(self) -> bool:
        """Whether one of the links leads to the entity itself."""
        return any(each.table.entity.name == self.entity for each in self.targets.values())

    def without(self, names: Collection[str]) -> LinkLimits | None:
        """Return the limits of other fields, None where there are none."""
        targets = {name: each for name, each in self.targets.items() if name not in names}
        return msgspec.structs.replace(self, targets=targets) if targets else None

    def values(self, rows: Conditions, ids: bytes = b"") -> Values:
        """Return how a statement writes values; parameters are added to `rows`.

        `ids` are the records that the statement creates, as an array in SQL: they are the writer's.
        Without them it changes records.
        """
        rows.related = {**rows.related, **self.related}
        return partial(self._value, rows, ids)

    def _value(self, rows: Conditions, ids: bytes, column: Column, value: bytes) -> bytes:
        if column.name not in self.targets:
            return value
        allowed = [b"%b is null" % value, *self.tests(rows, ids, column, value)]
        if self.readable is not None and not ids:
            same = [b"%b = %b" % (column.sql, value), *self.readable.limits(rows, b"t")]
            allowed.append(b"(%b)" % b" and ".join(same))
        parts = (b" or ".join(allowed), value, column.cast)
        return b"case when %b then %b else gen_random_uuid()::%b end" % parts

    def tests(self, rows: Conditions, ids: bytes, column: Column, value: bytes) -> list[bytes]:
        """Return conditions of which a new value has to meet one."""
        target = self.targets[column.name]
        alias = rows.alias()
        inner = target.columns.under(alias)
        conditions = [b"%b = %b" % (inner.id.sql, value), *target.limits(rows, alias)]
        parts = (target.source, alias, b" and ".join(conditions))
        tests = [b"exists (select from %b as %b where %b)" % parts]
        if column.field is not None and column.field.default is not None:  # the manifest's choice
            tests.append(b"%b = %b" % (value, rows.bind(column.field.default, column.cast)))
        if ids and target.table.entity.name == self.entity:
            tests.append(b"%b = any (%b)" % (value, ids))
        return tests


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
