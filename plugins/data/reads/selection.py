"""What a reply shows of each record: `fields`, and the linked records that `expand` adds.

Linked records are subqueries in a row beside the table, which PostgreSQL makes part of the select
list. So one statement reads all of them, and only for the records of the page.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from kernel.public import BadRequest, View, nearest, show_value
from plugins.data.columns.columns import Columns
from plugins.data.columns.links import Link
from plugins.data.filters.conditions import Conditions, join
from plugins.data.rendering import NestedRendering
from plugins.data.rights.row_scope import RowScope
from plugins.data.statements.caching import keep
from plugins.data.statements.entity import ETAG, Selection
from plugins.data.statements.entity_table import Table
from plugins.data.statements.expansions import Expansion, Expansions

MAX_LINKED: Final = 100
"""Records of one reverse link."""

_OPTIONS: Final = ("where", "orderBy", "order", "limit", "fields")


def select_view(
    scope: RowScope, conditions: Conditions, view: View, expansions: Expansions
) -> Selection:
    """Compile what a view shows; parameters are added to `conditions`. Raises BadRequest."""
    table = scope.table
    if not expansions:
        return table.select_fields(view.fields, etag=view.etag)
    compiled = find_compiled(scope, view)
    if compiled is not None:
        return compiled

    shape = _find_shape(scope, view)
    params_before = len(conditions.params)
    selection = _Expander(conditions, scope.related).select(table, view, expansions)
    has_params = len(conditions.params) > params_before
    if shape is None or has_params:
        return selection
    return keep(table.cache.expanded, shape, selection, 100)


def find_compiled(scope: RowScope, view: View) -> Selection | None:
    """Return what `select_view` compiled before for a view with expansions, if it has no
    parameters."""
    shape = _find_shape(scope, view)
    return None if shape is None else scope.table.cache.expanded.get(shape)


def _find_shape(scope: RowScope, view: View) -> Hashable | None:
    """Return what a selection without parameters depends on, None where it may have some."""
    has_only_paths = {*map(type, view.expand)} == {str}
    if not has_only_paths:
        return None
    tables: list[Table] = []
    for rows in scope.related.values():
        if rows.is_narrowed:
            return None
        tables.append(rows.table)  # of one entity each; the others are none of the caller's
    fields = None if view.fields is None else tuple(view.fields)
    return *view.expand, fields, view.etag, *tables


class _Expander:
    """Writes select lists with linked records, which have subqueries of their own."""

    def __init__(self, conditions: Conditions, related: Mapping[str, RowScope]) -> None:
        self._conditions = conditions
        self._related = related
        self._rendering = NestedRendering()

    def select(self, table: Table, view: View, expansions: Expansions) -> Selection:
        """Return what a view shows of a table."""
        extra_items = [(ETAG.sql, ETAG.name)] if view.etag else []
        items, links = self._write_items(table.columns, view.fields, expansions, extra_items)
        return Selection(items, self._rendering, links=links)

    def _write_items(
        self,
        columns: Columns,
        fields: Iterable[str] | None,
        expansions: Expansions,
        extra_items: Sequence[tuple[bytes, str]] = (),
    ) -> tuple[bytes, bytes]:
        """Return a select list, and the row of linked records that it needs."""
        extra = list(extra_items)
        links = b""
        if expansions:
            if "expand" in columns:
                entity = columns.entity.name
                raise BadRequest(f"expand: {entity} has a field of that name, so it has no links")
            extra.append((b"_x", "expand"))
            links = self._write_links(columns, expansions)
        return self._rendering.write_items(columns.select_columns(fields), extra), links

    def _write_links(self, columns: Columns, expansions: Expansions) -> bytes:
        """Write a row of linked records, which follows the table whose records link to them.

        PostgreSQL makes it part of the select list, so it is read for the records of a page only.
        """
        items: list[bytes] = []
        for name, expansion in expansions.items():
            link = columns.find_link(name)
            if link.reverse:
                query = self._write_array(columns, name, link, expansion)
            else:
                query = self._write_object(columns, name, link, expansion)
            items.append(b'%b as "%b"' % (query, name.encode()))
        return b" cross join lateral (select %b) _x" % b", ".join(items)

    def _write_object(self, outer: Columns, name: str, link: Link, expansion: Expansion) -> bytes:
        _check_options(name, expansion.options, ("fields",))
        linked = self._related.get(link.entity)
        if linked is None:
            return b"null::json"
        alias = self._conditions.next_alias()
        inner = linked.columns.alias_as(alias)
        fields = _fields_of(name, expansion)
        items, links = self._write_items(inner, fields, expansion.inner)
        conditions = [join(outer, link, inner), *linked.write_conditions(self._conditions, alias)]
        parts = (items, linked.source, alias, links, b" and ".join(conditions))
        return b"(select _e from (select %b from %b as %b%b where %b) _e)" % parts

    def _write_array(self, outer: Columns, name: str, link: Link, expansion: Expansion) -> bytes:
        options = expansion.options
        _check_options(name, options, _OPTIONS)
        linked = self._related.get(link.entity)
        if linked is None:
            return b"'[]'::json"
        self._rendering.allow_arrays()
        alias = self._conditions.next_alias()
        inner = linked.columns.alias_as(alias)
        fields = _fields_of(name, expansion)
        items, links = self._write_items(inner, fields, expansion.inner)
        conditions = [join(outer, link, inner), *linked.write_conditions(self._conditions, alias)]
        where = options.get("where")
        if where is not None:
            conditions += self._conditions.compile_trees(inner, [where])
        parts = (
            items,
            linked.source,
            alias,
            links,
            b" and ".join(conditions),
            order_of(name, inner, options),
            linked_limit(name, options),
        )
        return (
            b"(select coalesce(json_agg(_e), '[]'::json)"
            b" from (select %b from %b as %b%b where %b%b limit %d) _e)" % parts
        )


def read_fields(fields: object) -> tuple[str, ...]:
    """Read `fields`. Raises BadRequest."""
    problem = f"fields: an array of names is wanted, not {show_value(fields)}"
    if not isinstance(fields, Sequence) or isinstance(fields, str | bytes):
        raise BadRequest(problem)
    names = cast("Sequence[object]", fields)
    if not all(isinstance(name, str) for name in names):
        raise BadRequest(problem)
    return tuple(dict.fromkeys(cast("Sequence[str]", names)))


def _fields_of(name: str, expansion: Expansion) -> tuple[str, ...] | None:
    fields = expansion.options.get("fields")
    if fields is None:
        return None
    try:
        return read_fields(fields)
    except BadRequest as error:
        raise BadRequest(f"expand.{name}.{error.message}") from None


def _check_options(name: str, options: Mapping[str, Any], known_options: Sequence[str]) -> None:
    for option in options:
        if option not in known_options:
            hint = nearest(option, known_options)
            raise BadRequest(f"expand.{name}: unknown option {option[:80]!r}; {hint}")


def order_of(name: str, columns: Columns, options: Mapping[str, Any]) -> bytes:
    """Return the order of the records of a reverse link. Raises BadRequest."""
    field = options.get("orderBy", "created_at")
    direction = options.get("order", "desc")
    if direction not in ("asc", "desc"):
        raise BadRequest(f"expand.{name}.order must be one of asc, desc")
    if not isinstance(field, str):
        raise BadRequest(f"expand.{name}.orderBy: a field is wanted, not {show_value(field)}")
    sorted_by = [columns.find(field)]
    if sorted_by[0] is not columns.id:
        sorted_by.append(columns.id)
    terms = [b"%b %b" % (column.sql, direction.encode()) for column in sorted_by]
    return b" order by " + b", ".join(terms)


def linked_limit(name: str, options: Mapping[str, Any]) -> int:
    """Return how many records of a reverse link are shown. Raises BadRequest."""
    limit = options.get("limit", MAX_LINKED)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise BadRequest(f"expand.{name}.limit must be a whole number of at least 1")
    return min(limit, MAX_LINKED)
