"""What a caller may read, as queries that need no parameters."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from psycopg import sql

from kernel.public import Actor, Param, RecordView, dialect
from plugins.data.filters.conditions import Conditions

from .row_scope import RowScope
from .scopes import RowScopes

_PLACEHOLDER: Final = re.compile(rb"\$(\d+)")


class ViewWriter:
    """Writes the rows and fields that a caller may read as the queries of views."""

    def __init__(self, scopes: RowScopes) -> None:
        self._scopes = scopes

    async def write(
        self, actor: Actor, app_id: str, entities: Collection[str]
    ) -> Sequence[RecordView]:
        """See `RecordViews.write_views`."""
        readable = await self._scopes.linked.find_readable(actor, app_id, entities)
        return [_write_view(readable[name], readable) for name in entities if name in readable]


def _write_view(rows: RowScope, readable: Mapping[str, RowScope]) -> RecordView:
    """Return the view of an entity; its conditions may reach other readable entities."""
    conditions = Conditions(rows.columns, (), readable)
    conditions.parts += rows.write_conditions(conditions, b"t")
    items = b", ".join(b"%b as %b" % (column.sql, column.bare) for column in rows.columns)
    query = b"select %b from %b as t%b" % (items, rows.source, conditions.where_clause())
    return RecordView(
        entity=rows.table.entity.name,
        query=_embed_values(query, conditions.params),
        is_narrowed=rows.is_narrowed,
    )


def _embed_values(query: bytes, params: Sequence[Param]) -> bytes:
    """Return a statement with its values in place of the placeholders.

    A view has no parameters. Names of manifests have no `$`, so each one is a placeholder.
    """
    texts = dialect.to_texts(params)

    def write_value(match: re.Match[bytes]) -> bytes:
        text = texts[int(match[1]) - 1]
        if text is None:
            return b"null"
        return sql.Literal(text.decode()).as_bytes(None)

    return _PLACEHOLDER.sub(write_value, query)
