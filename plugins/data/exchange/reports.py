"""The report of an import: how many rows became records, and what is wrong with others."""

from __future__ import annotations

from typing import Final

import msgspec

from plugins.data.statements.lists import MAX_PAGE_BYTES

from .parse import Problem

MAX_PROBLEMS: Final = 1000
"""Problems that a report lists."""


class ShownRow(msgspec.Struct, frozen=True):
    """What a row becomes, as far as its sender may read that.

    `models.ImportRow` is its schema in the OpenAPI document.
    """

    row: int
    record: msgspec.Raw


class WrittenCount(msgspec.Struct, frozen=True):
    """How many records rows have created and changed."""

    created: int = 0
    updated: int = 0


class Report(msgspec.Struct):
    """What an import did; of the rows that are not valid the first are in `errors`.

    `models.Imported` is its schema in the OpenAPI document.
    """

    rows: int = 0
    valid: int = 0
    created: int = 0
    updated: int = 0
    errors: list[Problem] = []
    preview: list[ShownRow] | msgspec.UnsetType = msgspec.UNSET

    def add_preview(self, number: int, record: bytes) -> None:
        """Add the record of a row, as long as a reply has room for it."""
        rows = self.preview or []
        size = sum(len(row.record) for row in rows) + len(record)
        if size <= MAX_PAGE_BYTES:
            self.preview = [*rows, ShownRow(number, msgspec.Raw(record))]

    def count_written(self, rows: int, written: WrittenCount) -> None:
        """Count rows that were written."""
        self.valid += rows
        self.created += written.created
        self.updated += written.updated

    def add_problem(self, problem: Problem) -> None:
        """Add a problem of a row."""
        if len(self.errors) < MAX_PROBLEMS:
            self.errors.append(problem)
