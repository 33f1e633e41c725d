"""Fields of linked records, as `customer_id.name`, for groups and aggregates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from kernel.public import BadRequest
from plugins.data.columns.column import CASTS, Column
from plugins.data.columns.columns import Columns
from plugins.data.filters.conditions import Conditions, Related, join
from plugins.data.statements.expansions import MAX_DEPTH, Expansions, read_expand

MAX_PATH: Final = 63
"""Bytes of a name in PostgreSQL: the path is the name of a member."""


class LinkedFields:
    """Finds the columns of an entity, and joins the records that its links lead to.

    A record that the caller may not read is as none, and its fields are null.
    """

    def __init__(
        self, columns: Columns, conditions: Conditions, related: Mapping[str, Related]
    ) -> None:
        self._columns = columns
        self._conditions = conditions
        self._related = related
        self._joined: dict[tuple[str, ...], Columns | None] = {(): columns}
        self.joins = b""
        """What follows the table in the statement."""
        self.first_links: list[str] = []
        """The fields of the entity that the joins begin with."""

    def leads_away(self, name: str) -> bool:
        """Whether a name is a path to a linked record."""
        return "." in name and name not in self._columns

    def find(self, name: str) -> Column:
        """Return a column, of the entity or of a linked one. Raises BadRequest."""
        if not self.leads_away(name):
            return self._columns.find(name)
        *links, field = name.split(".")
        if len(links) > MAX_DEPTH:
            raise BadRequest(f"{name[:80]!r} is more than {MAX_DEPTH} links deep")
        if len(name.encode()) > MAX_PATH:
            raise BadRequest(f"{name[:80]!r} has more than {MAX_PATH} characters")
        columns = self._join(tuple(links))
        if columns is None:
            return _make_null_column(name)
        return columns.find(field)

    def _join(self, path: tuple[str, ...]) -> Columns | None:
        """Join the records at a path of links; None where the caller may read none."""
        if path in self._joined:
            return self._joined[path]
        outer = self._join(path[:-1])
        inner = None
        if outer is not None:
            inner = self._join_link(outer, path[-1])
        self._joined[path] = inner
        return inner

    def _join_link(self, outer: Columns, name: str) -> Columns | None:
        link = outer.find_link(name)
        if link.reverse:
            raise BadRequest(f"{outer.entity.name}.{name} leads to several records, not to one")
        linked = self._related.get(link.entity)
        if linked is None:
            return None
        alias = self._conditions.next_alias()
        inner = linked.columns.alias_as(alias)
        conditions = [join(outer, link, inner), *linked.write_conditions(self._conditions, alias)]
        parts = (linked.source, alias, b" and ".join(conditions))
        self.joins += b" left join %b as %b on %b" % parts
        if outer is self._columns:
            self.first_links.append(link.column)
        return inner


def expand_paths(names: Iterable[str]) -> Expansions:
    """Return the links that paths of fields follow; too long ones are refused by `find`."""
    paths = [name.rpartition(".")[0] for name in names if 1 <= name.count(".") <= MAX_DEPTH]
    return read_expand(paths) if paths else {}


def _make_null_column(name: str) -> Column:
    """Return a column of records that do not exist for the caller: it has no value."""
    return Column(
        name=name,
        label=name,
        type="text",
        kind="text",
        bare=b"null",
        sql=b"null::text",
        cast=CASTS["text"],
        nullable=True,
    )
