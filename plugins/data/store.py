"""Every statement of the plugin, for one entity.

Names are composed by `psycopg.sql` from the stored manifest once, when the entity is first used.
Statements are built from those names and cached by their shape. Values are always parameters; a
limit is part of the text, so that PostgreSQL caches a plan for it. The alias of a whole row is a
name that no field can have (`_r`): a column of that name would take precedence.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final, Literal, TypeVar

import msgspec

from kernel.public import OWNER_COLUMN, SETTINGS, BadRequest, Entity, Param, is_uuid, show_value

from .columns import Column, Columns, Link, quoted
from .filters import Conditions
from .models import LastSeen
from .rendering import MAX_RECORD_BYTES, SIZE_ERROR, TOO_LARGE, Rendering

MAX_PAGE_BYTES: Final = 16_000_000
"""JSON of the records of a page together, unless it is a single record."""

NO_SETTINGS: Final = b"{}"
"""The parameter for settings in a transaction, which has them since it began."""

OWNER: Final = quoted(OWNER_COLUMN)

VERSION: Final = b"t.xmin::text || '-' || (date_part('epoch', t.updated_at) * 1000000)::bigint"
"""The version of a row, as text without quotes. `xmin` alone can repeat after a restore."""

ETAG: Final = Column(
    name="_etag",
    label="_etag",
    type="text",
    kind="text",
    bare=b'"_etag"',
    sql=b"('\"' || %b || '\"')" % VERSION,
    cast=b"text",
    nullable=False,
)

TRIGRAMS: Final = b"""select extnamespace::regnamespace::text from pg_extension
where extname = 'pg_trgm'"""
"""The schema of the extension pg_trgm."""

Order = Literal["asc", "desc"]
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Selection(msgspec.Struct, frozen=True):
    """What a statement shows of each record: a select list, and what finishes its JSON.

    `columns` are what it is made of, but for linked records.
    """

    items: bytes
    rendering: Rendering
    columns: Sequence[Column] = ()


class Table:
    """The statements of one entity, for callers for whom the fields in `hidden` do not exist."""

    def __init__(
        self,
        entity: Entity,
        links: Mapping[str, Link] | None = None,
        hidden: frozenset[str] = frozenset(),
        *,
        full: Table | None = None,
        stamped: bool = True,
    ) -> None:
        self.entity = entity
        self.hidden = hidden
        self.full = full or self
        """The same table with every field: writes return whole records, for events."""
        self.shown = entity
        if hidden:
            fields = tuple(field for field in entity.fields if field.name not in hidden)
            self.shown = msgspec.structs.replace(entity, fields=fields)
        self.columns = Columns(self.shown, links=links, stamped=stamped)
        self.rendering = Rendering(self.columns)
        self.name = quoted(entity.app_id, entity.name)
        self._all = b", ".join(column.sql for column in self.columns)
        self.everything = Selection(self._all, self.rendering, tuple(self.columns))
        self._shapes: dict[Hashable, bytes] = {}
        self._selections: dict[Hashable, Selection] = {}
        self.expanded: dict[Hashable, Selection] = {}
        """Selections with linked records that need no parameters."""

    @property
    def every_column(self) -> Columns:
        """The columns that conditions of hooks may name, also where the caller may not."""
        return self.full.columns

    def selection(self, fields: Sequence[str] | None, *, etag: bool = False) -> Selection:
        """Select `id` and some fields, or all of them. Raises BadRequest for an unknown one."""
        shape = (None if fields is None else tuple(fields), etag)
        if (found := self._selections.get(shape)) is None:
            columns = [*self.columns.shown(fields), *([ETAG] if etag else ())]
            items = b", ".join(b"%b as %b" % (column.sql, column.bare) for column in columns)
            found = keep(
                self._selections, shape, Selection(items, Rendering(columns), columns), 256
            )
        return found

    def check_id(self, record_id: str) -> None:
        """Raise BadRequest where no record can have this id."""
        if self.entity.id_type == "uuid" and not is_uuid(record_id):
            given = show_value(record_id)
            raise BadRequest(f"{self.entity.name}.id: a UUID is wanted, not {given}")
        if "\0" in record_id:
            raise BadRequest("text must not contain the character U+0000")

    def conditions(self, *params: Param) -> Conditions:
        """Begin the conditions of a statement whose first parameters are `params`."""
        return Conditions(self.columns, params)

    def is_record(self, rows: Conditions, record_id: str) -> None:
        """Require one record."""
        rows.equals(self.columns.id.sql, record_id, self.columns.id.cast)

    def is_owned(self, rows: Conditions, user_id: str | None) -> None:
        """Require records that a user created."""
        rows.equals(b"t." + OWNER, user_id, b"uuid")

    def is_after(self, rows: Conditions, sort: Column, order: Order, last: LastSeen) -> None:
        """Require records after the last one seen; a null is greater than every value."""
        key, beyond = self.columns.id, b">" if order == "asc" else b"<"
        record_id = rows.bind(last.record_id, key.cast)
        if sort is key:
            rows.parts.append(b"%b %b %b" % (key.sql, beyond, record_id))
        elif last.value is None:
            among_nulls = b"%b %b %b" % (key.sql, beyond, record_id)
            form = b"(%b is null and %b)" if order == "asc" else b"(%b is not null or %b)"
            rows.parts.append(form % (sort.sql, among_nulls))
        else:
            value = rows.bind(last.value, sort.cast)
            parts = (sort.sql, key.sql, beyond, value, record_id)
            test = b"(%b, %b) %b (%b, %b)" % parts
            if order == "asc" and sort.nullable:
                test = b"(%b or %b is null)" % (test, sort.sql)
            rows.parts.append(test)

    def is_beyond(self, rows: Conditions, sort: Column, order: Order) -> None:
        """Require records after the `cursor` of the same statement, which looks it up.

        Not for a field that can be null: no index serves a condition that fits both cases.
        """
        beyond = b">" if order == "asc" else b"<"
        if sort is self.columns.id:
            rows.parts.append(b"%b %b (select id from cursor)" % (sort.sql, beyond))
        else:
            here = (sort.sql, self.columns.id.sql, beyond)
            rows.parts.append(b"(%b, %b) %b (select value, id from cursor)" % here)

    def one(self, rows: Conditions, *, items: bytes | None = None, lock: bool = False) -> bytes:
        """Return one record with its version, or `TOO_LARGE`."""
        versioned = b"%b, %b as _v" % (items or self._all, VERSION)
        return _limited(
            b"(%b%b)" % (self._select(rows, versioned), b" for update" if lock else b"")
        )

    def by_id(self, *, own_only: bool) -> bytes:
        """Return one record without scopes of hooks, and its version.

        Parameters: the owner where `own_only`, the id.
        """
        return self._cached(("one", own_only), lambda: self._by_id(own_only))

    def listed(
        self, sort: Column, order: Order, limit: int, items: bytes, *, own_only: bool, skip: bool
    ) -> bytes:
        """Return a page without conditions of its own.

        Parameters: the owner where `own_only`, the offset where `skip`.
        """
        shape = ("listed", sort.name, order, limit, items, own_only, skip)
        return self._cached(shape, lambda: self._listed(sort, order, limit, items, own_only, skip))

    def texts(
        self, rows: Conditions, order: bytes, limit: int, offset: int, items: bytes | None = None
    ) -> bytes:
        """Return the records of a page one by one, as text: its source."""
        return b"select row_to_json(_r)::text as json from (%b%b limit %d%b) _r offset 0" % (
            self._select(rows, items),
            order,
            limit,
            b" offset " + rows.bind(offset, b"bigint") if offset else b"",
        )

    def page(self, texts: bytes, sort: Column, limit: int, cursor: Conditions | None) -> bytes:
        """Return a JSON array of records; no row where `cursor` is given and finds no record.

        Return `TOO_LARGE` where it is too large, or where one record is so large that only
        `careful_page` can decide.
        """
        # PostgreSQL adds up no more than the bytes of a record before it knows the sum.
        small = b"octet_length(json) <= %d" % (MAX_RECORD_BYTES // limit)
        fits = b"sum(octet_length(json)) <= %d and bool_and(%b)" % (MAX_PAGE_BYTES, small)
        return self._array(texts, fits, small, sort, cursor)

    def careful_page(self, texts: bytes, sort: Column, cursor: Conditions | None) -> bytes:
        """Return the same, slower, in bounded memory however large the records are.

        A page of a single record may have `MAX_RECORD_BYTES`.
        """
        measured = (
            b"select json, sum(octet_length(json)) over (rows unbounded preceding) as upto"
            b" from (%b) p" % texts
        )
        limits = MAX_PAGE_BYTES, MAX_RECORD_BYTES
        fits = b"max(upto) <= %d or (count(*) = 1 and max(upto) <= %d)" % limits
        begins = b"upto - octet_length(json) < %d and octet_length(json) <= %d" % limits
        return self._array(measured, fits, begins, sort, cursor)

    def every(
        self,
        rows: Conditions,
        order: bytes,
        offset: int,
        items: bytes | None = None,
        limit: int | None = None,
    ) -> bytes:
        """Return the records one by one, or `TOO_LARGE` in place of one."""
        return _limited(
            b"(%b%b%b%b)"
            % (
                self._select(rows, items),
                order,
                b"" if limit is None else b" limit %d" % limit,
                b" offset " + rows.bind(offset, b"bigint") if offset else b"",
            )
        )

    def count(self, rows: Conditions) -> bytes:
        """Count the records."""
        return b"select count(*) from %b as t%b" % (self.name, rows.clause())

    def last_seen(self, rows: Conditions, sort: Column) -> bytes:
        """Return the position of a record in an order, as a `LastSeen`, or `TOO_LARGE`."""
        return _limited(
            b"(select %b::text as record_id, %b::text as value from %b as t%b)"
            % (self.columns.id.sql, sort.sql, self.name, rows.clause())
        )

    def insert(self, names: tuple[str, ...]) -> bytes:
        """Create a record from a JSON object that has `names`: settings, object, owner."""
        return self._cached(("insert", names), lambda: self._insert(names))

    def insert_many(self, names: tuple[str, ...], *, versioned: bool = False) -> bytes:
        """Create records from a JSON array in its order: settings, array, owner."""
        shape = ("insert many", names, versioned)
        return self._cached(shape, lambda: self._insert_many(names, versioned))

    def insert_quietly(self, names: tuple[str, ...]) -> bytes:
        """Create records like `insert_many`, and return their number."""
        return self._cached(("insert quietly", names), lambda: self._insert_quietly(names))

    def update(self, names: tuple[str, ...], rows: Conditions) -> bytes:
        """Change records by a JSON object that has `names`: settings, object, conditions."""
        head = self._cached(("update", names), lambda: self._update(names))
        items = b"%b, %b as _v" % (self._all, VERSION)
        return b"%b%b returning %b) %b" % (head, rows.clause(), items, _MADE)

    def meet(self, on: Sequence[str], limits: Sequence[bytes]) -> bytes:
        """Lock the records that have the keys of rows: a JSON array of objects with `_place`.

        Each row is the place, the record's id, and whether the record is within `limits`.
        """
        columns = self._named(on)
        return (
            b"select json_build_array(x._place, t.id::text, %b)"
            b" from jsonb_to_recordset($1::jsonb) as x(_place int, %b) join %b as t on %b"
            b" for update of t"
            % (
                b" and ".join(limits) or b"true",
                _definitions(columns),
                self.name,
                b" and ".join(b"%b = x.%b" % (column.sql, column.bare) for column in columns),
            )
        )

    def change_where(
        self, names: tuple[str, ...], rows: Conditions, least: int, most: int
    ) -> bytes:
        """Change the records of `rows` if there are from `least` to `most`.

        Parameters: settings, object, conditions. Returns how many there are, at most one more than
        `most`, and how many were changed.
        """
        columns = self._named(names)
        changes = b", ".join(b"%b = x.%b" % (column.bare, column.bare) for column in columns)
        return self._hits(rows, least, most) + (
            b", _made as (update %b as t set %b"
            b" from settings, _hit, _fits, jsonb_to_record($2::jsonb) as x(%b)"
            b" where t.id = _hit.id returning 1) %b"
            % (self.name, changes, _definitions(columns), _HOW_MANY)
        )

    def delete_where(self, rows: Conditions, least: int, most: int) -> bytes:
        """Delete the records of `rows` if there are from `least` to `most`; see `change_where`.

        Parameters: settings, conditions.
        """
        return self._hits(rows, least, most) + (
            b", _made as (delete from %b as t using settings, _hit, _fits"
            b" where t.id = _hit.id returning 1) %b" % (self.name, _HOW_MANY)
        )

    def ids_where(self, rows: Conditions, most: int) -> bytes:
        """Lock the records of `rows`, at most one more than `most`, and return their ids."""
        limit = rows.bind(most + 1, b"bigint")
        parts = (self.name, rows.clause(), limit)
        return b"select t.id::text from %b as t%b limit %b for update of t" % parts

    def _hits(self, rows: Conditions, least: int, most: int) -> bytes:
        low, high = rows.bind(least, b"bigint"), rows.bind(most, b"bigint")
        return SETTINGS + (
            b", _hit as materialized"
            b" (select t.id from %b as t%b limit %b + 1 for update of t),"
            b" _n as materialized (select count(*) as n from _hit),"
            b" _fits as (select from _n where n between %b and %b)"
            % (self.name, rows.clause(), high, low, high)
        )

    def delete(self, rows: Conditions) -> bytes:
        """Delete records and return one of their ids: settings, conditions."""
        return (
            SETTINGS + b", gone as (delete from %b as t using settings%b returning %b::text as id)"
            b" select id from gone" % (self.name, rows.clause(), self.columns.id.sql)
        )

    def _cached(self, shape: Hashable, make: Callable[[], bytes]) -> bytes:
        if (statement := self._shapes.get(shape)) is None:
            statement = keep(self._shapes, shape, make(), 256)
        return statement

    def _by_id(self, own_only: bool) -> bytes:
        rows = self._owned(own_only)
        self.is_record(rows, "")
        return self.one(rows)

    def _listed(
        self, sort: Column, order: Order, limit: int, items: bytes, own_only: bool, skip: bool
    ) -> bytes:
        ordered = self.order(sort, order)
        texts = self.texts(self._owned(own_only), ordered, limit, int(skip), items)
        return self.page(texts, sort, limit, None)

    def _owned(self, own_only: bool) -> Conditions:
        """Begin conditions for the text of a statement; their values are not used."""
        rows = self.conditions()
        if own_only:
            self.is_owned(rows, None)
        return rows

    def _array(
        self, source: bytes, fits: bytes, part: bytes, sort: Column, cursor: Conditions | None
    ) -> bytes:
        head, found = b"", b""
        if cursor is not None:
            head = b"with cursor as materialized (select %b as value, %b as id from %b as t%b) " % (
                sort.sql,
                self.columns.id.sql,
                self.name,
                cursor.clause(),
            )
            found = b" having exists (select from cursor)"
        return (
            b"%bselect case when count(*) = 0 then '[]' when %b"
            b" then '[' || string_agg(json, E',\\n') filter (where %b) || ']' else '\"\"' end"
            b" from (%b) a%b" % (head, fits, part, source, found)
        )

    def _select(self, rows: Conditions, items: bytes | None = None) -> bytes:
        return b"select %b from %b as t%b" % (items or self._all, self.name, rows.clause())

    def exists(self, rows: Conditions) -> bytes:
        """Return `t` where there is a record."""
        return b"select exists (select from %b as t%b)" % (self.name, rows.clause())

    def ranked(self, rank: bytes) -> bytes:
        """Order by a rank, the newest of equal ones first."""
        created, key = self.columns.find("created_at"), self.columns.id
        return b" order by %b desc, %b desc, %b desc" % (rank, created.sql, key.sql)

    def order(self, sort: Column, order: Order) -> bytes:
        """Leave nulls where PostgreSQL sorts them by default: an index serves only that."""
        way = order.encode()
        key = self.columns.id
        if sort is key:
            return b" order by %b %b" % (key.sql, way)
        return b" order by %b %b, %b %b" % (sort.sql, way, key.sql, way)

    def _insert(self, names: tuple[str, ...]) -> bytes:
        # Rows are selected from `settings`, so that these are set before the first trigger runs.
        columns = self._named(names)
        source = (
            b"settings, jsonb_to_record($2::jsonb) as x(%b)" % _definitions(columns)
            if columns
            else b"settings where $2::jsonb is not null"
        )
        items = b"%b, %b as _v" % (self._all, VERSION)
        return b"%b %b" % (self._inserting(columns, source, items), _MADE)

    def _insert_quietly(self, names: tuple[str, ...]) -> bytes:
        inserting = self._inserting(self._named(names), self._rows(names), b"1")
        return b"%b select count(*) from _made" % inserting

    def _insert_many(self, names: tuple[str, ...], versioned: bool) -> bytes:
        items = b"%b, %b as _v" % (self._all, VERSION) if versioned else self._all
        inserting = self._inserting(self._named(names), self._rows(names), items)
        return b"%b %b" % (inserting, _ALL_MADE)

    def _rows(self, names: tuple[str, ...]) -> bytes:
        """Return the rows of a JSON array in its order."""
        columns = self._named(names)
        if not columns:
            return b"settings, jsonb_array_elements($2::jsonb)"
        return (
            b"settings, rows from (jsonb_to_recordset($2::jsonb) as (%b))"
            b" with ordinality as x(%b) order by x._ordinality"
            % (_definitions(columns), b", ".join([*_bare(columns), b"_ordinality"]))
        )

    def _inserting(self, columns: Sequence[Column], source: bytes, items: bytes) -> bytes:
        owner = quoted(OWNER_COLUMN)
        return (
            SETTINGS
            + b", _made as (insert into %b as t (%b) select %b from %b returning %b)"
            % (
                self.name,
                b", ".join([*_bare(columns), owner]),
                b", ".join([*(b"x." + name for name in _bare(columns)), b"$3::uuid"]),
                source,
                items,
            )
        )

    def _update(self, names: tuple[str, ...]) -> bytes:
        columns = self._named(names)
        changes = b", ".join(b"%b = x.%b" % (column.bare, column.bare) for column in columns)
        return SETTINGS + (
            b", _made as (update %b as t set %b from settings, jsonb_to_record($2::jsonb) as x(%b)"
            % (self.name, changes, _definitions(columns))
        )

    def _named(self, names: Iterable[str]) -> list[Column]:
        return [self.columns.find(name) for name in names]


def _limited(source: bytes, otherwise: bytes = b"'%b'" % TOO_LARGE) -> bytes:
    """Return rows as JSON, and `otherwise` for one that is too large.

    `pg_column_size` of a value in memory costs nothing.
    """
    return (
        b"select case when pg_column_size(json) <= %d then json else %b end"
        b" from (select row_to_json(_r) as json from %b _r offset 0) _w"
        % (MAX_RECORD_BYTES, otherwise, source)
    )


# A failing cast rolls the statement back, with our text in PostgreSQL's message. It depends on the
# row, as a constant would fail while the statement is planned.
_FAILING: Final = b"('%b' || left(json::text, 0))::int::text" % SIZE_ERROR.encode()
_MADE: Final = _limited(b"_made", _FAILING + b"::json")
_ALL_MADE: Final = (
    b"select '[' || string_agg(case when upto <= %d then json else %b end, E',\\n') || ']'"
    b" from (select json, sum(octet_length(json)) over (rows unbounded preceding) as upto"
    b" from (select row_to_json(_r)::text as json from _made _r offset 0) _j) _w"
    % (MAX_RECORD_BYTES, _FAILING)
)


_HOW_MANY: Final = b"select json_build_array((select n from _n), (select count(*) from _made))"


def _definitions(columns: Iterable[Column]) -> bytes:
    return b", ".join(b"%b %b" % (column.bare, column.cast) for column in columns)


def _bare(columns: Iterable[Column]) -> list[bytes]:
    return [column.bare for column in columns]


def keep(cache: dict[K, V], key: K, value: V, size: int) -> V:
    """Add a value to a cache; when it has `size` values, the oldest one makes room."""
    cache.pop(key, None)
    if len(cache) >= size:
        del cache[next(iter(cache))]
    cache[key] = value
    return value
