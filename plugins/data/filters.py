"""Where-trees to SQL: a closed table of operators, every value a bound parameter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, Final, Protocol, cast

import msgspec

from kernel.public import BadRequest, Param, ValueKind, coerce_value, nearest, show_value

from .columns import Column, Columns, Link
from .models import PARAMETERS

MAX_DEPTH: Final = 16
MAX_VALUES: Final = 1000
MAX_TERMS: Final = 4000
"""Conditions; a branch without a value has a cost as well."""

MAX_PATTERN: Final = 500
"""Characters of all patterns on one field. PostgreSQL can compare a pattern again at each character
of a text and does not look at `statement_timeout` meanwhile: 500 of them on a text of 60 MB took 75
seconds of one processor (PostgreSQL 18)."""

MAX_RELATIONS: Final = 30
"""Filters by linked records in one tree; PostgreSQL plans each as a query of its own."""

RELATION_OPERATORS: Final = ("$has", "$some", "$none")
_ORDERED: Final = frozenset[ValueKind]({"text", "number", "date", "timestamp", "uuid"})
_SINGLE: Final = _ORDERED | frozenset[ValueKind]({"boolean", "json"})
_ANY: Final = _SINGLE | frozenset[ValueKind]({"texts", "numbers"})
_TEXT: Final = frozenset[ValueKind]({"text"})
_HOLDERS: Final = frozenset[ValueKind]({"json", "texts", "numbers"})
_ALLOWED: Final[Mapping[str, frozenset[ValueKind]]] = {
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
_encode = msgspec.json.Encoder().encode


class Related(Protocol):
    """The rows of another entity that the caller may read."""

    @property
    def source(self) -> bytes:
        """The name of the table in SQL."""
        ...

    @property
    def columns(self) -> Columns:
        """What the caller may see of them."""
        ...

    @property
    def every_column(self) -> Columns:
        """What conditions of hooks may name."""
        ...

    def limits(self, rows: Conditions, alias: bytes) -> list[bytes]:
        """Return the conditions of these rows under an alias."""
        ...


class Conditions:
    """The conditions of a statement: SQL over the alias of `columns`, and its parameters.

    `params` are the statement's parameters so far; more are appended. `related` are the entities
    that a tree may reach by links: one that is missing has no rows for the caller.
    """

    def __init__(
        self,
        columns: Columns,
        params: Iterable[Param] = (),
        related: Mapping[str, Related] | None = None,
    ) -> None:
        self.params: list[Param] = list(params)
        self.related: Mapping[str, Related] = related or {}
        self._aliases = 0
        self._relations = 0  # of all trees together: those of hooks can reach each other
        self.parts: list[bytes] = []
        self._columns = columns
        self._of_hook = False
        self._begin()

    def copied(self) -> Conditions:
        """Return the same conditions, for another statement that begins with them."""
        other = copy(self)
        other.params = self.params[:]
        other.parts = self.parts[:]
        return other

    def _begin(self) -> None:
        self._values = self._terms = 0
        self._pattern_lengths: Counter[str] = Counter()

    def bind(self, value: Param, cast_to: bytes) -> bytes:
        """Add a parameter and return its placeholder with a cast."""
        self.params.append(value)
        return b"$%d::%b" % (len(self.params), cast_to)

    def bind_once(self, value: Param, cast_to: bytes) -> bytes:
        """Like `bind`, for a large value that several conditions share."""
        for number, param in enumerate(self.params, 1):
            if param is value:
                return b"$%d::%b" % (number, cast_to)
        return self.bind(value, cast_to)

    def equals(self, sql: bytes, value: Param, cast_to: bytes) -> None:
        """Require that a column has a value."""
        self.parts.append(b"%b = %b" % (sql, self.bind(value, cast_to)))

    def matches(self, tree: Mapping[str, Any]) -> None:
        """Require a where-tree. Raises BadRequest that names what is wrong."""
        self._begin()
        self.parts.append(self._tree(tree, 1))

    def alias(self) -> bytes:
        """Return an alias that the statement does not have yet."""
        self._aliases += 1
        return b"t%d" % self._aliases

    def within(
        self, columns: Columns, trees: Iterable[Mapping[str, Any]], *, of_hook: bool = False
    ) -> list[bytes]:
        """Return trees over other columns as conditions of their own.

        Those of a hook may name fields that the caller may not read, of linked records too.
        """
        outer, self._columns = self._columns, columns
        before, self._of_hook = self._of_hook, of_hook
        counts = (self._values, self._terms, self._pattern_lengths)
        try:
            found: list[bytes] = []
            for tree in trees:
                self._begin()
                found.append(self._tree(tree, 1))
            return found
        finally:
            self._columns, self._of_hook = outer, before
            self._values, self._terms, self._pattern_lengths = counts

    def clause(self) -> bytes:
        """Return the `where` clause, empty without conditions."""
        return b" where " + b" and ".join(self.parts) if self.parts else b""

    def _tree(self, tree: Any, depth: int) -> bytes:
        if not isinstance(tree, Mapping):
            raise BadRequest(f"where: an object is wanted, not {show_value(tree)}")
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
            raise BadRequest(f"where: {_unknown(name, ('$and', '$or', '$not'))}")
        if _is_relation(wanted) or name not in self._columns:
            return self._relation(name, wanted, depth)
        return self._field(self._columns.find(name, PARAMETERS), wanted)

    def _relation(self, name: str, wanted: Any, depth: int) -> bytes:
        """Require linked records, as far as the caller may read them."""
        if not _is_relation(wanted):
            self._columns.find(name, PARAMETERS)
        link = self._columns.link(name)
        operators = cast("Mapping[str, Any]", wanted if isinstance(wanted, Mapping) else {})
        known = RELATION_OPERATORS[1:] if link.reverse else RELATION_OPERATORS[:1]
        wrong = next((operator for operator in operators if operator not in known), None)
        if wrong is not None or not operators:
            which = _unknown(wrong, known) if wrong is not None else _wanted(known)
            raise BadRequest(f"{self._columns.entity.name}.{name}: {which}")
        return _joined(
            [self._linked(link, operator, tree, depth) for operator, tree in operators.items()],
            b" and ",
            b"true",
        )

    def _linked(self, link: Link, operator: str, tree: Any, depth: int) -> bytes:
        self._count_term()
        self._relations += 1
        if self._relations > MAX_RELATIONS:
            raise BadRequest(f"where holds more than {MAX_RELATIONS} filters by relation")
        target = self.related.get(link.entity)
        if target is None:
            return b"true" if operator == "$none" else b"false"
        outer, alias = self._columns, self.alias()
        inner = (target.every_column if self._of_hook else target.columns).under(alias)
        joined = join(outer, link, inner)
        limits = target.limits(self, alias)
        self._columns = inner
        try:
            wanted = self._tree(tree, depth + 1)
        finally:
            self._columns = outer
        test = b"exists (select from %b as %b where %b)" % (
            target.source,
            alias,
            b" and ".join([joined, *limits, wanted]),
        )
        return b"(not %b)" % test if operator == "$none" else test

    def _trees(self, name: str, trees: Any, depth: int) -> list[bytes]:
        if not isinstance(trees, list | tuple):
            raise BadRequest(f"where: {name} takes an array, not {show_value(trees)}")
        return [self._tree(tree, depth + 1) for tree in cast("Sequence[Any]", trees)]

    def _field(self, column: Column, wanted: Any) -> bytes:
        if not isinstance(wanted, Mapping) or _is_plain(column, cast("Mapping[str, Any]", wanted)):
            return self._term(column, "$eq", wanted)
        operators = cast("Mapping[str, Any]", wanted)
        if not operators:
            raise BadRequest(f"{column.label}: {_wanted(_ALLOWED)}")
        return _joined(
            [self._term(column, operator, value) for operator, value in operators.items()],
            b" and ",
            b"true",
        )

    def _term(self, column: Column, operator: str, value: Any) -> bytes:
        kinds = _ALLOWED.get(operator)
        if kinds is None:
            is_link = column.name in self._columns.links
            known = (*_ALLOWED, *RELATION_OPERATORS[:1]) if is_link else _ALLOWED
            raise BadRequest(f"{column.label}: {_unknown(operator, known)}")
        if column.kind not in kinds:
            raise BadRequest(f"{column.label}: {operator} does not work on {column.type}")
        self._count_term()
        return _SPECIAL.get(operator, Conditions._compare)(self, column, operator, value)

    def _compare(self, column: Column, operator: str, value: Any) -> bytes:
        fitting = self._coerced(column, value)
        if fitting is None:
            return _compare_null(column, operator)
        if operator in ("$like", "$ilike"):
            self._check_pattern(column, operator, fitting)
        return b"(%b %b %b)" % (column.sql, _INFIX[operator], self._bound(column, fitting))

    def _in(self, column: Column, operator: str, value: Any) -> bytes:
        if not isinstance(value, list | tuple):
            raise BadRequest(f"{column.label}: {operator} takes an array, not {show_value(value)}")
        items = [self._coerced(column, item) for item in cast("Sequence[Any]", value)]
        present = [_element(column.kind, item) for item in items if item is not None]
        if not items:
            return b"false" if operator == "$in" else b"true"
        listed = self.bind(present, column.cast + b"[]")
        one, all_of = b"(%b = any(%b))", b"(%b <> all(%b))"
        test = (one if operator == "$in" else all_of) % (column.sql, listed)
        if len(present) == len(items):
            return test
        # A null in the list means "is null", as {f: null} does; in SQL it would match nothing.
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
        wanted = coerce_value("boolean", value, f"{column.label} {operator}")
        if wanted is None:
            raise BadRequest(
                f"{column.label}: {operator} takes true or false, not {show_value(value)}"
            )
        return b"(%b is %b)" % (column.sql, b"null" if wanted else b"not null")

    def _bound(self, column: Column, value: Any) -> bytes:
        bound = _encode(value) if column.kind == "json" and value is not None else value
        return self.bind(bound, column.cast)

    def _coerced(self, column: Column, value: Any) -> Any:
        many = column.kind in ("texts", "numbers") and isinstance(value, list | tuple)
        self._count(len(cast("Sequence[Any]", value)) if many else 1)
        return column.coerce(value)

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise BadRequest(f"where holds more than {MAX_VALUES} values")

    def _check_pattern(self, column: Column, operator: str, pattern: str) -> None:
        self._pattern_lengths[column.label] += len(pattern)
        if self._pattern_lengths[column.label] > MAX_PATTERN:
            most = f"at most {MAX_PATTERN} characters"
            raise BadRequest(f"{column.label}: patterns have {most} together")
        if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
            raise BadRequest(f"{column.label}: {operator} cannot end in a single backslash")

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


def join(outer: Columns, link: Link, inner: Columns) -> bytes:
    """Return the condition that connects a record with the one or the ones that it is linked to.

    Raises BadRequest where the link's field does not exist for the caller.
    """
    if not link.reverse:
        return b"%b = %b" % (inner.id.sql, outer.find(link.column).sql)
    if link.column not in inner:
        raise outer.no_link(f"{link.entity}_via_{link.column}")
    return b"%b = %b" % (inner.find(link.column).sql, outer.id.sql)


def _is_relation(wanted: Any) -> bool:
    """Whether a condition is about linked records."""
    return isinstance(wanted, Mapping) and any(name in wanted for name in RELATION_OPERATORS)


def _is_plain(column: Column, wanted: Mapping[str, Any]) -> bool:
    """Whether an object is a value of a json field, not a map of operators."""
    return column.kind == "json" and not any(name.startswith("$") for name in wanted)


def _compare_null(column: Column, operator: str) -> bytes:
    if operator == "$eq":
        return b"(%b is null)" % column.sql
    if operator == "$ne":
        return b"(%b is not null)" % column.sql
    raise BadRequest(f"{column.label}: {operator} takes a value, not null")


def _element(kind: ValueKind, value: Any) -> Any:
    """An element of an array parameter, which cannot be bytes."""
    return _encode(value).decode() if kind == "json" else value


def _joined(parts: Sequence[bytes], word: bytes, empty: bytes) -> bytes:
    if len(parts) == 1:
        return parts[0]
    return b"(%b)" % word.join(parts) if parts else empty


def _wanted(operators: Iterable[str]) -> str:
    return f"an operator is wanted; known: {', '.join(operators)}"


def _unknown(operator: str, known: Iterable[str]) -> str:
    return f"unknown operator {operator[:80]!r}; {nearest(operator, known)}"
