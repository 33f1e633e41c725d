"""Searches within the rows that a caller may read: exact words first, then similar ones."""

from __future__ import annotations

from kernel.public import Actor, Grant
from plugins.data.filters import Conditions
from plugins.data.row_scope import RowScope, Tree
from plugins.data.statements.lists import TRIGRAMS
from plugins.data.store import Table

from .search_terms import Matching, Terms, read_terms
from .tables import UNKNOWN, EntityTables


class SearchedScopes(EntityTables):
    """Adds searches to the rows of callers."""

    async def _matching(
        self, table: Table, rows: Conditions, terms: Terms, *, similar: bool
    ) -> bytes | None:
        """Require the terms of a search and return the rank, or None where nothing can match."""
        if self._trigrams is UNKNOWN:
            raw = await self._statements.fetch(TRIGRAMS)
            self._trigrams = None if raw is None else raw.decode()
        matching = Matching(table, self._trigrams)
        if not similar:
            return matching.exact(rows, terms)
        return matching.similar(rows, terms) if matching.can_compare_similar(terms) else None

    async def _match(
        self,
        actor: Actor,
        grant: Grant,
        scope: RowScope,
        rows: Conditions,
        where: Tree | None,
        search: str | None,
    ) -> bytes | None:
        """Require the words of a search, or similar ones where no record has them; return the rank.

        Without a search, None.
        """
        if search is None or not search.strip():
            return None
        entity, terms = scope.table.entity, read_terms(search)
        similar = not await self._found(actor, grant, entity.app_id, entity.name, where, terms)
        rank = await self._matching(scope.table, rows, terms, similar=similar)
        if rank is None:
            rows.parts.append(b"false")
            return b"0"
        return rank

    async def _found(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, where: Tree | None, terms: Terms
    ) -> bool:
        """Whether a record has the words of a search; only else similar ones count."""
        scope = await self._scope(actor, grant, app_id, entity, "read", where)
        rows = scope.rows()
        if where:
            rows.matches(where)
        await self._matching(scope.table, rows, terms, similar=False)
        query = scope.table.exists(rows)
        raw = await self._statements.fetch(query, *rows.params, custom_plan=True)
        return raw == b"t"
