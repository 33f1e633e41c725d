"""What one where-tree may hold: more would keep this process or PostgreSQL busy."""

from __future__ import annotations

from typing import Final

from kernel.public import BadRequest
from plugins.data.columns.column import Column

MAX_DEPTH: Final = 16
MAX_VALUES: Final = 1000
MAX_TERMS: Final = 4000
"""Conditions; a branch without a value has a cost as well."""

MAX_PATTERN: Final = 500
"""Characters of all patterns on one field. PostgreSQL can compare a pattern again at each character
of a text and does not look at `statement_timeout` meanwhile: 500 of them on a text of 60 MB took 75
seconds of one processor (PostgreSQL 18)."""


class TreeBudget:
    """Counts what a tree holds."""

    __slots__ = ("_pattern_lengths", "_terms", "_values")

    def __init__(self) -> None:
        self._values = 0
        self._terms = 0
        self._pattern_lengths: dict[str, int] = {}
        """Characters by the label of a field."""

    def check_depth(self, depth: int) -> None:
        """Raise BadRequest for a tree that is too deep."""
        if depth > MAX_DEPTH:
            raise BadRequest(f"where is nested more than {MAX_DEPTH} deep")

    def count_term(self) -> None:
        """Count a condition, or a branch of several. Raises BadRequest."""
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise BadRequest(f"where holds more than {MAX_TERMS} conditions")

    def count_values(self, number: int) -> None:
        """Count values. Raises BadRequest."""
        self._values += number
        if self._values > MAX_VALUES:
            raise BadRequest(f"where holds more than {MAX_VALUES} values")

    def count_pattern(self, column: Column, operator: str, pattern: str) -> None:
        """Count the characters of a pattern. Raises BadRequest, also where it ends too early."""
        length = self._pattern_lengths.get(column.label, 0) + len(pattern)
        self._pattern_lengths[column.label] = length
        if length > MAX_PATTERN:
            limit = f"at most {MAX_PATTERN} characters"
            raise BadRequest(f"{column.label}: patterns have {limit} together")
        backslashes_at_end = len(pattern) - len(pattern.rstrip("\\"))
        if backslashes_at_end % 2:
            raise BadRequest(f"{column.label}: {operator} cannot end in a single backslash")
