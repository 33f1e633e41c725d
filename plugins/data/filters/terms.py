"""Single conditions to SQL: a column, an operator, and a value that is a bound parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from kernel.public import BadRequest, Param, ValueKind, coerce_value, show_value
from plugins.data.columns.column import Column

from .budget import TreeBudget
from .operators import ALLOWED_KINDS, INFIX

_encode = msgspec.json.Encoder().encode

Bind = Callable[[Param, bytes], bytes]
"""Adds a parameter, and returns its placeholder with a cast."""


class TermCompiler:
    """Compiles single conditions of one tree; see `ALLOWED_KINDS` for what goes together."""

    __slots__ = ("_bind", "_budget")

    def __init__(self, bind: Bind, budget: TreeBudget) -> None:
        self._bind = bind
        self._budget = budget

    def compile(self, column: Column, operator: str, value: Any) -> bytes:
        """Return a condition. Raises BadRequest that names the field."""
        if column.kind not in ALLOWED_KINDS[operator]:
            raise BadRequest(f"{column.label}: {operator} does not work on {column.type}")
        self._budget.count_term()
        special = _OF_FILES if column.kind == "files" else _SPECIAL
        compile_operator = special.get(operator, TermCompiler._compare)
        return compile_operator(self, column, operator, value)

    def _compare(self, column: Column, operator: str, value: Any) -> bytes:
        stored = self._coerce(column, value)
        if stored is None:
            return _compare_null(column, operator)
        if operator in ("$like", "$ilike"):
            self._budget.count_pattern(column, operator, stored)
        return b"(%b %b %b)" % (column.sql, INFIX[operator], self._bind_stored(column, stored))

    def _compare_list(self, column: Column, operator: str, value: Any) -> bytes:
        items = [self._coerce(column, item) for item in _read_list(column, operator, value)]
        is_positive = operator == "$in"
        if not items:
            return b"false" if is_positive else b"true"
        present = [_array_element(column.kind, item) for item in items if item is not None]
        array = self._bind(present, column.cast + b"[]")
        has_null = len(present) < len(items)
        # A null in the list means "is null", as {f: null} does; in SQL it would match nothing.
        if is_positive:
            test = b"(%b = any(%b))" % (column.sql, array)
            return b"(%b or %b is null)" % (test, column.sql) if has_null else test
        test = b"(%b <> all(%b))" % (column.sql, array)
        return b"(%b and %b is not null)" % (test, column.sql) if has_null else test

    def _contain(self, column: Column, operator: str, value: Any) -> bytes:
        is_element = column.kind != "json" and not isinstance(value, list | tuple)
        sent = cast("Any", [value] if is_element else value)
        stored = self._coerce(column, sent)
        if stored is None:
            raise BadRequest(f"{column.label}: {operator} takes a value, not null")
        return b"(%b @> %b)" % (column.sql, self._bind_stored(column, stored))

    def _compare_with_null(self, column: Column, operator: str, value: Any) -> bytes:
        self._budget.count_values(1)
        is_null = coerce_value("boolean", value, f"{column.label} {operator}")
        if is_null is None:
            raise BadRequest(
                f"{column.label}: {operator} takes true or false, not {show_value(value)}"
            )
        if is_null:
            return b"(%b is null)" % column.sql
        return b"(%b is not null)" % column.sql

    def _hold_file(self, column: Column, operator: str, value: Any) -> bytes:
        """Require a file among those of a field, or no list of files for null."""
        if value is None:
            return _compare_null(column, operator)
        self._budget.count_values(1)
        file_id = self._bind(coerce_value("file", value, column.label), b"uuid")
        return b"(%b @> array[%b])" % (column.sql, file_id)

    def _hold_any_file(self, column: Column, operator: str, value: Any) -> bytes:
        """Require one of some files among those of a field."""
        items = _read_list(column, operator, value)
        self._budget.count_values(len(items))
        ids = [coerce_value("file", item, column.label) for item in items if item is not None]
        test = b"(%b && %b)" % (column.sql, self._bind(ids, b"uuid[]"))
        return b"(%b or %b is null)" % (test, column.sql) if None in items else test

    def _bind_stored(self, column: Column, value: Any) -> bytes:
        if column.kind == "json" and value is not None:
            value = _encode(value)
        return self._bind(value, column.cast)

    def _coerce(self, column: Column, value: Any) -> Any:
        """Return a value as the column stores it; an array counts as its elements."""
        number = 1
        if column.kind in ("texts", "numbers") and isinstance(value, list | tuple):
            number = len(cast("Sequence[Any]", value))
        self._budget.count_values(number)
        return column.coerce(value)


_Compile = Callable[[TermCompiler, Column, str, Any], bytes]
_SPECIAL: Final[Mapping[str, _Compile]] = {
    "$in": TermCompiler._compare_list,  # pyright: ignore[reportPrivateUsage]
    "$nin": TermCompiler._compare_list,  # pyright: ignore[reportPrivateUsage]
    "$contains": TermCompiler._contain,  # pyright: ignore[reportPrivateUsage]
    "$isNull": TermCompiler._compare_with_null,  # pyright: ignore[reportPrivateUsage]
}
"""What is no comparison of two values."""
_OF_FILES: Final[Mapping[str, _Compile]] = {
    "$eq": TermCompiler._hold_file,  # pyright: ignore[reportPrivateUsage]
    "$in": TermCompiler._hold_any_file,  # pyright: ignore[reportPrivateUsage]
    "$isNull": TermCompiler._compare_with_null,  # pyright: ignore[reportPrivateUsage]
}
"""Conditions on a list of managed files: by the ids of single ones."""


def _read_list(column: Column, operator: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise BadRequest(f"{column.label}: {operator} takes an array, not {show_value(value)}")
    return cast("Sequence[Any]", value)


def _compare_null(column: Column, operator: str) -> bytes:
    if operator == "$eq":
        return b"(%b is null)" % column.sql
    if operator == "$ne":
        return b"(%b is not null)" % column.sql
    raise BadRequest(f"{column.label}: {operator} takes a value, not null")


def _array_element(kind: ValueKind, value: Any) -> Any:
    """Return an element of an array parameter, which cannot be bytes."""
    return _encode(value).decode() if kind == "json" else value
