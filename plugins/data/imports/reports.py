"""The report of an import: how many rows became records, and what is wrong with others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from kernel.public import MAX_PAGE_BYTES
from plugins.data.exchange.parse import Problem

MAX_PROBLEMS: Final = 1000
"""Problems that a report lists."""


class ShownRow(msgspec.Struct, frozen=True):
    """What a row becomes, as far as its sender may read that.

    `models.ImportRow` is its schema in the OpenAPI document.
    """

    row: int
    record: msgspec.Raw


class WrittenCount(msgspec.Struct, frozen=True):
    """How many records rows have created and met; `unchanged` of the latter were the same."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0


class Report(msgspec.Struct):
    """What an import did; of the rows that are not valid the first are in `errors`.

    `unchanged` are those of the `updated` rows that had all their values already. `ignored` are
    columns that were not read, `delimiter` what was between the cells, where that is no comma.
    `models.Imported` is its schema in the OpenAPI document.
    """

    rows: int = 0
    valid: int = 0
    created: int = 0
    updated: int = 0
    errors: list[Problem] = []
    unchanged: int | msgspec.UnsetType = msgspec.UNSET
    ignored: list[str] | msgspec.UnsetType = msgspec.UNSET
    delimiter: str | msgspec.UnsetType = msgspec.UNSET
    preview: list[ShownRow] | msgspec.UnsetType = msgspec.UNSET

    def clear(self) -> None:
        """Forget everything, as the file is read again."""
        self.rows = 0
        self.valid = 0
        self.created = 0
        self.updated = 0
        self.errors = []
        self.unchanged = msgspec.UNSET
        if self.preview is not msgspec.UNSET:
            self.preview = []

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
        if written.unchanged:
            self.unchanged = (self.unchanged or 0) + written.unchanged

    def note_rollback(self) -> None:
        """Note that nothing was written, as the file has wrong rows."""
        self.created = 0
        self.updated = 0
        self.unchanged = msgspec.UNSET

    def note_header(self, ignored: Iterable[str], delimiter: str) -> None:
        """Note what was read of the header."""
        names = list(ignored)
        if names:
            self.ignored = names
        if delimiter != ",":
            self.delimiter = delimiter

    def add_problem(self, problem: Problem) -> None:
        """Add a problem of a row."""
        if len(self.errors) < MAX_PROBLEMS:
            self.errors.append(problem)
