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
    for name in _NOT_WITH:
        if part.get(name) not in (None, False, []):
            part.problem(name, "is not for a generated field")
    reader = _Reader(fields)
    try:
        found = reader.read(expression, 1)
    except BadRequest as error:
        part.problem("generated", error.message)
        return field
    if found != field.sql_type:
        part.problem("generated", f"makes {found}, and the field is of type {field.type}")
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
        members = (
            list(cast("Mapping[str, object]", expression).items())
            if isinstance(expression, dict)
            else []
        )
        if len(members) != 1 or members[0][0] not in FUNCTIONS:
            raise BadRequest(f"must be an object with one of {', '.join(FUNCTIONS)}")
        [(name, given)] = members
        if name == "$lower":
            items: Sequence[object] = [given]
        elif isinstance(given, list) and 1 <= len(cast("list[object]", given)) <= MAX_ITEMS:
            items = cast("list[object]", given)
        else:
            raise BadRequest(f"{name} takes a list of 1 to {MAX_ITEMS} items")
        types = [self._item(name, item, depth) for item in items]
        wanted = {"$concat": "text", "$lower": "text", "$sum": "double precision"}.get(
            name, types[0]
        )
        if wanted not in _COALESCED or any(found != wanted for found in types):
            raise BadRequest(f"{name} takes {_TAKES.get(name, 'values of one simple type')} only")
        return wanted

    def _item(self, function: str, item: object, depth: int) -> str:
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
        self.sources.append(item)
        return field.sql_type


_MAKES: Final = {"$concat": "text", "$lower": "text", "$sum": "double precision"}
_TAKES: Final = {"$concat": "text", "$lower": "text", "$sum": "numbers"}
