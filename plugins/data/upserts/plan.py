"""What an upsert may do, and by which key its rows meet records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from kernel.public import BadRequest, Grant, Target, nearest
from plugins.data.rights.links import LinkLimitFinder
from plugins.data.rights.permissions import Permissions
from plugins.data.rights.row_scope import RowScope
from plugins.data.rights.scopes import RowScopes
from plugins.data.values.encoding import encode
from plugins.data.values.rows import Row, check_locked, name_place, row_of

Then = Literal["update", "ignore", "fail"]
"""What becomes of a row that meets a record."""


class UpsertPlan(msgspec.Struct, frozen=True):
    """How rows meet records: the fields that must be equal, and what happens then.

    `scope` are the records that the caller may update. With `is_import` a row that has the values
    of its record changes nothing, and an empty cell leaves an empty text. A row whose `id` no
    record has is wrong, unless the plan `creates_ids`.
    """

    create: Grant
    scope: RowScope
    on: tuple[str, ...]
    then: Then
    is_import: bool = False
    creates_ids: bool = True

    def coerce_row(self, values: Mapping[str, Any]) -> Row:
        """Coerce a row that creates or changes a record. Raises BadRequest, Forbidden."""
        table = self.scope.table
        check_locked(table, self.create, values)
        return row_of(table.shown, table.columns, values, creating=True, complete=False)

    def coerce_rows(self, bodies: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Coerce several rows; see `coerce_row`. An error names the place of its row."""
        return [name_place(place, self.coerce_row, values) for place, values in enumerate(bodies)]

    def key_of(self, row: Row) -> bytes | None:
        """Return the values that a record is met by, or None where a row meets none."""
        values = [row.get(name) for name in self.on]
        return None if None in values else encode(values)

    def check_keys(self, rows: Sequence[Row]) -> None:
        """Raise BadRequest where two rows have one key."""
        keys: set[bytes] = set()
        for place, row in enumerate(rows):
            key = self.key_of(row)
            if key is None:
                continue
            if key in keys:
                label = f"{self.scope.table.entity.name}.{', '.join(self.on)}"
                raise BadRequest(f"[{place}] {label}: the body has this key twice")
            keys.add(key)


class UpsertPlanner:
    """Checks the rights and the key of an upsert before any row is read."""

    def __init__(self, permissions: Permissions, scopes: RowScopes, links: LinkLimitFinder) -> None:
        self._permissions = permissions
        self._scopes = scopes
        self._links = links

    async def plan(self, target: Target, on: str, then: Then) -> UpsertPlan:
        """Plan an upsert by the fields `on`. Raises Forbidden, BadRequest."""
        scope = await self._find_changeable(target)
        return UpsertPlan(target.grant, scope, _read_key(scope, on), then)

    async def plan_import(self, target: Target, on: str, *, creates_ids: bool) -> UpsertPlan:
        """Plan an import, whose key may be the id of every entity. Raises Forbidden, BadRequest."""
        scope = await self._find_changeable(target)
        key = _read_key_of_import(scope, on)
        return UpsertPlan(
            target.grant, scope, key, "update", is_import=True, creates_ids=creates_ids
        )

    async def _find_changeable(self, target: Target) -> RowScope:
        """Return the records that the caller may update, and what it may link them to."""
        actor = target.actor
        update = await self._permissions.require(actor, target.app_id, target.entity, "update")
        updated = Target(actor, update, target.app_id, target.entity)
        scope = await self._scopes.resolve(updated, "update")
        return await self._links.limit_changes(actor, scope, scope.table.limited.names)


def _read_key(scope: RowScope, on: str) -> tuple[str, ...]:
    """Return the fields of a unique index that the caller may read. Raises BadRequest."""
    entity = scope.table.entity
    names = _read_names(scope, on)
    readable_keys = [{*key} for key in entity.unique if all(name in scope.columns for name in key)]
    is_made_by_server = names == ("id",) and not entity.id_declared
    if {*names} in readable_keys and not is_made_by_server:
        return names
    shown_keys = [",".join(key) for key in entity.unique if {*key} in readable_keys]
    hint = nearest(on, shown_keys)
    raise BadRequest(f"on: no unique index of {entity.name} has just {on[:80]!r}; {hint}")


def _read_key_of_import(scope: RowScope, on: str) -> tuple[str, ...]:
    """Return the same, or the id: a file that was exported has those that the server made."""
    names = _read_names(scope, on)
    return names if names == ("id",) else _read_key(scope, on)


def _read_names(scope: RowScope, on: str) -> tuple[str, ...]:
    return tuple(scope.columns.find(name.strip()).name for name in on.split(","))
