"""What a reply shows of each record: `fields`, and the linked records that `expand` adds.

Linked records are subqueries in a row beside the table, which PostgreSQL makes part of the select
list. So one statement reads all of them, and only for the records of the page.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

import msgspec

from kernel.public import BadRequest, View, nearest, show_value
from plugins.data.columns import Columns, Link
from plugins.data.filters import Conditions, join
from plugins.data.rendering import NestedRendering
from plugins.data.row_scope import RowScope, Tree
from plugins.data.statements.entity import ETAG, Selection, keep
from plugins.data.store import Table

MAX_DEPTH: Final = 3
MAX_EXPANDED: Final = 20
MAX_PATHS: Final = MAX_DEPTH * MAX_EXPANDED
MAX_PATH_LENGTH: Final = 400
"""Paths of links, and characters of each: those that were read before are kept."""
MAX_LINKED: Final = 100
"""Records of one reverse link."""

_OPTIONS: Final = ("where", "orderBy", "order", "limit", "fields")


class Expansion(msgspec.Struct):
    """A link to expand: its options, and the links of the records it leads to."""

    options: Mapping[str, Any] = {}
    inner: dict[str, Expansion] = {}


Expansions = Mapping[str, Expansion]


def read_expand(items: object) -> Expansions:
    """Read `expand`: paths of links, and objects with options by path. Raises BadRequest."""
    if not isinstance(items, list | tuple | Sequence) or isinstance(items, str | bytes):
        raise BadRequest(f"expand: an array is wanted, not {show_value(items)}")
    given = tuple(cast("Sequence[object]", items))
    if len(given) > MAX_PATHS:
        raise BadRequest(f"expand holds more than {MAX_PATHS} paths")
    return _read_paths(given) if {*map(type, given)} == {str} else _read(given)


def _read(items: Iterable[object]) -> Expansions:
    root = Expansion(inner={})
    count = 0
    for path, options in _paths(items):
        if len(path) > MAX_PATH_LENGTH:
            raise BadRequest(f"expand: there is no link {path[:80]!r}")
        names = path.split(".")
        if len(names) > MAX_DEPTH:
            raise BadRequest(f"expand: {path[:200]!r} is more than {MAX_DEPTH} deep")
        at = root
        for name in names:
            if name not in at.inner:
                at.inner[name] = Expansion(inner={})
                count += 1
            at = at.inner[name]
        if count > MAX_EXPANDED:
            raise BadRequest(f"expand holds more than {MAX_EXPANDED} links")
        if options:
            at.options = options
    return root.inner


_read_paths = lru_cache(500)(_read)
"""Reads paths without options, which many requests repeat."""


def _paths(items: Iterable[object]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for item in items:
        if isinstance(item, str):
            yield item, {}
        elif isinstance(item, Mapping):
            for path, options in cast("Mapping[str, object]", item).items():
                if not isinstance(options, Mapping):
                    given = show_value(options)
                    raise BadRequest(f"expand.{path[:200]}: an object is wanted, not {given}")
                yield path, cast("Mapping[str, Any]", options)
        else:
            raise BadRequest(f"expand: a text or an object is wanted, not {show_value(item)}")


def entities_of(columns: Columns, expansions: Expansions) -> list[tuple[str, Tree, Expansions]]:
    """Return the entities that expansions reach directly, with the tree and what is inside."""
    links = columns.links
    return [
        (link.entity, expansion.options.get("where") or {}, expansion.inner)
        for name, expansion in expansions.items()
        if (link := links.get(name)) is not None
    ]


def select(scope: RowScope, rows: Conditions, view: View, expansions: Expansions) -> Selection:
    """Compile what a view shows; parameters are added to `rows`. Raises BadRequest."""
    if not expansions:
        return scope.table.selection(view.fields, etag=view.etag)
    if (known := known_selection(scope, view)) is not None:
        return known
    before, shape = len(rows.params), _shape(scope, view)
    found = _Expander(rows, scope.related).selection(scope.table, view, expansions)
    if shape is None or len(rows.params) > before:
        return found
    return keep(scope.table.expanded, shape, found, 100)


def known_selection(scope: RowScope, view: View) -> Selection | None:
    """Return what `select` compiled before for a view with expansions, if it has no parameters."""
    shape = _shape(scope, view)
    return None if shape is None else scope.table.expanded.get(shape)


def _shape(scope: RowScope, view: View) -> Hashable | None:
    """Return what a selection without parameters depends on, None where it may have some."""
    if {*map(type, view.expand)} != {str}:
        return None
    tables: list[Table] = []
    for each in scope.related.values():
        if each.own_only or each.trees or each.ids is not None:
            return None
        tables.append(each.table)  # of one entity each; the others are none of the caller's
    fields = None if view.fields is None else tuple(view.fields)
    return *view.expand, fields, view.etag, *tables


class _Expander:
    def __init__(self, rows: Conditions, related: Mapping[str, RowScope]) -> None:
        self._rows = rows
        self._related = related
        self._rendering = NestedRendering()

    def selection(self, table: Table, view: View, expansions: Expansions) -> Selection:
        more = [(ETAG.sql, ETAG.name)] if view.etag else []
        items, links = self._items(table.columns, view.fields, expansions, more)
        return Selection(items, self._rendering, links=links)

    def _items(
        self,
        columns: Columns,
        fields: Iterable[str] | None,
        expansions: Expansions,
        more: Sequence[tuple[bytes, str]] = (),
    ) -> tuple[bytes, bytes]:
        added, links = list(more), b""
        if expansions:
            if "expand" in columns:
                entity = columns.entity.name
                raise BadRequest(f"expand: {entity} has a field of that name, so it has no links")
            added.append((b"_x", "expand"))
            links = self._links(columns, expansions)
        return self._rendering.items(columns.shown(fields), added), links

    def _links(self, columns: Columns, expansions: Expansions) -> bytes:
        """Write a row of linked records, which follows the table whose records link to them.

        PostgreSQL makes it part of the select list, so it is read for the records of a page only.
        """
        found: list[bytes] = []
        for name, expansion in expansions.items():
            link = columns.link(name)
            make = self._many if link.reverse else self._one
            found.append(b'%b as "%b"' % (make(columns, name, link, expansion), name.encode()))
        return b" cross join lateral (select %b) _x" % b", ".join(found)

    def _one(self, outer: Columns, name: str, link: Link, expansion: Expansion) -> bytes:
        _check_options(name, expansion.options, ("fields",))
        target = self._related.get(link.entity)
        if target is None:
            return b"null::json"
        alias = self._rows.alias()
        inner = target.columns.under(alias)
        items, links = self._items(inner, _fields(name, expansion), expansion.inner)
        conditions = [join(outer, link, inner), *target.limits(self._rows, alias)]
        return b"(select _e from (select %b from %b as %b%b where %b) _e)" % (
            items,
            target.source,
            alias,
            links,
            b" and ".join(conditions),
        )

    def _many(self, outer: Columns, name: str, link: Link, expansion: Expansion) -> bytes:
        options = expansion.options
        _check_options(name, options, _OPTIONS)
        target = self._related.get(link.entity)
        if target is None:
            return b"'[]'::json"
        self._rendering.lists()
        alias = self._rows.alias()
        inner = target.columns.under(alias)
        items, links = self._items(inner, _fields(name, expansion), expansion.inner)
        conditions = [join(outer, link, inner), *target.limits(self._rows, alias)]
        if (where := options.get("where")) is not None:
            conditions += self._rows.within(inner, [where])
        return (
            b"(select coalesce(json_agg(_e), '[]'::json)"
            b" from (select %b from %b as %b%b where %b%b limit %d) _e)"
            % (
                items,
                target.source,
                alias,
                links,
                b" and ".join(conditions),
                order_of(name, inner, options),
                limit_of(name, options),
            )
        )


def read_fields(fields: object) -> tuple[str, ...]:
    """Read `fields`. Raises BadRequest."""
    wrong = f"fields: an array of names is wanted, not {show_value(fields)}"
    if not isinstance(fields, Sequence) or isinstance(fields, str | bytes):
        raise BadRequest(wrong)
    names = cast("Sequence[object]", fields)
    if not all(isinstance(name, str) for name in names):
        raise BadRequest(wrong)
    return tuple(dict.fromkeys(cast("Sequence[str]", names)))


def _fields(name: str, expansion: Expansion) -> tuple[str, ...] | None:
    fields = expansion.options.get("fields")
    if fields is None:
        return None
    try:
        return read_fields(fields)
    except BadRequest as error:
        raise BadRequest(f"expand.{name}.{error.message}") from None


def _check_options(name: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    for option in options:
        if option not in known:
            hint = nearest(option, known)
            raise BadRequest(f"expand.{name}: unknown option {option[:80]!r}; {hint}")


def order_of(name: str, columns: Columns, options: Mapping[str, Any]) -> bytes:
    """Return the order of the records of a reverse link. Raises BadRequest."""
    given, way = options.get("orderBy", "created_at"), options.get("order", "desc")
    if way not in ("asc", "desc"):
        raise BadRequest(f"expand.{name}.order must be one of asc, desc")
    if not isinstance(given, str):
        raise BadRequest(f"expand.{name}.orderBy: a field is wanted, not {show_value(given)}")
    sort, key = columns.find(given), columns.id
    parts = (sort, key) if sort is not key else (key,)
    return b" order by " + b", ".join(b"%b %b" % (part.sql, way.encode()) for part in parts)


def limit_of(name: str, options: Mapping[str, Any]) -> int:
    """Return how many records of a reverse link are shown. Raises BadRequest."""
    limit = options.get("limit", MAX_LINKED)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise BadRequest(f"expand.{name}.limit must be a whole number of at least 1")
    return min(limit, MAX_LINKED)
