"""The operators of where-trees: which kinds of fields each takes, and its SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

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


def describe_missing(operators: Iterable[str]) -> str:
    """Say that a field needs an operator."""
    return f"an operator is wanted; known: {', '.join(operators)}"


def describe_unknown(operator: str, operators: Iterable[str]) -> str:
    """Say that there is no such operator."""
    return f"unknown operator {operator[:80]!r}; {nearest(operator, operators)}"
