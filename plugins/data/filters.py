"""Where-trees to SQL: a closed table of operators, every value a bound parameter."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from kernel.public import BadRequest, Param

from .columns import Column, Columns
from .models import PARAMETERS
from .values import Kind, coerce, shown

MAX_DEPTH: Final = 16
MAX_VALUES: Final = 1000
MAX_TERMS: Final = 4000
"""Branches that hold no value cost something as well."""

MAX_PATTERN: Final = 10_000
"""Characters of a pattern, which PostgreSQL tries at each row."""

MAX_BEHIND: Final = 500
"""Characters behind the first `%` of patterns, for each field together. PostgreSQL may compare them
anew at each character of a text, and nothing interrupts it before the end of the text."""

MAX_LISTED: Final = 5_000_000
"""Characters of the texts in all arrays of a tree, each of which is looked at for its quotes."""

_ORDERED: Final = frozenset[Kind]({"text", "number", "date", "timestamp", "uuid"})
_SINGLE: Final = _ORDERED | frozenset[Kind]({"boolean", "json"})
_ANY: Final = _SINGLE | frozenset[Kind]({"texts", "numbers"})
_TEXT: Final = frozenset[Kind]({"text"})
_HOLDERS: Final = frozenset[Kind]({"json", "texts", "numbers"})
_ALLOWED: Final[Mapping[str, frozenset[Kind]]] = {
    "$eq": _ANY,
    "$ne": _ANY,
    "$gt": _ORDERED,
    "$gte": _ORDERED,
    "$lt": _ORDERED,
    "$lte": _ORDERED,
    "$like": _TEXT,
    "$ilike": _TEXT,
    "$in": _SINGLE,
    "$nin": _SINGLE,
    "$contains": _HOLDERS,
    "$isNull": _ANY,
}
_INFIX: Final[Mapping[str, bytes]] = {
    "$eq": b"=",
    "$ne": b"<>",
    "$gt": b">",
    "$gte": b">=",
    "$lt": b"<",
    "$lte": b"<=",
    "$like": b"like",
    "$ilike": b"ilike",
}
_BEFORE_WILDCARD: Final = re.compile(r"(?:[^%\\]|\\.)*", re.DOTALL)
_encode = msgspec.json.Encoder().encode


def bindable(kind: Kind, value: Any) -> Param:
    """Turn a coerced value into a parameter of a statement."""
    return _encode(value) if kind == "json" and value is not None else value


class Conditions:
    """What rows must satisfy: SQL over the alias `t`, and the parameters that it speaks of.

    `params` are those of the statement that stand before it; more are appended.
    """

    def __init__(self, columns: Columns, params: Iterable[Param] = ()) -> None:
        self.params: list[Param] = list(params)
        self.parts: list[bytes] = []
        self.searches = False
        """Whether a pattern is among them that no index helps with: each record is looked at."""
        self._columns = columns
        self._begin()

    def _begin(self) -> None:
        self._values = self._terms = self._listed = 0
        self._behind: Counter[str] = Counter()

    def bind(self, value: Param, cast_to: bytes) -> bytes:
        """Add a parameter and return how the statement names it."""
        self.params.append(value)
        return b"$%d::%b" % (len(self.params), cast_to)

    def equals(self, sql: bytes, value: Param, cast_to: bytes) -> None:
        """Demand that a column has a value."""
        self.parts.append(b"%b = %b" % (sql, self.bind(value, cast_to)))

    def matches(self, tree: Mapping[str, Any]) -> None:
        """Demand a where-tree. Raises BadRequest that names what is wrong."""
        self._begin()
        self.parts.append(self._tree(tree, 1))

    def clause(self) -> bytes:
        """Return all of it as a `where` clause, or nothing."""
        return b" where " + b" and ".join(self.parts) if self.parts else b""

    def _tree(self, tree: Any, depth: int) -> bytes:
        if not isinstance(tree, Mapping):
            raise BadRequest(f"where: an object is wanted, not {shown(tree)}")
        if depth > MAX_DEPTH:
            raise BadRequest(f"where is nested more than {MAX_DEPTH} deep")
        self._count_term()
        branches = cast("Mapping[str, Any]", tree)
        return _joined(
            [self._branch(name, wanted, depth) for name, wanted in branches.items()],
            b" and ",
            b"true",
        )

    def _branch(self, name: str, wanted: Any, depth: int) -> bytes:
        if name == "$and":
            return _joined(self._trees(name, wanted, depth), b" and ", b"true")
        if name == "$or":
            return _joined(self._trees(name, wanted, depth), b" or ", b"false")
        if name == "$not":
            return b"(not %b)" % self._tree(wanted, depth + 1)
        if name.startswith("$"):
            unknown = f"unknown operator {name[:80]!r}"
            raise BadRequest(f"where: {unknown}; {_known(('$and', '$or', '$not'))}")
        return self._field(self._columns.find(name, PARAMETERS), wanted)

    def _trees(self, name: str, trees: Any, depth: int) -> list[bytes]:
        if not isinstance(trees, list | tuple):
            raise BadRequest(f"where: {name} takes an array, not {shown(trees)}")
        return [self._tree(tree, depth + 1) for tree in cast("Sequence[Any]", trees)]

    def _field(self, column: Column, wanted: Any) -> bytes:
        if not isinstance(wanted, Mapping) or _is_plain(column, cast("Mapping[str, Any]", wanted)):
            return self._term(column, "$eq", wanted)
        operators = cast("Mapping[str, Any]", wanted)
        if not operators:
            raise BadRequest(f"{column.label}: an operator is wanted, {_known(_ALLOWED)}")
        return _joined(
            [self._term(column, operator, value) for operator, value in operators.items()],
            b" and ",
            b"true",
        )

    def _term(self, column: Column, operator: str, value: Any) -> bytes:
        kinds = _ALLOWED.get(operator)
        if kinds is None:
            unknown = f"unknown operator {operator[:80]!r}"
            raise BadRequest(f"{column.label}: {unknown}; {_known(_ALLOWED)}")
        if column.kind not in kinds:
            raise BadRequest(f"{column.label}: {operator} does not work on {column.type}")
        self._count_term()
        return _SPECIAL.get(operator, Conditions._compare)(self, column, operator, value)

    def _compare(self, column: Column, operator: str, value: Any) -> bytes:
        fitting = self._coerced(column, value)
        if fitting is None:
            return _compare_null(column, operator)
        if operator in ("$like", "$ilike"):
            _check_pattern(column, operator, fitting)
            self._count_behind(column, operator, fitting)
        return b"(%b %b %b)" % (column.sql, _INFIX[operator], self._bound(column, fitting))

    def _in(self, column: Column, operator: str, value: Any) -> bytes:
        if not isinstance(value, list | tuple):
            raise BadRequest(f"{column.label}: {operator} takes an array, not {shown(value)}")
        items = [self._coerced(column, item) for item in cast("Sequence[Any]", value)]
        present = [_element(column.kind, item) for item in items if item is not None]
        if not items:
            return b"false" if operator == "$in" else b"true"
        self._count_listed(present)
        listed = self.bind(present, column.cast + b"[]")
        one, all_of = b"(%b = any(%b))", b"(%b <> all(%b))"
        test = (one if operator == "$in" else all_of) % (column.sql, listed)
        if len(present) == len(items):
            return test
        # A null in the list is meant as in {f: null}; SQL's own answer would be "nothing, ever".
        null = b"(%b or %b is null)" if operator == "$in" else b"(%b and %b is not null)"
        return null % (test, column.sql)

    def _contains(self, column: Column, operator: str, value: Any) -> bytes:
        many = column.kind != "json" and not isinstance(value, list | tuple)
        fitting = self._coerced(column, [value] if many else value)
        if fitting is None:
            raise BadRequest(f"{column.label}: {operator} takes a value, not null")
        return b"(%b @> %b)" % (column.sql, self._bound(column, fitting))

    def _is_null(self, column: Column, operator: str, value: Any) -> bytes:
        self._count(1)
        wanted = coerce("boolean", value, f"{column.label} {operator}")
        if wanted is None:
            raise BadRequest(f"{column.label}: {operator} takes true or false, not {shown(value)}")
        return b"(%b is %b)" % (column.sql, b"null" if wanted else b"not null")

    def _bound(self, column: Column, value: Any) -> bytes:
        if column.kind == "texts":
            self._count_listed(value)
        return self.bind(bindable(column.kind, value), column.cast)

    def _coerced(self, column: Column, value: Any) -> Any:
        many = column.kind in ("texts", "numbers") and isinstance(value, list | tuple)
        self._count(len(cast("Sequence[Any]", value)) if many else 1)
        return column.coerce(value)

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise BadRequest(f"where holds more than {MAX_VALUES} values")

    def _count_listed(self, items: Iterable[Any] | None) -> None:
        self._listed += sum(len(item) for item in items or () if isinstance(item, str))
        if self._listed > MAX_LISTED:
            raise BadRequest(f"arrays of where hold more than {MAX_LISTED} characters")

    def _count_behind(self, column: Column, operator: str, pattern: str) -> None:
        before = _BEFORE_WILDCARD.match(pattern)
        behind = max(0, len(pattern) - (before.end() if before else 0) - 1)
        self._behind[column.name] += behind
        if self._behind[column.name] > MAX_BEHIND:
            most = f"at most {MAX_BEHIND} characters behind a '%'"
            raise BadRequest(f"{column.label}: patterns take {most} together")
        self.searches |= behind > 0 or operator == "$ilike"

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise BadRequest(f"where holds more than {MAX_TERMS} conditions")


_SPECIAL: Final[Mapping[str, Callable[[Conditions, Column, str, Any], bytes]]] = {
    "$in": Conditions._in,  # pyright: ignore[reportPrivateUsage]
    "$nin": Conditions._in,  # pyright: ignore[reportPrivateUsage]
    "$contains": Conditions._contains,  # pyright: ignore[reportPrivateUsage]
    "$isNull": Conditions._is_null,  # pyright: ignore[reportPrivateUsage]
}


def _is_plain(column: Column, wanted: Mapping[str, Any]) -> bool:
    """Whether an object is a value of a json field, not a map of operators."""
    return column.kind == "json" and not any(name.startswith("$") for name in wanted)


def _check_pattern(column: Column, operator: str, pattern: str) -> None:
    if len(pattern) > MAX_PATTERN:
        raise BadRequest(f"{column.label}: {operator} takes at most {MAX_PATTERN} characters")
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise BadRequest(f"{column.label}: {operator} cannot end in a single backslash")


def _compare_null(column: Column, operator: str) -> bytes:
    if operator == "$eq":
        return b"(%b is null)" % column.sql
    if operator == "$ne":
        return b"(%b is not null)" % column.sql
    raise BadRequest(f"{column.label}: {operator} takes a value, not null")


def _element(kind: Kind, value: Any) -> Any:
    """An element of an array parameter, which cannot be bytes."""
    return _encode(value).decode() if kind == "json" else value


def _joined(parts: Sequence[bytes], word: bytes, empty: bytes) -> bytes:
    if len(parts) == 1:
        return parts[0]
    return b"(%b)" % word.join(parts) if parts else empty


def _known(names: Iterable[str]) -> str:
    return f"known are {', '.join(names)}"
