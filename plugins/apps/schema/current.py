"""The schema of an app as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

_SHORT: Final = {"timestamp with time zone": "timestamptz"}
_TEXTS: Final = re.compile(r"'((?:[^']|'')*)'::text(\[\])?")
_ITEMS: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^{},]+)')
"""Of an array as PostgreSQL prints it: items in quotes, and those that need none."""


class CurrentColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column as PostgreSQL describes it; `default` is the printed expression."""

    name: str
    type: str
    not_null: bool
    default: str | None
    generated: bool
    comment: str | None = None

    @property
    def sql_type(self) -> str:
        """The type by the name that `COLUMN_TYPES` uses."""
        return _SHORT.get(self.type, self.type)


class CurrentIndex(msgspec.Struct, frozen=True, kw_only=True):
    """An index other than that of the primary key."""

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
        """Its literals; of a check that the plugin made, the values of an enum."""
        texts: list[str] = []
        for quoted, brackets in _TEXTS.findall(self.definition):
            text = quoted.replace("''", "'")
            if brackets:
                texts += _read_items(text)
            else:
                texts.append(text)
        return tuple(texts)


def _read_items(array: str) -> list[str]:
    items: list[str] = []
    for quoted, bare in _ITEMS.findall(array):
        unescaped = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        items.append(unescaped or bare)
    return items


class CurrentLink(msgspec.Struct, frozen=True, kw_only=True):
    """A foreign key; `on_delete` is pg_constraint's letter."""

    name: str
    columns: tuple[str, ...]
    target: tuple[str, str]
    on_delete: str
    valid: bool


class CurrentTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table, or another relation of that name; `kind` is pg_class's letter.

    `primary_key` is the name of that constraint, empty without one.
    """

    kind: str
    columns: tuple[CurrentColumn, ...]
    indexes: tuple[CurrentIndex, ...]
    checks: tuple[CurrentCheck, ...]
    links: tuple[CurrentLink, ...]
    triggers: tuple[str, ...]
    primary_key: str = ""

    def column(self, name: str) -> CurrentColumn | None:
        """Return a column by name."""
        return next((column for column in self.columns if column.name == name), None)


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in an app's schema, and the ledger: names to whether they are retired.

    `installed` says whether the app exists, `exists` whether its schema does.
    """

    installed: bool
    exists: bool
    trigrams: str | None = None
    """The schema of the extension pg_trgm, if there is one."""

    entities: Mapping[str, bool]
    columns: Mapping[str, Mapping[str, bool]]
    tables: Mapping[str, CurrentTable]

    def retired(self) -> list[tuple[str, str | None]]:
        """List what can be pruned: entities, and columns of entities that are in use."""
        retired: list[tuple[str, str | None]] = []
        for entity, is_entity_retired in sorted(self.entities.items()):
            if is_entity_retired:
                retired.append((entity, None))
                continue
            columns = sorted(self.columns.get(entity, {}).items())
            for column, is_retired in columns:
                if is_retired:
                    retired.append((entity, column))
        return retired
