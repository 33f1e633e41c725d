"""Columns that PostgreSQL computes: generated fields, and the words of a full-text search.

Their expressions are fixed when the column is made. A comment on the column holds a hash of the
expression, since PostgreSQL prints it in a form of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from psycopg import sql

from kernel.public import Entity, Field, Search
from plugins.apps.manifest.types import AS_SQL
from plugins.apps.names import is_identifier

MARK: Final = "caudex derives this: "
MAX_WORDS: Final = 100_000
"""Characters of a record whose words are searched: a tsvector has at most 1 MB."""

SHORT_WEIGHT: Final = "A"
"""Fields of this weight are compared with similar words too."""


def expression_of(field: Field) -> sql.Composable:
    """Return the SQL of a generated field."""
    return _expression(field.generated)


def vectors_of(entity: Entity) -> Iterator[tuple[str, sql.Composable]]:
    """Yield the hidden columns of a search with their SQL."""
    if entity.search is None:
        return
    fields = {field.name: field for field in entity.fields}
    columns = dict.fromkeys(field.column for field in entity.search.fields)
    for column in columns:
        yield column, _write_vector(entity.search, column, fields)


def short_fields(entity: Entity) -> Sequence[str]:
    """Return the fields that are compared with similar words."""
    if entity.search is None:
        return ()
    return [field.name for field in entity.search.fields if field.weight == SHORT_WEIGHT]


def mark_of(expression: sql.Composable) -> str:
    """Return the comment of a column with this expression."""
    return MARK + hashlib.sha256(expression.as_bytes(None)).hexdigest()[:16]


def _write_vector(search: Search, column: str, fields: Mapping[str, Field]) -> sql.Composable:
    searched = [field for field in search.fields if field.column == column]
    config = sql.Literal(f"caudex_apps.{search.language}")
    limit = sql.Literal(MAX_WORDS // len(searched))
    parts = [
        sql.SQL("setweight(to_tsvector({}::regconfig, left(coalesce({}, ''), {})), {})").format(
            config, _write_text(fields[field.name]), limit, sql.Literal(field.weight)
        )
        for field in searched
    ]
    return sql.SQL(" || ").join(parts)


def _write_text(field: Field) -> sql.Composable:
    """Return the text of a field: a generated column cannot refer to another one."""
    if field.generated is None:
        return sql.Identifier(field.name)
    return expression_of(field)


def _expression(call: Any) -> sql.Composable:
    [(name, items)] = call.items()
    if name == "$lower":
        return sql.SQL("lower({})").format(_write_item(items))
    parts = [_write_item(item) for item in items]
    if name == "$coalesce":
        return sql.SQL("coalesce({})").format(sql.SQL(", ").join(parts))
    if name == "$concat":
        texts = [sql.SQL("coalesce({}, '')").format(part) for part in parts]
        return sql.SQL("({})").format(sql.SQL(" || ").join(texts))
    numbers = [sql.SQL("coalesce({}, 0)").format(part) for part in parts]
    return sql.SQL("(case when coalesce({}) is not null then {} end)").format(
        sql.SQL(", ").join(parts), sql.SQL(" + ").join(numbers)
    )


def _write_item(item: Any) -> sql.Composable:
    if isinstance(item, dict):
        return _expression(item)
    if isinstance(item, bool):
        return sql.Literal(item)
    if isinstance(item, int | float):
        return sql.SQL("{}::{}").format(sql.Literal(str(item)), AS_SQL["double precision"])
    if is_identifier(item):
        return sql.Identifier(item)
    return sql.SQL("{}::text").format(sql.Literal(item))
