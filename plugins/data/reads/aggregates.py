"""Aggregates: `groupBy`, `aggregate` and `having` of a query to one statement."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, cast
from zoneinfo import available_timezones

import msgspec

from kernel.public import MAX_PAGE, Aggregation, BadRequest, ValueKind, nearest, show_value
from plugins.data.columns import CASTS, Column, Columns, Link
from plugins.data.filters import Conditions
from plugins.data.rendering import TOO_LARGE, timestamp_text
from plugins.data.store import Table

MAX_NAMES: Final = 50
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
_ANY: Final = _SINGLE | frozenset[ValueKind]({"texts", "numbers"})


class _Function(msgspec.Struct, frozen=True):
    """An aggregate: its SQL, the kinds of fields it takes, the kind of its result."""

    sql: bytes
    kinds: frozenset[ValueKind]
    result: ValueKind | None = None


FUNCTIONS: Final[Mapping[str, _Function]] = {
    "$count": _Function(b"count(%b)", _ANY, "number"),
    "$countDistinct": _Function(b"count(distinct %b)", _ANY, "number"),
    "$sum": _Function(b"trim_scale(sum(%b))", _NUMBERS, "number"),
    "$avg": _Function(b"trim_scale(avg(%b))", _NUMBERS, "number"),
    "$min": _Function(b"min(%b)", _ORDERED),
    "$max": _Function(b"max(%b)", _ORDERED),
}


class _Member(msgspec.Struct, frozen=True):
    """One member of each row of the result: its expression, and what it is."""

    name: str
    sql: bytes
    kind: ValueKind
    cast: bytes


def compile_aggregation(table: Table, rows: Conditions, wanted: Aggregation) -> bytes:
    """Return the statement of an aggregation; its row is the whole reply. Raises BadRequest.

    Parameters are added to `rows`, which has the conditions.
    """
    count = len(wanted.group_by) + len(wanted.aggregate)
    if count == 0:
        raise BadRequest("aggregate: name at least one group or aggregate")
    if count > MAX_NAMES:
        raise BadRequest(f"aggregate holds more than {MAX_NAMES} groups and aggregates")
    groups = [_group(table.columns, rows, item, wanted.timezone) for item in wanted.group_by]
    names = [group.name for group in groups]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadRequest(f"groupBy: {twice!r} is named twice")
    found = [_aggregate(table.columns, names, *pair) for pair in wanted.aggregate.items()]
    members = [*groups, *found]
    return _statement(table, rows, wanted, groups, members)


@contextmanager
def named_time_zone(timezone: str | None) -> Generator[None]:
    """Name the member and a known time zone where PostgreSQL knows none of this name."""
    try:
        yield
    except BadRequest as error:
        if timezone is None or not error.message.startswith("time zone "):
            raise
        hint = nearest(timezone, available_timezones())
        more = f"; {hint}" if hint.startswith("did you mean") else ""
        raise BadRequest(f"timezone: {timezone[:80]!r} is not known{more}") from None


def _statement(
    table: Table,
    rows: Conditions,
    wanted: Aggregation,
    groups: Sequence[_Member],
    members: Sequence[_Member],
) -> bytes:
    inner = b", ".join(b"%b as k%d" % (m.sql, place) for place, m in enumerate(members))
    by = b", ".join(b"%d" % place for place in range(1, len(groups) + 1))
    source = b"select %b from %b as t%b%b" % (
        inner,
        table.name,
        rows.clause(),
        b" group by " + by if by else b"",
    )
    results = Results(table.entity.name, members)
    having = b""
    if wanted.having:
        having = b" where " + rows.within(results, [wanted.having])[0]
    shown = b", ".join(
        b"%b as %b" % (_shown(member, place), results.find(member.name).bare)
        for place, member in enumerate(members)
    )
    page = b"select %b from _h as g%b limit %d offset %b" % (
        shown,
        _order(results, wanted, groups),
        min(wanted.limit, MAX_PAGE),
        rows.bind(wanted.offset, b"bigint"),
    )
    ending = b"'}'"
    if wanted.total:
        ending = b"', \"total\": ' || (select count(*) from _h) || '}'"
    texts = b"select row_to_json(_r)::text as json from (%b) _r offset 0" % page
    array = table.page(texts, table.columns.id, min(wanted.limit, MAX_PAGE), None)
    known = b""
    if wanted.timezone:  # PostgreSQL looks at its name also where no row has a time
        known = b" where now() at time zone %b is not null" % rows.bind(wanted.timezone, b"text")
    return (
        b"with _g as (%b), _h as (select * from _g as g%b) select case when _p.json = '%b'"
        b" then _p.json else '{\"data\": ' || _p.json || %b end from (%b) _p(json)%b"
        % (source, having, TOO_LARGE, ending, array, known)
    )


class Results(Columns):
    """The members of an aggregate's rows, as columns that `having` and `orderBy` name."""

    def __init__(self, entity: str, members: Iterable[_Member]) -> None:
        self._label = entity
        self._found = {
            member.name: Column(
                name=member.name,
                label=member.name,
                type=member.kind,
                kind=member.kind,
                bare=_quoted(member.name),
                sql=b"g.k%d" % place,
                cast=member.cast,
                nullable=True,
            )
            for place, member in enumerate(members)
        }
        self.links = {}

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def find(self, name: str, also: Iterable[str] = ()) -> Column:
        """Return a member. Raises BadRequest that names it."""
        if (column := self._found.get(name)) is None:
            hint = nearest(name, self._found)
            raise BadRequest(f"the aggregates of {self._label} have no {name[:80]!r}; {hint}")
        return column

    def link(self, name: str) -> Link:
        """Raise BadRequest: groups have no links."""
        raise BadRequest(f"the aggregates of {self._label} have no link {name[:80]!r}")


def _group(columns: Columns, rows: Conditions, item: object, timezone: str | None) -> _Member:
    if isinstance(item, str):
        column = columns.find(item)
        return _Member(column.name, column.sql, column.kind, column.cast)
    unit, name = _single(item, "groupBy")
    if unit not in UNITS and unit != HOUR:
        hint = nearest(unit, (*UNITS, HOUR))
        raise BadRequest(f"groupBy: unknown unit {unit[:80]!r}; {hint}")
    column = columns.find(name)
    allowed = ("timestamp",) if unit == HOUR else ("timestamp", "date")
    if column.kind not in allowed:
        raise BadRequest(f"{column.label}: {unit} does not work on {column.type}")
    zone = timezone or "UTC"
    if unit == HOUR:
        sql = b"date_trunc('hour', %b, %b)" % (column.sql, rows.bind(zone, b"text"))
        return _Member(name, sql, "timestamp", b"timestamptz")
    moved = column.sql
    if column.kind == "timestamp":
        moved = b"%b at time zone %b" % (column.sql, rows.bind(zone, b"text"))
    return _Member(name, UNITS[unit] % moved, "text", b"text")


def _aggregate(columns: Columns, groups: Sequence[str], alias: str, item: object) -> _Member:
    if alias in groups:
        raise BadRequest(f"aggregate.{alias[:80]}: a group has this name")
    if not alias or len(alias) > 63 or "\0" in alias:
        raise BadRequest("aggregate: a name has 1 to 63 characters")
    name, field = _single(item, f"aggregate.{alias[:80]}")
    function = FUNCTIONS.get(name)
    if function is None:
        hint = nearest(name, FUNCTIONS)
        raise BadRequest(f"aggregate.{alias}: unknown function {name[:80]!r}; {hint}")
    if name == "$count" and field == "*":
        return _Member(alias, b"count(*)", "number", b"numeric")
    column = columns.find(field)
    if column.kind not in function.kinds:
        raise BadRequest(f"{column.label}: {name} does not work on {column.type}")
    value = _NUMERIC % column.sql if name in ("$sum", "$avg") else column.sql
    kind = function.result or column.kind
    return _Member(
        alias, function.sql % value, kind, b"numeric" if function.result else CASTS[kind]
    )


def _single(item: object, where: str) -> tuple[str, str]:
    """Read an object with one member, whose value is the name of a field."""
    if isinstance(item, Mapping):
        members = list(cast("Mapping[str, object]", item).items())
        if len(members) == 1 and isinstance(members[0][1], str):
            return members[0][0], members[0][1]
    wanted = 'an object like {"$function": "field"} is wanted'
    raise BadRequest(f"{where}: {wanted}, not {show_value(item)}")


def _shown(member: _Member, place: int) -> bytes:
    value = b"g.k%d" % place
    return timestamp_text(value) if member.kind == "timestamp" else value


def _order(results: Results, wanted: Aggregation, groups: Sequence[_Member]) -> bytes:
    """Order by one member, ties by the groups; without `orderBy` by the groups alone."""
    places = [b"g.k%d" % place for place in range(len(groups))]
    way = (wanted.order or ("asc" if wanted.order_by is None else "desc")).encode()
    if wanted.order_by is not None:
        first = results.find(wanted.order_by).sql
        parts = [b"%b %b" % (first, way), *(place for place in places if place != first)]
    else:
        parts = [b"%b %b" % (place, way) for place in places]
    return b" order by " + b", ".join(parts) if parts else b""


def _quoted(name: str) -> bytes:
    return b'"%b"' % name.replace('"', '""').encode()
