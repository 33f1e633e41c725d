"""What bodies with some fields have in common, so that their values are checked together."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kernel.public import Entity, ValueKind

from .column import Column

_UUID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z"
_LARGEST: Final = sys.float_info.max
AS_SENT: Final[Mapping[ValueKind, Any]] = {
    "text": str,
    "number": Annotated[int, Meta(ge=-(2**53), le=2**53)]
    | Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)],
    "boolean": bool,
    "date": date,
    "uuid": Annotated[str, Meta(pattern=_UUID)],
}
"""Types of JSON values that a column of a kind stores as they were sent. msgspec checks all values
of a body at once, and a conversion takes ten times as long. They may refuse a value that the
conversion accepts, never the reverse. Texts must be looked at for U+0000 as well."""

MAX_KNOWN: Final = 100
"""Lists of fields that an entity remembers; clients send few."""


class BodyFields(msgspec.Struct, frozen=True):
    """What is known of the bodies that have the same fields in the same order."""

    names: tuple[str, ...]
    """The fields that are stored, in the order of a record."""
    texts: tuple[str, ...]
    converted: tuple[Column, ...]
    """Those whose values are converted one by one, in the order of the body."""
    complete: bool
    """Whether a record can be created from them."""


class BodyShapes:
    """Knows the bodies that clients send for an entity, by their fields."""

    def __init__(self, entity: Entity, columns: Mapping[str, Column]) -> None:
        """`columns` has each column by its name, in the order of a record."""
        self._entity = entity
        self._columns = columns
        self._known: dict[tuple[str, ...], BodyFields] = {}
        self.needed = tuple(column for column in columns.values() if _is_needed(column))
        """The fields without whose values no record can be created."""

    def describe(self, names: tuple[str, ...]) -> BodyFields | None:
        """Return what is known of bodies with these fields, None where one may be refused."""
        if len(names) > len(self._columns):
            return None
        body_fields = self._known.get(names)
        if body_fields is not None:
            return body_fields
        body_fields = self._make_description(names)
        if body_fields is not None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[names] = body_fields
        return body_fields

    @cached_property
    def struct(self) -> type[Any]:
        """A Struct that accepts bodies whose values are stored as they were sent."""
        fields: list[tuple[str, Any, Any]] = []
        for number, column in enumerate(self._columns.values()):
            stored_type = _type_as_sent(column)
            if stored_type is not None:
                default = msgspec.field(default=UNSET, name=column.name)
                fields.append((f"f{number}", stored_type | UnsetType, default))
        return msgspec.defstruct(self._entity.name, fields)

    def _make_description(self, names: tuple[str, ...]) -> BodyFields | None:
        sent_names = frozenset(names)
        are_known = self._columns.keys() >= sent_names
        has_chosen_id = "id" in names and self._entity.id_declared
        if not are_known or has_chosen_id:
            return None
        stored: list[str] = []
        texts: list[str] = []
        for column in self._columns.values():
            field = column.field
            if field is None or column.name not in sent_names:
                continue
            if field.generated is not None:
                return None
            stored.append(column.name)
            if column.kind == "text" and not field.enum_values:
                texts.append(column.name)
        sent_columns = [self._columns[name] for name in names]
        return BodyFields(
            names=tuple(stored),
            texts=tuple(texts),
            converted=tuple(column for column in sent_columns if _needs_conversion(column)),
            complete=sent_names.issuperset(column.name for column in self.needed),
        )


def _is_needed(column: Column) -> bool:
    return not column.nullable and column.field is not None and column.field.default is None


def _needs_conversion(column: Column) -> bool:
    return column.field is not None and _type_as_sent(column) is None


def _type_as_sent(column: Column) -> Any:
    """Return the type of the values that the column stores as they are, None where none does."""
    field = column.field
    if field is None or column.kind not in AS_SENT:
        return None
    stored_type: Any = AS_SENT[column.kind]
    if column.kind == "text" and field.enum_values:
        stored_type = Literal[field.enum_values]
    elif column.kind == "text" and column.type == "entity_link":  # an empty link is null
        stored_type = Annotated[str, Meta(min_length=1)]
    return stored_type | None if column.nullable else stored_type
