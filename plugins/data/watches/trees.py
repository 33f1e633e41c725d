"""What the where-tree of a watch may hold, and which fields it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from kernel.public import BadRequest
from plugins.data.filters.conditions import Tree
from plugins.data.filters.operators import RELATION_OPERATORS

PATTERNS: Final = ("$like", "$ilike")


def check_no_relations(entity: str, tree: object) -> None:
    """Raise BadRequest for a condition on linked records: a watch does not see their changes."""
    for field, operators in _conditions_in(tree):
        name = f"{entity}.{field[:80]}"
        if is_path(field):
            raise BadRequest(f"{name}: a path does not work in a feed, nor in a webhook")
        for operator in operators:
            if operator in RELATION_OPERATORS:
                raise BadRequest(f"{name}: {operator} does not work in a feed, nor in a webhook")


def has_relations(tree: object) -> bool:
    """Whether a tree asks for linked records."""
    return any(
        is_path(field) or any(name in RELATION_OPERATORS for name in operators)
        for field, operators in _conditions_in(tree)
    )


def is_path(name: str) -> bool:
    """Whether a name leads to a linked record, as `customer_id.name`: no field has a dot."""
    return "." in name


def find_fields(tree: object) -> set[str]:
    """Return the fields that a tree asks for; those of linked records are not followed."""
    return {field for field, _ in _conditions_in(tree)}


def has_patterns(tree: object) -> bool:
    """Whether a tree compares patterns, which can take long."""
    return any(
        pattern in operators for _, operators in _conditions_in(tree) for pattern in PATTERNS
    )


def _conditions_in(tree: object) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the fields of a tree with their operators. What is wrong in it is found elsewhere."""
    waiting = [tree]
    while waiting:
        branch = waiting.pop()
        if not isinstance(branch, Mapping):
            continue
        for name, condition in cast("Tree", branch).items():
            if name in ("$and", "$or"):
                if isinstance(condition, list | tuple):
                    waiting += cast("Sequence[object]", condition)
            elif name == "$not":
                waiting.append(condition)
            elif isinstance(condition, Mapping):
                yield name, [*cast("Tree", condition)]
            else:
                yield name, ()
