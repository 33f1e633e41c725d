"""Reads of single records."""

from __future__ import annotations

from typing import Final

from kernel.public import Reader, Tagged, Target, Transaction, View
from plugins.data.filters.conditions import Conditions
from plugins.data.rendering import Rendering, check_readable
from plugins.data.rights.row_scope import RowScope, record_not_found
from plugins.data.rights.scopes import RowScopes
from plugins.data.sources.read_sources import ReadSources
from plugins.data.statements.entity import Selection
from plugins.data.statements.expansions import read_expand

from .linked_bound import PageRows, check_linked, may_carry_too_many
from .selection import select_view

EVERYTHING: Final = View()


class RecordReader:
    """Reads one record as its caller may see it."""

    def __init__(self, scopes: RowScopes, sources: ReadSources) -> None:
        self._scopes = scopes
        self._sources = sources

    async def get(
        self, target: Target, record_id: str, view: View | None, tx: Transaction | None
    ) -> Tagged:
        """See `Records.get`."""
        if view is None:
            view = EVERYTHING
        shows_everything = not view.expand and view.fields is None
        if shows_everything:  # the most frequent, with the fewest steps
            scope = await self._scopes.narrow(target)
            if not scope.trees:
                return await self.read(scope, record_id, tx)

        expansions = read_expand(view.expand)
        scope = await self._scopes.resolve(target, "read", None, expansions)
        if shows_everything:
            return await self.read(scope, record_id, tx)
        reader = self._sources.choose_prompt(tx)
        conditions = scope.begin_conditions_of_record(record_id)
        counted_rows = PageRows(conditions.copy(), scope.columns.id)
        selection = select_view(scope, conditions, view, expansions)
        if may_carry_too_many(scope, expansions, 1):
            await check_linked(reader, scope, counted_rows, expansions)
        return await _read_selection(reader, scope, conditions, selection, record_id)

    async def read(self, scope: RowScope, record_id: str, reader: Reader | None = None) -> Tagged:
        """Return a record with every field, as far as it is within a scope. Raises NotFound."""
        table = scope.table
        if scope.trees:
            conditions = scope.begin_conditions_of_record(record_id)
            if reader is None:
                reader = self._sources.prompt
            return await _read_selection(reader, scope, conditions, table.everything, record_id)
        table.check_id(record_id)
        statements = table.select_by_id(own_only=scope.own_only)
        owner = (scope.user_id,) if scope.own_only else ()
        raw = await self._sources.choose_records(reader).fetch(statements, owner, record_id)
        return _finish(raw, table.rendering, record_id)


async def _read_selection(
    reader: Reader, scope: RowScope, conditions: Conditions, selection: Selection, record_id: str
) -> Tagged:
    query = scope.table.select_one(conditions, selection=selection)
    raw = await reader.fetch(query, *conditions.params, quick=not selection.links)
    return _finish(raw, selection.rendering, record_id)


def _finish(raw: bytes | None, rendering: Rendering, record_id: str) -> Tagged:
    if raw is None:
        raise record_not_found(record_id)
    return rendering.finish_tagged(check_readable(raw, record_id))
