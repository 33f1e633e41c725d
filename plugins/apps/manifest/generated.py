"""Generated fields: a closed grammar of expressions over the fields of the same record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from kernel.public import BadRequest, Field, show_value
from plugins.apps.names import is_identifier

from .problems import Part

FUNCTIONS: Final = ("$concat", "$sum", "$coalesce", "$lower")
MAX_ITEMS: Final = 20
MAX_NESTING: Final = 4
_NOT_WITH: Final = ("required", "default_value", "enum_values", "references", "on_delete")
_COALESCED: Final = ("text", "double precision", "boolean", "date", "timestamptz", "uuid")


def read_generated(part: Part, field: Field, fields: Mapping[str, Field]) -> Field:
    """Return a field with its expression and sources; report what is wrong with it."""
    expression = part.get("generated")
    if expression is None:
        return field
    if field.file is not None:
        part.problem("generated", "is not for a managed file")
    for name in _NOT_WITH:
        if part.get(name) not in (None, False, []):
            part.problem(name, "is not for a generated field")
    reader = _Reader(fields)
    try:
        sql_type = reader.read(expression, 1)
    except BadRequest as error:
        part.problem("generated", error.message)
        return field
    if sql_type != field.sql_type:
        part.problem("generated", f"makes {sql_type}, and the field is of type {field.type}")
    return msgspec.structs.replace(
        field, generated=expression, sources=tuple(dict.fromkeys(reader.sources))
    )


class _Reader:
    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = fields
        self.sources: list[str] = []

    def read(self, expression: object, depth: int) -> str:
        """Return the type that an expression makes. Raises BadRequest."""
        if depth > MAX_NESTING:
            raise BadRequest(f"is nested more than {MAX_NESTING} deep")
        members: list[tuple[str, object]] = []
        if isinstance(expression, dict):
            members = list(cast("Mapping[str, object]", expression).items())
        if len(members) != 1 or members[0][0] not in FUNCTIONS:
            raise BadRequest(f"must be an object with one of {', '.join(FUNCTIONS)}")

        [(name, arguments)] = members
        items: Sequence[object] = []
        if name == "$lower":
            items = [arguments]
        elif isinstance(arguments, list):
            items = cast("list[object]", arguments)
        if not 1 <= len(items) <= MAX_ITEMS:
            raise BadRequest(f"{name} takes a list of 1 to {MAX_ITEMS} items")

        item_types = [self._read_item(name, item, depth) for item in items]
        result_type = _MAKES.get(name, item_types[0])
        is_one_type = all(item_type == result_type for item_type in item_types)
        if result_type not in _COALESCED or not is_one_type:
            raise BadRequest(f"{name} takes {_TAKES.get(name, 'values of one simple type')} only")
        return result_type

    def _read_item(self, function: str, item: object, depth: int) -> str:
        if isinstance(item, dict):
            return self.read(cast("dict[str, Any]", item), depth + 1)
        if isinstance(item, bool):
            return "boolean"
        if isinstance(item, int | float):
            return "double precision"
        if not isinstance(item, str) or "\0" in item:
            raise BadRequest(f"{function}: a field or a value is wanted, not {show_value(item)}")
        if not is_identifier(item):
            return "text"
        field = self._fields.get(item)
        if field is None:
            raise BadRequest(f"there is no field {item!r} that is not generated itself")
        if field.file is not None:
            raise BadRequest(f"{function}: the managed file {item!r} has no value to compute with")
        self.sources.append(item)
        return field.sql_type


_MAKES: Final = {"$concat": "text", "$lower": "text", "$sum": "double precision"}
_TAKES: Final = {"$concat": "text", "$lower": "text", "$sum": "numbers"}
