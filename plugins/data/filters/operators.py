"""The operators of where-trees: which kinds of fields each takes, and its SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from kernel.public import ValueKind, nearest

RELATION_OPERATORS: Final = ("$has", "$some", "$none")
_ORDERED: Final = frozenset[ValueKind]({"text", "number", "date", "timestamp", "uuid"})
_SINGLE: Final = _ORDERED | frozenset[ValueKind]({"boolean", "json"})
_ANY: Final = _SINGLE | frozenset[ValueKind]({"texts", "numbers"})
_TEXT: Final = frozenset[ValueKind]({"text"})
_FILES: Final = frozenset[ValueKind]({"file", "files"})
_HOLDERS: Final = frozenset[ValueKind]({"json", "texts", "numbers"})
ALLOWED_KINDS: Final[Mapping[str, frozenset[ValueKind]]] = {
    "$eq": _ANY | _FILES,
    "$ne": _ANY,
    "$gt": _ORDERED,
    "$gte": _ORDERED,
    "$lt": _ORDERED,
    "$lte": _ORDERED,
    "$like": _TEXT,
    "$ilike": _TEXT,
    "$in": _SINGLE | _FILES,
    "$nin": _SINGLE,
    "$contains": _HOLDERS,
    "$isNull": _ANY | _FILES,
}
INFIX: Final[Mapping[str, bytes]] = {
    "$eq": b"=",
    "$ne": b"<>",
    "$gt": b">",
    "$gte": b">=",
    "$lt": b"<",
    "$lte": b"<=",
    "$like": b"like",
    "$ilike": b"ilike",
}


MAX_LINKS: Final = 3
"""Links that a path of a field follows."""


def spread_path(name: str, condition: object) -> Mapping[str, Any]:
    """Return the where-tree of a field of a linked record, as `{"customer_id.name": "Acme"}`.

    A record without a linked one, as far as the caller may read that, has null there.
    """
    link, _, rest = name.partition(".")
    if condition is None:
        return {"$not": {link: {"$has": {rest: {"$isNull": False}}}}}
    if not isinstance(condition, Mapping):
        return {link: {"$has": {rest: condition}}}
    operators = cast("Mapping[str, Any]", condition)
    if len(operators) > 1:
        return {
            "$and": [spread_path(name, {operator: value}) for operator, value in operators.items()]
        }
    is_equal_to_null = "$eq" in operators and operators["$eq"] is None
    if is_equal_to_null or operators.get("$isNull") in (True, "true"):
        return spread_path(name, None)
    values = operators.get("$in")
    if isinstance(values, list | tuple) and None in values:
        present = [value for value in cast("Sequence[Any]", values) if value is not None]
        has_present = {link: {"$has": {rest: {"$in": present}}}}
        return {"$or": [has_present, spread_path(name, None)]}
    return {link: {"$has": {rest: operators}}}


def describe_missing(operators: Iterable[str]) -> str:
    """Say that a field needs an operator."""
    return f"an operator is wanted; known: {', '.join(operators)}"


def describe_unknown(operator: str, operators: Iterable[str]) -> str:
    """Say that there is no such operator."""
    return f"unknown operator {operator[:80]!r}; {nearest(operator, operators)}"
