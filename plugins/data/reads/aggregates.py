"""Aggregates: `groupBy`, `aggregate` and `having` of a query to one statement."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, cast
from zoneinfo import available_timezones

import msgspec

from kernel.public import (
    MAX_PAGE,
    Aggregation,
    BadRequest,
    Query,
    Reader,
    Target,
    ValueKind,
    WithSnapshot,
    nearest,
    show_value,
)
from plugins.data.columns.column import CASTS, Column
from plugins.data.columns.links import Link
from plugins.data.filters.conditions import Conditions
from plugins.data.rendering import TOO_LARGE, timestamp_text
from plugins.data.rights.linked_fields import LinkedFields, expand_paths
from plugins.data.rights.scopes import RowScopes
from plugins.data.sources.read_sources import ReadSources
from plugins.data.statements.entity_table import Table
from plugins.data.watches.snapshots import SnapshotReader

from .groupings import HAS_FEW_GROUPS, Grouping, Member
from .page_parts import check_offset
from .searches import Searches

MAX_NAMES: Final = 200
"""Groups and aggregates of one query."""

UNITS: Final[Mapping[str, bytes]] = {
    "$year": b"to_char(%b, 'YYYY')",
    "$quarter": b"to_char(%b, 'YYYY-\"Q\"Q')",
    "$month": b"to_char(%b, 'YYYY-MM')",
    "$week": b"to_char(%b, 'IYYY-\"W\"IW')",
    "$day": b"to_char(%b, 'YYYY-MM-DD')",
}
HOUR: Final = "$hour"
_NUMERIC: Final = b"%b::text::numeric"
"""A double as exactly the digits that it is written with: a cast alone keeps 15 of them."""

_NUMBERS: Final = frozenset[ValueKind]({"number"})
_ORDERED: Final = frozenset[ValueKind]({"text", "number", "date", "timestamp"})
_SINGLE: Final = _ORDERED | frozenset[ValueKind]({"boolean", "uuid", "json"})
_ANY: Final = _SINGLE | frozenset[ValueKind]({"texts", "numbers", "file", "files"})


class _Function(msgspec.Struct, frozen=True):
    """An aggregate: its SQL, the kinds of fields it takes, the kind of its result.

    `parts` and `combined` make it in two steps, see `Member`. A part is of the value, or of the
    `column` itself: PostgreSQL would convert a value for each of several aggregates.
    """

    sql: bytes
    kinds: frozenset[ValueKind]
    result: ValueKind | None = None
    parts: tuple[bytes, ...] = ()
    combined: bytes = b""


_COUNTS_TOGETHER: Final = b"sum(%b)::bigint"
FUNCTIONS: Final[Mapping[str, _Function]] = {
    "$count": _Function(b"count(%b)", _ANY, "number", (b"count(%(column)b)",), _COUNTS_TOGETHER),
    "$countDistinct": _Function(b"count(distinct %b)", _ANY, "number"),
    "$sum": _Function(
        b"trim_scale(sum(%b))", _NUMBERS, "number", (b"sum(%(value)b)",), b"trim_scale(sum(%b))"
    ),
    "$avg": _Function(
        b"trim_scale(avg(%b))",
        _NUMBERS,
        "number",
        (b"sum(%(value)b)", b"count(%(column)b)"),
        b"trim_scale(sum(%b) / nullif(sum(%b), 0))",
    ),
    "$min": _Function(b"min(%b)", _ORDERED, None, (b"min(%(value)b)",), b"min(%b)"),
    "$max": _Function(b"max(%b)", _ORDERED, None, (b"max(%(value)b)",), b"max(%b)"),
}


class AggregateReader:
    """Reads groups of the records that a caller may read."""

    def __init__(self, scopes: RowScopes, sources: ReadSources, searches: Searches) -> None:
        self._scopes = scopes
        self._sources = sources
        self._searches = searches

    async def read(self, target: Target, aggregation: Aggregation) -> bytes:
        """See `Records.aggregate`."""
        return await self._read(target, aggregation, self._sources.large)

    async def read_with(
        self, target: Target, aggregation: Aggregation, expression: Query
    ) -> WithSnapshot:
        """See `SnapshotReads.aggregate_with`."""
        reader = SnapshotReader(self._sources.statements, expression)
        groups = await self._read(target, aggregation, reader)
        return WithSnapshot(groups, reader.snapshot)

    async def _read(self, target: Target, aggregation: Aggregation, reader: Reader) -> bytes:
        where = aggregation.where
        expansions = expand_paths(list_fields(aggregation))
        scope = await self._scopes.resolve(target, "read", where, expansions)
        if aggregation.limit < 1:
            raise BadRequest("limit must be a whole number of at least 1")
        check_offset(aggregation.offset)
        conditions = scope.begin_conditions()
        if where:
            conditions.require_tree(where)
        await self._searches.require_search(target, scope, conditions, where, aggregation.search)
        fields = LinkedFields(scope.columns, conditions, scope.related)
        grouping = read_grouping(scope.table, fields, conditions, aggregation)
        in_two_steps = await self._is_quicker_in_two_steps(grouping)
        grouped = grouping.select(conditions.where_clause(), in_two_steps=in_two_steps)
        query = _write_statement(grouping, grouped, conditions, aggregation)
        with _name_time_zone(aggregation.timezone):
            reply = await reader.fetch(query, *conditions.params, custom_plan=True)
        if reply is None or reply == TOO_LARGE:
            raise BadRequest("these groups are too large together: ask for fewer by limit")
        return reply

    async def _is_quicker_in_two_steps(self, grouping: Grouping) -> bool:
        if not grouping.has_two_steps:
            return False
        return await self._sources.large.fetch(HAS_FEW_GROUPS, *grouping.list_params()) == b"t"


def read_grouping(
    table: Table, fields: LinkedFields, conditions: Conditions, aggregation: Aggregation
) -> Grouping:
    """Read the groups and aggregates of a query. Raises BadRequest.

    Parameters are added to `conditions`.
    """
    count = len(aggregation.group_by) + len(aggregation.aggregate)
    if count == 0:
        raise BadRequest("aggregate: name at least one group or aggregate")
    if count > MAX_NAMES:
        raise BadRequest(f"aggregate holds more than {MAX_NAMES} groups and aggregates")
    timezone = aggregation.timezone
    groups = [_read_group(fields, conditions, item, timezone) for item in aggregation.group_by]
    names = [group.name for group in groups]
    for name in names:
        if names.count(name) > 1:
            raise BadRequest(f"groupBy: {name!r} is named twice")
    aggregates = [
        _read_aggregate(fields, names, alias, item) for alias, item in aggregation.aggregate.items()
    ]
    return Grouping(table, fields, groups, aggregates)


@contextmanager
def _name_time_zone(timezone: str | None) -> Generator[None]:
    """Name the member and a known time zone where PostgreSQL knows none of this name."""
    try:
        yield
    except BadRequest as error:
        if timezone is None or not error.message.startswith("time zone "):
            raise
        message = f"timezone: {timezone[:80]!r} is not known"
        hint = nearest(timezone, available_timezones())
        if hint.startswith("did you mean"):
            message += f"; {hint}"
        raise BadRequest(message) from None


def _write_statement(
    grouping: Grouping, grouped: bytes, conditions: Conditions, aggregation: Aggregation
) -> bytes:
    """Return the statement that shows the rows of `grouped`; its row is the whole reply."""
    table = grouping.table
    members = grouping.members
    groups = grouping.groups
    group_columns = GroupColumns(table.entity.name, members)
    having = b""
    if aggregation.having:
        having = b" where " + conditions.compile_trees(group_columns, [aggregation.having])[0]
    shown_items = b", ".join(
        b"%b as %b" % (_write_value(member, place), group_columns.find(member.name).bare)
        for place, member in enumerate(members)
    )
    limit = min(aggregation.limit, MAX_PAGE)
    order = _write_order(group_columns, aggregation, groups)
    offset = conditions.bind(aggregation.offset, b"bigint")
    parts = (shown_items, order, limit, offset)
    page = b"select %b from _h as g%b limit %d offset %b" % parts
    texts = b"select row_to_json(_r)::text as json from (%b) _r offset 0" % page
    array = table.reads.select_page(texts, table.columns.id, limit, None)

    ending = b"'}'"
    if aggregation.total:
        ending = b"', \"total\": ' || (select count(*) from _h) || '}'"
    is_known = b""
    if aggregation.timezone:  # PostgreSQL looks at its name also where no row has a time
        timezone = conditions.bind(aggregation.timezone, b"text")
        is_known = b" where now() at time zone %b is not null" % timezone
    parts = (grouped, having, TOO_LARGE, ending, array, is_known)
    return (
        b"with _g as (%b), _h as (select * from _g as g%b) select case when _p.json = '%b'"
        b" then _p.json else '{\"data\": ' || _p.json || %b end from (%b) _p(json)%b" % parts
    )


class GroupColumns:
    """The members of an aggregate's rows, as columns that `having` and `orderBy` name.

    They are `NamedColumns`.
    """

    def __init__(self, entity: str, members: Iterable[Member]) -> None:
        self._label = entity
        self._members = {
            member.name: Column(
                name=member.name,
                label=member.name,
                type=member.kind,
                kind=member.kind,
                bare=_quote(member.name),
                sql=b"g.k%d" % place,
                cast=member.cast,
                nullable=True,
            )
            for place, member in enumerate(members)
        }
        self.links: Mapping[str, Link] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def find(self, name: str, also: Iterable[str] = ()) -> Column:
        """Return a member. Raises BadRequest that names it."""
        column = self._members.get(name)
        if column is None:
            hint = nearest(name, self._members)
            raise BadRequest(f"the aggregates of {self._label} have no {name[:80]!r}; {hint}")
        return column

    def find_link(self, name: str) -> Link:
        """Raise BadRequest: groups have no links."""
        raise BadRequest(f"the aggregates of {self._label} have no link {name[:80]!r}")


def list_fields(aggregation: Aggregation) -> Iterator[str]:
    """Yield the names of fields; what is wrong with them is found when they become SQL."""
    for item in aggregation.group_by:
        yield from _list_names(item)
    for item in aggregation.aggregate.values():
        yield from _list_names(item)


def _list_names(item: object) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    elif isinstance(item, Mapping):
        for name in cast("Mapping[str, object]", item).values():
            if isinstance(name, str):
                yield name


def _read_group(
    columns: LinkedFields, conditions: Conditions, item: object, timezone: str | None
) -> Member:
    if isinstance(item, str):
        column = columns.find(item)
        is_linked = columns.leads_away(item)
        return Member(
            item, column.sql, column.kind, column.cast, is_linked=is_linked, source=column.name
        )
    unit, name = _read_pair(item, "groupBy")
    if unit not in UNITS and unit != HOUR:
        hint = nearest(unit, (*UNITS, HOUR))
        raise BadRequest(f"groupBy: unknown unit {unit[:80]!r}; {hint}")
    column = columns.find(name)
    allowed = ("timestamp",) if unit == HOUR else ("timestamp", "date")
    if column.kind not in allowed:
        raise BadRequest(f"{column.label}: {unit} does not work on {column.type}")
    zone = timezone or "UTC"
    is_linked = columns.leads_away(name)
    if unit == HOUR:
        sql = b"date_trunc('hour', %b, %b)" % (column.sql, conditions.bind(zone, b"text"))
        return Member(name, sql, "timestamp", b"timestamptz", is_linked=is_linked, source=name)
    local_time = column.sql
    if column.kind == "timestamp":
        local_time = b"%b at time zone %b" % (column.sql, conditions.bind(zone, b"text"))
    sql = UNITS[unit] % local_time
    is_short = unit != "$day"
    return Member(name, sql, "text", b"text", is_linked=is_linked, source=name, is_unit=is_short)


def _read_aggregate(
    columns: LinkedFields, groups: Sequence[str], alias: str, item: object
) -> Member:
    if alias in groups:
        raise BadRequest(f"aggregate.{alias[:80]}: a group has this name")
    if not alias or len(alias) > 63 or "\0" in alias:
        raise BadRequest("aggregate: a name has 1 to 63 characters")
    name, field = _read_pair(item, f"aggregate.{alias[:80]}")
    function = FUNCTIONS.get(name)
    if function is None:
        hint = nearest(name, FUNCTIONS)
        raise BadRequest(f"aggregate.{alias}: unknown function {name[:80]!r}; {hint}")
    if name == "$count" and field == "*":
        parts = (b"count(*)",)
        return Member(alias, b"count(*)", "number", b"numeric", parts, _COUNTS_TOGETHER)
    column = columns.find(field)
    if column.kind not in function.kinds:
        raise BadRequest(f"{column.label}: {name} does not work on {column.type}")
    value = column.sql
    if name in ("$sum", "$avg"):
        value = _NUMERIC % column.sql
    kind = function.result or column.kind
    cast_to = b"numeric" if function.result is not None else CASTS[column.kind]
    return Member(
        alias,
        function.sql % value,
        kind,
        cast_to,
        tuple(part % {b"value": value, b"column": column.sql} for part in function.parts),
        function.combined,
        is_linked=columns.leads_away(field),
    )


def _read_pair(item: object, where: str) -> tuple[str, str]:
    """Read an object with one member, whose value is the name of a field."""
    if isinstance(item, Mapping):
        pairs = list(cast("Mapping[str, object]", item).items())
        if len(pairs) == 1:
            name, field = pairs[0]
            if isinstance(field, str):
                return name, field
    example = 'an object like {"$function": "field"} is wanted'
    raise BadRequest(f"{where}: {example}, not {show_value(item)}")


def _write_value(member: Member, place: int) -> bytes:
    value = b"g.k%d" % place
    return timestamp_text(value) if member.kind == "timestamp" else value


def _write_order(
    group_columns: GroupColumns, aggregation: Aggregation, groups: Sequence[Member]
) -> bytes:
    """Order by one member, ties by the groups; without `orderBy` by the groups alone."""
    places = [b"g.k%d" % place for place in range(len(groups))]
    if aggregation.order_by is None:
        direction = aggregation.order or "asc"
        terms = [b"%b %b" % (place, direction.encode()) for place in places]
    else:
        direction = aggregation.order or "desc"
        first = group_columns.find(aggregation.order_by).sql
        terms = [b"%b %b" % (first, direction.encode())]
        terms += [place for place in places if place != first]
    return b" order by " + b", ".join(terms) if terms else b""


def _quote(name: str) -> bytes:
    return b'"%b"' % name.replace('"', '""').encode()
