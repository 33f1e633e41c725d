"""Searches within the rows that a caller may read: exact words first, then similar ones."""

from __future__ import annotations

from typing import Final

from kernel.public import Statements, Target, Transaction
from plugins.data.filters.conditions import Conditions, Tree
from plugins.data.rights.row_scope import RowScope
from plugins.data.rights.scopes import RowScopes
from plugins.data.statements.entity_table import Table
from plugins.data.statements.lists import TRIGRAMS

from .search_terms import Matching, Terms, read_terms

UNKNOWN: Final = "?"


class Searches:
    """Adds the words of a search to the conditions of a statement."""

    def __init__(self, statements: Statements, scopes: RowScopes) -> None:
        self._statements = statements
        self._scopes = scopes
        self._trigrams: str | None = UNKNOWN
        """The schema of pg_trgm, None without the extension."""

    async def require_terms(
        self, table: Table, conditions: Conditions, terms: Terms, *, similar: bool
    ) -> bytes | None:
        """Require the terms of a search and return the rank, or None where nothing can match."""
        if self._trigrams is UNKNOWN:
            raw = await self._statements.fetch(TRIGRAMS)
            self._trigrams = None if raw is None else raw.decode()
        matching = Matching(table, self._trigrams)
        if not similar:
            return matching.require_exact(conditions, terms)
        if not matching.can_compare_similar(terms):
            return None
        return matching.require_similar(conditions, terms)

    async def require_search(
        self,
        target: Target,
        scope: RowScope,
        conditions: Conditions,
        where: Tree | None,
        search: str | None,
    ) -> bytes | None:
        """Require the words of a search, or similar ones where no record has them; return the rank.

        Without a search, None.
        """
        if search is None or not search.strip():
            return None
        terms = read_terms(search)
        has_exact = await self.has_exact(target, where, terms)
        rank = await self.require_terms(scope.table, conditions, terms, similar=not has_exact)
        if rank is None:
            conditions.parts.append(b"false")
            return b"0"
        return rank

    async def has_exact(
        self, target: Target, where: Tree | None, terms: Terms, tx: Transaction | None = None
    ) -> bool:
        """Whether a record has the words of a search; only else similar ones count."""
        scope = await self._scopes.resolve(target, "read", where)
        conditions = scope.begin_conditions()
        if where:
            conditions.require_tree(where)
        await self.require_terms(scope.table, conditions, terms, similar=False)
        query = scope.table.reads.exists_statement(conditions)
        reader = self._statements if tx is None else tx
        raw = await reader.fetch(query, *conditions.params, custom_plan=True)
        return raw == b"t"
