"""The conditions of a statement: where-trees to SQL, every value a bound parameter."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, cast

from kernel.public import BadRequest, Param, show_value
from plugins.data.columns.column import Column
from plugins.data.columns.columns import Columns
from plugins.data.columns.links import Link
from plugins.data.models import PARAMETERS

from .budget import TreeBudget
from .operators import (
    ALLOWED_KINDS,
    MAX_LINKS,
    RELATION_OPERATORS,
    describe_missing,
    describe_unknown,
    spread_path,
)
from .terms import TermCompiler

Tree = Mapping[str, Any]
"""A where-tree."""

MAX_RELATIONS: Final = 30
"""Filters by linked records in one statement; PostgreSQL plans each as a query of its own."""


class Related(Protocol):
    """The rows of another entity that a where-tree may reach."""

    @property
    def source(self) -> bytes:
        """The name of the table in SQL."""
        ...

    @property
    def columns(self) -> Columns:
        """What the tree may name of them."""
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
        self.parts: list[bytes] = []
        self.related: Mapping[str, Related] = related or {}
        self._columns = columns
        self._aliases = 0
        self._relations = 0

    def copy(self) -> Conditions:
        """Return the same conditions, for another statement that begins with them."""
        conditions = copy.copy(self)
        conditions.params = self.params[:]
        conditions.parts = self.parts[:]
        return conditions

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
        self.parts += self.compile_trees(self._columns, [tree])

    def compile_trees(
        self,
        columns: NamedColumns,
        trees: Iterable[Mapping[str, Any]],
        related: Mapping[str, Related] | None = None,
    ) -> list[bytes]:
        """Return trees over other columns as conditions of their own.

        `related` are the rows that they may reach by links, without it those of the caller.
        """
        if related is None:
            related = self.related
        return [_TreeCompiler(self, columns, TreeBudget(), related).compile(tree) for tree in trees]

    def next_alias(self) -> bytes:
        """Return an alias that the statement does not have yet."""
        self._aliases += 1
        return b"t%d" % self._aliases

    def count_relation(self) -> None:
        """Count a filter by linked records, of all trees of a statement."""
        self._relations += 1
        if self._relations > MAX_RELATIONS:
            raise BadRequest(f"where holds more than {MAX_RELATIONS} filters by relation")

    def where_clause(self) -> bytes:
        """Return the `where` clause, empty without conditions."""
        return b" where " + b" and ".join(self.parts) if self.parts else b""


class _TreeCompiler:
    """Compiles a where-tree over some columns. What it says of linked records has another one."""

    __slots__ = ("_budget", "_columns", "_conditions", "_related", "_terms")

    def __init__(
        self,
        conditions: Conditions,
        columns: NamedColumns,
        budget: TreeBudget,
        related: Mapping[str, Related],
    ) -> None:
        self._conditions = conditions
        self._columns = columns
        self._budget = budget
        self._related = related
        self._terms = TermCompiler(conditions.bind, budget)

    def compile(self, tree: Any, depth: int = 1) -> bytes:
        """Return a tree, or the part of one at a depth, as a condition. Raises BadRequest."""
        if not isinstance(tree, Mapping):
            raise BadRequest(f"where: an object is wanted, not {show_value(tree)}")
        self._budget.check_depth(depth)
        self._budget.count_term()
        branches = cast("Mapping[str, Any]", tree)
        tests = [
            self._compile_branch(name, condition, depth) for name, condition in branches.items()
        ]
        return _join_tests(tests, b" and ", b"true")

    def _compile_branch(self, name: str, condition: Any, depth: int) -> bytes:
        if name == "$and":
            return _join_tests(self._compile_branches(name, condition, depth), b" and ", b"true")
        if name == "$or":
            return _join_tests(self._compile_branches(name, condition, depth), b" or ", b"false")
        if name == "$not":
            return b"(not %b)" % self.compile(condition, depth + 1)
        if name.startswith("$"):
            raise BadRequest(f"where: {describe_unknown(name, ('$and', '$or', '$not'))}")
        if "." in name and name not in self._columns:
            return self._compile_path(name, condition, depth)
        if _is_relation(condition) or name not in self._columns:
            return self._compile_relation(name, condition, depth)
        return self._compile_field(self._columns.find(name, PARAMETERS), condition)

    def _compile_branches(self, name: str, trees: Any, depth: int) -> list[bytes]:
        if not isinstance(trees, list | tuple):
            raise BadRequest(f"where: {name} takes an array, not {show_value(trees)}")
        return [self.compile(tree, depth + 1) for tree in cast("Sequence[Any]", trees)]

    def _compile_path(self, name: str, condition: Any, depth: int) -> bytes:
        """Require a value of a linked record, as `{"customer_id.name": "Acme"}`."""
        if name.count(".") > MAX_LINKS:
            raise BadRequest(f"where: {name[:80]!r} is more than {MAX_LINKS} links deep")
        link = self._columns.find_link(name.partition(".")[0])
        if link.reverse:
            raise BadRequest(f"where: {name[:80]!r} leads to several records: use $some or $none")
        return self.compile(spread_path(name, condition), depth)

    def _compile_relation(self, name: str, condition: Any, depth: int) -> bytes:
        """Require linked records, as far as the tree may reach them."""
        if not _is_relation(condition):
            self._columns.find(name, PARAMETERS)
        link = self._columns.find_link(name)
        columns = self._columns
        assert isinstance(columns, Columns)  # groups have no link
        operators: Mapping[str, Any] = {}
        if isinstance(condition, Mapping):
            operators = cast("Mapping[str, Any]", condition)
        allowed = RELATION_OPERATORS[1:] if link.reverse else RELATION_OPERATORS[:1]
        label = f"{columns.entity.name}.{name}"
        if not operators:
            raise BadRequest(f"{label}: {describe_missing(allowed)}")
        for operator in operators:
            if operator not in allowed:
                raise BadRequest(f"{label}: {describe_unknown(operator, allowed)}")
        tests = [
            self._compile_linked(columns, link, operator, tree, depth)
            for operator, tree in operators.items()
        ]
        return _join_tests(tests, b" and ", b"true")

    def _compile_linked(
        self, outer: Columns, link: Link, operator: str, tree: Any, depth: int
    ) -> bytes:
        self._budget.count_term()
        self._conditions.count_relation()
        linked = self._related.get(link.entity)
        if linked is None:
            return b"true" if operator == "$none" else b"false"
        alias = self._conditions.next_alias()
        inner = linked.columns.alias_as(alias)
        tests = [join(outer, link, inner), *linked.write_conditions(self._conditions, alias)]
        reached = _TreeCompiler(self._conditions, inner, self._budget, self._related)
        tests.append(reached.compile(tree, depth + 1))
        parts = (linked.source, alias, b" and ".join(tests))
        test = b"exists (select from %b as %b where %b)" % parts
        return b"(not %b)" % test if operator == "$none" else test

    def _compile_field(self, column: Column, condition: Any) -> bytes:
        if not isinstance(condition, Mapping):
            return self._terms.compile(column, "$eq", condition)
        operators = cast("Mapping[str, Any]", condition)
        if _is_json_value(column, operators):
            return self._terms.compile(column, "$eq", operators)
        if not operators:
            raise BadRequest(f"{column.label}: {describe_missing(ALLOWED_KINDS)}")
        tests: list[bytes] = []
        for operator, value in operators.items():
            if operator not in ALLOWED_KINDS:
                raise self._describe_unknown(column, operator)
            tests.append(self._terms.compile(column, operator, value))
        return _join_tests(tests, b" and ", b"true")

    def _describe_unknown(self, column: Column, operator: str) -> BadRequest:
        operators = [*ALLOWED_KINDS]
        if column.name in self._columns.links:
            operators += RELATION_OPERATORS[:1]
        return BadRequest(f"{column.label}: {describe_unknown(operator, operators)}")


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


def _join_tests(tests: Sequence[bytes], word: bytes, empty: bytes) -> bytes:
    if not tests:
        return empty
    if len(tests) == 1:
        return tests[0]
    return b"(%b)" % word.join(tests)
