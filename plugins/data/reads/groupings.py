"""The statement that makes groups of records, at once or in two steps.

Records whose groups are named by a linked record (`customer_id.name`) are grouped by the link
first, where many records have one link. So a linked record is looked up once for each link.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import Param, ValueKind
from plugins.data.columns.column import quoted
from plugins.data.rights.linked_fields import LinkedFields
from plugins.data.statements.entity_table import Table

RECORDS_OF_LINK: Final = 4
"""Records of each group of the first step, from which on two steps are quicker than one. With 50 a
query took 1.1 of the time of one by the link alone, with one record 2.1 (at once: 1.35 and 1.2)."""

MAX_UNITS: Final = 100
"""Groups that a unit of time is taken to make at most, but for days: years, months."""

HAS_FEW_GROUPS: Final = b"""
select r.reltuples >= $5::float8 * coalesce(exp(sum(ln(greatest(1, least(
    case when s.n_distinct < 0 then -s.n_distinct * r.reltuples else s.n_distinct end,
    case when s.attname = any($4::text[]) then $6::float8 end))))), 1)
from pg_class as r left join pg_stats as s
    on s.schemaname = $1 and s.tablename = $2 and s.attname = any($3::text[])
where r.oid = format('%I.%I', $1::text, $2::text)::regclass
group by r.reltuples
"""
"""Whether many records have the same values, as far as the statistics of PostgreSQL know.

Parameters: schema, table, columns, those of which only a unit of time counts, RECORDS_OF_LINK,
MAX_UNITS.
"""


class Member(msgspec.Struct, frozen=True):
    """One member of each row of the result: its expression, and what it is.

    `parts` are aggregates of some records of a group, and `combined` makes the member of them; it
    has a place for each. Both are empty where a member needs all records of its group at once. With
    `is_linked` the expression needs a linked record. A group is of the column `source`, or of a
    unit of it.
    """

    name: str
    sql: bytes
    kind: ValueKind
    cast: bytes
    parts: tuple[bytes, ...] = ()
    combined: bytes = b""
    is_linked: bool = False
    source: str = ""
    is_unit: bool = False


class Grouping(msgspec.Struct, frozen=True):
    """The groups and aggregates of a query."""

    table: Table
    fields: LinkedFields
    groups: Sequence[Member]
    aggregates: Sequence[Member]

    @property
    def members(self) -> Sequence[Member]:
        """The groups, then the aggregates."""
        return [*self.groups, *self.aggregates]

    @property
    def has_two_steps(self) -> bool:
        """Whether it can be made in two steps."""
        has_linked_group = any(group.is_linked for group in self.groups)
        can_combine = all(member.parts and not member.is_linked for member in self.aggregates)
        return bool(self.fields.joins) and has_linked_group and can_combine

    def list_params(self) -> Sequence[Param]:
        """Return the parameters of HAS_FEW_GROUPS."""
        own_groups = [group for group in self.groups if not group.is_linked]
        columns = [*self.fields.first_links, *(group.source for group in own_groups)]
        units = [group.source for group in own_groups if group.is_unit]
        entity = self.table.entity
        return (entity.app_id, entity.name, columns, units, RECORDS_OF_LINK, MAX_UNITS)

    def select(self, where: bytes, *, in_two_steps: bool) -> bytes:
        """Return the SQL of the groups: the members as `k0`, `k1` and so on."""
        if in_two_steps:
            return self._select_in_two_steps(where)
        expressions = [member.sql for member in self.members]
        source = b"%b as t%b%b" % (self.table.name, self.fields.joins, where)
        return _select(expressions, source, len(self.groups))

    def _select_in_two_steps(self, where: bytes) -> bytes:
        """Group by the links and by the records' own members, then by those behind the links.

        The rows of the first step have the alias and the links of the records, so that the joins
        are the same.
        """
        own_groups = {
            place: b"_g%d" % place for place, group in enumerate(self.groups) if not group.is_linked
        }
        first_items = [b"t.%b" % quoted(name) for name in self.fields.first_links]
        first_items += [
            b"%b as %b" % (self.groups[place].sql, name) for place, name in own_groups.items()
        ]
        count = len(first_items)
        expressions = [
            b"t." + own_groups[place] if place in own_groups else group.sql
            for place, group in enumerate(self.groups)
        ]
        for place, member in enumerate(self.aggregates):
            names = [b"_p%d_%d" % (place, number) for number in range(len(member.parts))]
            first_items += [
                b"%b as %b" % (part, name) for part, name in zip(member.parts, names, strict=True)
            ]
            expressions.append(member.combined % tuple(b"t." + name for name in names))
        parts = (b", ".join(first_items), self.table.name, where, _write_places(count))
        first_step = b"select %b from %b as t%b%b" % parts
        source = b"(%b) as t%b" % (first_step, self.fields.joins)
        return _select(expressions, source, len(self.groups))


def _select(expressions: Sequence[bytes], source: bytes, groups: int) -> bytes:
    items = b", ".join(b"%b as k%d" % (sql, place) for place, sql in enumerate(expressions))
    return b"select %b from %b%b" % (items, source, _write_places(groups))


def _write_places(count: int) -> bytes:
    """Return the `group by` of the first items of a select list."""
    if not count:
        return b""
    return b" group by " + b", ".join(b"%d" % place for place in range(1, count + 1))
