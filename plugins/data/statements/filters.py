"""Where-trees to SQL: a closed table of operators, every value a bound parameter."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, cast

import msgspec

from kernel.public import BadRequest, Param, ValueKind, coerce_value, show_value
from plugins.data.columns.column import Column
from plugins.data.columns.columns import Columns
from plugins.data.columns.links import Link
from plugins.data.models import PARAMETERS

from .operators import (
    ALLOWED_KINDS,
    INFIX,
    MAX_LINKS,
    RELATION_OPERATORS,
    describe_missing,
    describe_unknown,
    spread_path,
)

Tree = Mapping[str, Any]
"""A where-tree."""

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

    def write_conditions(self, conditions: Conditions, alias: bytes) -> list[bytes]:
        """Return the conditions of these rows under an alias."""
        ...


class NamedColumns(Protocol):
    """The columns that a where-tree may name: those of an entity, or of groups."""

    @property
    def links(self) -> Mapping[str, Link]:
        """The links by their names."""
        ...

    def __contains__(self, name: str, /) -> bool:
        """Whether there is a column of this name."""
        ...

    def find(self, name: str, also: Iterable[str] = ()) -> Column:
        """Return a column. Raises BadRequest that names it."""
        ...

    def find_link(self, name: str) -> Link:
        """Return a link. Raises BadRequest that names it."""
        ...


class Conditions:
    """The conditions of a statement: SQL over the alias of `columns`, and its parameters.

    `params` are the statement's parameters so far; more are appended. `related` are the entities
    that a tree may reach by links: one that is missing has no rows for the caller.
    """

    def __init__(
        self,
        columns: NamedColumns,
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

    def copy(self) -> Conditions:
        """Return the same conditions, for another statement that begins with them."""
        other = copy.copy(self)
        other.params = self.params[:]
        other.parts = self.parts[:]
        return other

    def _begin(self) -> None:
        self._values = 0
        self._terms = 0
        self._pattern_lengths: Counter[str] = Counter()

    def bind(self, value: Param, cast_to: bytes) -> bytes:
        """Add a parameter and return its placeholder with a cast."""
        self.params.append(value)
        return b"$%d::%b" % (len(self.params), cast_to)

    def bind_shared(self, value: Param, cast_to: bytes) -> bytes:
        """Like `bind`, for a large value that several conditions share."""
        for number, param in enumerate(self.params, 1):
            if param is value:
                return b"$%d::%b" % (number, cast_to)
        return self.bind(value, cast_to)

    def require_equal(self, sql: bytes, value: Param, cast_to: bytes) -> None:
        """Require that a column has a value."""
        self.parts.append(b"%b = %b" % (sql, self.bind(value, cast_to)))

    def require_tree(self, tree: Mapping[str, Any]) -> None:
        """Require a where-tree. Raises BadRequest that names what is wrong."""
        self._begin()
        self.parts.append(self._compile_tree(tree, 1))

    def next_alias(self) -> bytes:
        """Return an alias that the statement does not have yet."""
        self._aliases += 1
        return b"t%d" % self._aliases

    def compile_trees(
        self, columns: NamedColumns, trees: Iterable[Mapping[str, Any]], *, of_hook: bool = False
    ) -> list[bytes]:
        """Return trees over other columns as conditions of their own.

        Those of a hook may name fields that the caller may not read, of linked records too.
        """
        outer = copy.copy(self)
        self._columns = columns
        self._of_hook = of_hook
        conditions: list[bytes] = []
        try:
            for tree in trees:
                self._begin()
                conditions.append(self._compile_tree(tree, 1))
        finally:
            self._columns = outer._columns
            self._of_hook = outer._of_hook
            self._values = outer._values
            self._terms = outer._terms
            self._pattern_lengths = outer._pattern_lengths
        return conditions

    def where_clause(self) -> bytes:
        """Return the `where` clause, empty without conditions."""
        return b" where " + b" and ".join(self.parts) if self.parts else b""

    def _compile_tree(self, tree: Any, depth: int) -> bytes:
        if not isinstance(tree, Mapping):
            raise BadRequest(f"where: an object is wanted, not {show_value(tree)}")
        if depth > MAX_DEPTH:
            raise BadRequest(f"where is nested more than {MAX_DEPTH} deep")
        self._count_term()
        branches = cast("Mapping[str, Any]", tree)
        return _join_tests(
            [self._compile_branch(name, condition, depth) for name, condition in branches.items()],
            b" and ",
            b"true",
        )

    def _compile_branch(self, name: str, condition: Any, depth: int) -> bytes:
        if name == "$and":
            return _join_tests(self._compile_branches(name, condition, depth), b" and ", b"true")
        if name == "$or":
            return _join_tests(self._compile_branches(name, condition, depth), b" or ", b"false")
        if name == "$not":
            return b"(not %b)" % self._compile_tree(condition, depth + 1)
        if name.startswith("$"):
            raise BadRequest(f"where: {describe_unknown(name, ('$and', '$or', '$not'))}")
        if "." in name and name not in self._columns:
            return self._compile_path(name, condition, depth)
        if _is_relation(condition) or name not in self._columns:
            return self._compile_relation(name, condition, depth)
        return self._compile_field(self._columns.find(name, PARAMETERS), condition)

    def _compile_path(self, name: str, condition: Any, depth: int) -> bytes:
        """Require a value of a linked record, as `{"customer_id.name": "Acme"}`."""
        if name.count(".") > MAX_LINKS:
            raise BadRequest(f"where: {name[:80]!r} is more than {MAX_LINKS} links deep")
        link = self._columns.find_link(name.partition(".")[0])
        if link.reverse:
            raise BadRequest(f"where: {name[:80]!r} leads to several records: use $some or $none")
        return self._compile_tree(spread_path(name, condition), depth)

    def _compile_relation(self, name: str, condition: Any, depth: int) -> bytes:
        """Require linked records, as far as the caller may read them."""
        if not _is_relation(condition):
            self._columns.find(name, PARAMETERS)
        link = self._columns.find_link(name)
        outer = self._columns
        assert isinstance(outer, Columns)  # groups have no link
        operators = cast("Mapping[str, Any]", condition if isinstance(condition, Mapping) else {})
        allowed = RELATION_OPERATORS[1:] if link.reverse else RELATION_OPERATORS[:1]
        label = f"{outer.entity.name}.{name}"
        if not operators:
            raise BadRequest(f"{label}: {describe_missing(allowed)}")
        for operator in operators:
            if operator not in allowed:
                raise BadRequest(f"{label}: {describe_unknown(operator, allowed)}")
        tests = [
            self._compile_linked(outer, link, operator, tree, depth)
            for operator, tree in operators.items()
        ]
        return _join_tests(tests, b" and ", b"true")

    def _compile_linked(
        self, outer: Columns, link: Link, operator: str, tree: Any, depth: int
    ) -> bytes:
        self._count_term()
        self._relations += 1
        if self._relations > MAX_RELATIONS:
            raise BadRequest(f"where holds more than {MAX_RELATIONS} filters by relation")
        linked = self.related.get(link.entity)
        if linked is None:
            return b"true" if operator == "$none" else b"false"
        alias = self.next_alias()
        columns = linked.every_column if self._of_hook else linked.columns
        inner = columns.alias_as(alias)
        conditions = [join(outer, link, inner), *linked.write_conditions(self, alias)]
        self._columns = inner
        try:
            conditions.append(self._compile_tree(tree, depth + 1))
        finally:
            self._columns = outer
        parts = (linked.source, alias, b" and ".join(conditions))
        test = b"exists (select from %b as %b where %b)" % parts
        return b"(not %b)" % test if operator == "$none" else test

    def _compile_branches(self, name: str, trees: Any, depth: int) -> list[bytes]:
        if not isinstance(trees, list | tuple):
            raise BadRequest(f"where: {name} takes an array, not {show_value(trees)}")
        return [self._compile_tree(tree, depth + 1) for tree in cast("Sequence[Any]", trees)]

    def _compile_field(self, column: Column, condition: Any) -> bytes:
        if not isinstance(condition, Mapping):
            return self._compile_term(column, "$eq", condition)
        operators = cast("Mapping[str, Any]", condition)
        if _is_json_value(column, operators):
            return self._compile_term(column, "$eq", operators)
        if not operators:
            raise BadRequest(f"{column.label}: {describe_missing(ALLOWED_KINDS)}")
        tests = [
            self._compile_term(column, operator, value) for operator, value in operators.items()
        ]
        return _join_tests(tests, b" and ", b"true")

    def _compile_term(self, column: Column, operator: str, value: Any) -> bytes:
        kinds = ALLOWED_KINDS.get(operator)
        if kinds is None:
            operators = [*ALLOWED_KINDS]
            if column.name in self._columns.links:
                operators += RELATION_OPERATORS[:1]
            raise BadRequest(f"{column.label}: {describe_unknown(operator, operators)}")
        if column.kind not in kinds:
            raise BadRequest(f"{column.label}: {operator} does not work on {column.type}")
        self._count_term()
        special = _OF_FILES if column.kind == "files" else _SPECIAL
        compile_operator = special.get(operator, Conditions._compare)
        return compile_operator(self, column, operator, value)

    def _compare(self, column: Column, operator: str, value: Any) -> bytes:
        stored = self._coerce(column, value)
        if stored is None:
            return _compare_null(column, operator)
        if operator in ("$like", "$ilike"):
            self._check_pattern(column, operator, stored)
        return b"(%b %b %b)" % (column.sql, INFIX[operator], self._bind_stored(column, stored))

    def _compare_list(self, column: Column, operator: str, value: Any) -> bytes:
        if not isinstance(value, list | tuple):
            raise BadRequest(f"{column.label}: {operator} takes an array, not {show_value(value)}")
        items = [self._coerce(column, item) for item in cast("Sequence[Any]", value)]
        is_positive = operator == "$in"
        if not items:
            return b"false" if is_positive else b"true"
        present = [_array_element(column.kind, item) for item in items if item is not None]
        array = self.bind(present, column.cast + b"[]")
        has_null = len(present) < len(items)
        # A null in the list means "is null", as {f: null} does; in SQL it would match nothing.
        if is_positive:
            test = b"(%b = any(%b))" % (column.sql, array)
            return b"(%b or %b is null)" % (test, column.sql) if has_null else test
        test = b"(%b <> all(%b))" % (column.sql, array)
        return b"(%b and %b is not null)" % (test, column.sql) if has_null else test

    def _contain(self, column: Column, operator: str, value: Any) -> bytes:
        is_element = column.kind != "json" and not isinstance(value, list | tuple)
        stored = self._coerce(column, [value] if is_element else value)
        if stored is None:
            raise BadRequest(f"{column.label}: {operator} takes a value, not null")
        return b"(%b @> %b)" % (column.sql, self._bind_stored(column, stored))

    def _compare_with_null(self, column: Column, operator: str, value: Any) -> bytes:
        self._count(1)
        is_null = coerce_value("boolean", value, f"{column.label} {operator}")
        if is_null is None:
            raise BadRequest(
                f"{column.label}: {operator} takes true or false, not {show_value(value)}"
            )
        return b"(%b is %b)" % (column.sql, b"null" if is_null else b"not null")

    def _hold_file(self, column: Column, operator: str, value: Any) -> bytes:
        """Require a file among those of a field, or no list of files for null."""
        if value is None:
            return _compare_null(column, operator)
        self._count(1)
        file_id = self.bind(coerce_value("file", value, column.label), b"uuid")
        return b"(%b @> array[%b])" % (column.sql, file_id)

    def _hold_any_file(self, column: Column, operator: str, value: Any) -> bytes:
        """Require one of some files among those of a field."""
        if not isinstance(value, list | tuple):
            raise BadRequest(f"{column.label}: {operator} takes an array, not {show_value(value)}")
        items = cast("Sequence[Any]", value)
        self._count(len(items))
        ids = [coerce_value("file", item, column.label) for item in items if item is not None]
        test = b"(%b && %b)" % (column.sql, self.bind(ids, b"uuid[]"))
        return b"(%b or %b is null)" % (test, column.sql) if None in items else test

    def _bind_stored(self, column: Column, value: Any) -> bytes:
        if column.kind == "json" and value is not None:
            value = _encode(value)
        return self.bind(value, column.cast)

    def _coerce(self, column: Column, value: Any) -> Any:
        is_array = column.kind in ("texts", "numbers") and isinstance(value, list | tuple)
        self._count(len(cast("Sequence[Any]", value)) if is_array else 1)
        return column.coerce(value)

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise BadRequest(f"where holds more than {MAX_VALUES} values")

    def _check_pattern(self, column: Column, operator: str, pattern: str) -> None:
        self._pattern_lengths[column.label] += len(pattern)
        if self._pattern_lengths[column.label] > MAX_PATTERN:
            limit = f"at most {MAX_PATTERN} characters"
            raise BadRequest(f"{column.label}: patterns have {limit} together")
        backslashes_at_end = len(pattern) - len(pattern.rstrip("\\"))
        if backslashes_at_end % 2:
            raise BadRequest(f"{column.label}: {operator} cannot end in a single backslash")

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise BadRequest(f"where holds more than {MAX_TERMS} conditions")


_SPECIAL: Final[Mapping[str, Callable[[Conditions, Column, str, Any], bytes]]] = {
    "$in": Conditions._compare_list,  # pyright: ignore[reportPrivateUsage]
    "$nin": Conditions._compare_list,  # pyright: ignore[reportPrivateUsage]
    "$contains": Conditions._contain,  # pyright: ignore[reportPrivateUsage]
    "$isNull": Conditions._compare_with_null,  # pyright: ignore[reportPrivateUsage]
}

_OF_FILES: Final[Mapping[str, Callable[[Conditions, Column, str, Any], bytes]]] = {
    "$eq": Conditions._hold_file,  # pyright: ignore[reportPrivateUsage]
    "$in": Conditions._hold_any_file,  # pyright: ignore[reportPrivateUsage]
    "$isNull": Conditions._compare_with_null,  # pyright: ignore[reportPrivateUsage]
}
"""Conditions on a list of managed files: by the ids of single ones."""


def join(outer: Columns, link: Link, inner: Columns) -> bytes:
    """Return the condition that connects a record with the one or the ones that it is linked to.

    Raises BadRequest where the link's field does not exist for the caller.
    """
    if not link.reverse:
        return b"%b = %b" % (inner.id.sql, outer.find(link.column).sql)
    if link.column not in inner:
        raise outer.describe_missing_link(f"{link.entity}_via_{link.column}")
    return b"%b = %b" % (inner.find(link.column).sql, outer.id.sql)


def _is_relation(condition: Any) -> bool:
    """Whether a condition is about linked records."""
    if not isinstance(condition, Mapping):
        return False
    return any(name in condition for name in RELATION_OPERATORS)


def _is_json_value(column: Column, members: Mapping[str, Any]) -> bool:
    """Whether an object is a value of a json field, not a map of operators."""
    return column.kind == "json" and not any(name.startswith("$") for name in members)


def _compare_null(column: Column, operator: str) -> bytes:
    if operator == "$eq":
        return b"(%b is null)" % column.sql
    if operator == "$ne":
        return b"(%b is not null)" % column.sql
    raise BadRequest(f"{column.label}: {operator} takes a value, not null")


def _array_element(kind: ValueKind, value: Any) -> Any:
    """Return an element of an array parameter, which cannot be bytes."""
    return _encode(value).decode() if kind == "json" else value


def _join_tests(tests: Sequence[bytes], word: bytes, empty: bytes) -> bytes:
    if not tests:
        return empty
    if len(tests) == 1:
        return tests[0]
    return b"(%b)" % word.join(tests)
