"""The columns of a file: fields, links by a natural key of their target, and what is ignored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kernel.public import BadRequest, Grant, nearest
from plugins.data.columns.column import Column
from plugins.data.rights.row_scope import RowScope
from plugins.data.statements.entity_table import Table
from plugins.data.values.rows import check_locked

from .cells import is_text
from .lines import FileLines, suggest_delimiter

IGNORED: Final = ("id", "created_at", "updated_at", "_etag")
KEY_KINDS: Final = ("text", "number", "date", "uuid")
"""Kinds of fields that links may be named by: each value has one spelling."""


class FileColumn(msgspec.Struct, frozen=True):
    """What the cells of a column of a file become.

    Without a `column` of the table they are ignored. With a `key`, a column of the linked entity,
    a cell has the value of that in the record that is linked to.
    """

    name: str
    column: Column | None
    key: Column | None = None


class LinkKey(msgspec.Struct, frozen=True):
    """A link in a row to the record whose field `key` has the `value`, until its id is known."""

    key: str
    value: Any


class FieldNames:
    """Finds the columns that names in a file mean.

    `targets` are the records that the caller may link to by a natural key, by the link's field.
    With `uses_ids` the file says which ids records have.
    """

    def __init__(
        self, table: Table, grant: Grant, targets: Mapping[str, RowScope], *, uses_ids: bool
    ) -> None:
        self._table = table
        self._grant = grant
        self._targets = targets
        self.uses_ids = uses_ids or table.entity.id_declared
        self.ignored = dict[str, None]()
        """Names of columns that the server sets itself, in the order of the file."""

    def read_header(self, lines: FileLines, names: Sequence[str]) -> list[FileColumn]:
        """Return the columns of a header. Raises BadRequest."""
        for position, name in enumerate(names, 1):
            if not is_text(name):
                hint = "; charset=utf-16 reads it" if lines.begins_as_utf_16() else ""
                raise BadRequest(f"the header is not {lines.charset} in column {position}{hint}")
        if not any(name.strip() for name in names):
            raise BadRequest("the first row must be a header with names of fields")
        trimmed_names = [self._fold(name) for name in names]
        self.check_locked(trimmed_names)
        try:
            columns = [self.find(name) for name in trimmed_names]
        except BadRequest as error:
            raise BadRequest(error.message + suggest_delimiter(names, lines.delimiter)) from None
        check_distinct(columns, "the header")
        return columns

    def find(self, name: str) -> FileColumn:
        """Return the column that a name means. Raises BadRequest for an unknown one."""
        if name == "":
            return FileColumn(name, None)
        if name in IGNORED and not (name == "id" and self.uses_ids):
            self.ignored[name] = None
            return FileColumn(name, None)
        field_name, dot, key_name = name.partition(".")
        if dot and field_name in self._table.columns:
            column = self._table.columns.find(field_name)
            return FileColumn(name, column, self._find_key(column, key_name))
        column = self._table.columns.find(name)
        if column.field is not None and column.field.generated is not None:
            self.ignored[name] = None
            return FileColumn(name, None)
        return FileColumn(name, column)

    def check_locked(self, names: Sequence[str]) -> None:
        """Raise Forbidden for a field that the caller may read and not write."""
        check_locked(self._table, self._grant, {name.partition(".")[0]: None for name in names})

    def _fold(self, name: str) -> str:
        """Return a name of a header as fields are named."""
        trimmed = name.strip()
        return trimmed if trimmed in self._table.columns else trimmed.lower()

    def _find_key(self, column: Column, key_name: str) -> Column:
        """Return the unique field by which a link's target is named. Raises BadRequest."""
        if column.field is None or column.field.references is None:
            raise BadRequest(f"{column.label} is not a link, so it has no {key_name[:80]!r}")
        entity = column.field.references.entity
        keys = list[str]()
        rows = self._targets.get(column.name)
        if rows is not None:
            names = [key[0] for key in rows.table.shown.unique if len(key) == 1]
            keys = [name for name in names if rows.columns.find(name).kind in KEY_KINDS]
            if key_name in keys:
                return rows.columns.find(key_name)
        hint = nearest(key_name, keys)
        message = f"{column.label}: no unique index of {entity} has just {key_name[:80]!r}"
        raise BadRequest(f"{message}; {hint}" if hint else message)


def check_distinct(columns: Sequence[FileColumn], place: str) -> None:
    """Raise BadRequest where two columns of a header or a line are one field."""
    names = [
        column.name if column.column is None else column.column.name
        for column in columns
        if column.name
    ]
    [(most_frequent, count)] = Counter(names).most_common(1)
    if count > 1:
        raise BadRequest(f"{place} names {most_frequent[:80]!r} twice")
