"""What stands in the schema of an app."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

_SHORT: Final = {"timestamp with time zone": "timestamptz"}
_TEXTS: Final = re.compile(r"'((?:[^']|'')*)'::text")


class CurrentColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column as PostgreSQL describes it; `default` is the expression as it prints it."""

    name: str
    type: str
    not_null: bool
    default: str | None
    generated: bool

    @property
    def sql_type(self) -> str:
        """The type by the name that manifests' columns go by."""
        return _SHORT.get(self.type, self.type)


class CurrentIndex(msgspec.Struct, frozen=True, kw_only=True):
    """An index other than the primary key's."""

    name: str
    columns: tuple[str, ...] | None
    unique: bool
    valid: bool


class CurrentCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A CHECK constraint."""

    name: str
    definition: str
    valid: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """The literals in it: of one that the plugin made, the values of an enum."""
        return tuple(text.replace("''", "'") for text in _TEXTS.findall(self.definition))


class CurrentLink(msgspec.Struct, frozen=True, kw_only=True):
    """A foreign key; `on_delete` is pg_constraint's letter."""

    name: str
    columns: tuple[str, ...]
    target: tuple[str, str]
    on_delete: str
    valid: bool


class CurrentTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table, or whatever else goes by a table's name; `kind` is pg_class's letter."""

    kind: str
    columns: tuple[CurrentColumn, ...]
    indexes: tuple[CurrentIndex, ...]
    checks: tuple[CurrentCheck, ...]
    links: tuple[CurrentLink, ...]
    triggers: tuple[str, ...]

    def column(self, name: str) -> CurrentColumn | None:
        """A column by name."""
        return next((column for column in self.columns if column.name == name), None)


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in an app's schema, and the ledger: names to whether they are retired.

    `installed` tells whether there is such an app, `exists` whether there is such a schema.
    """

    installed: bool
    exists: bool
    entities: Mapping[str, bool]
    columns: Mapping[str, Mapping[str, bool]]
    tables: Mapping[str, CurrentTable]

    def retired(self) -> list[tuple[str, str | None]]:
        """What can be pruned: entities, and columns of entities that are live."""
        found: list[tuple[str, str | None]] = []
        for entity, gone in sorted(self.entities.items()):
            if gone:
                found.append((entity, None))
                continue
            columns = sorted(self.columns.get(entity, {}).items())
            found += [(entity, column) for column, retired in columns if retired]
        return found
