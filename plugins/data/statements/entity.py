"""What statements have in common: names in SQL, select lists, conditions; and single records.

Names are composed by `psycopg.sql` from the stored manifest once, when the entity is first used.
Statements are built from those names and cached by their shape. Values are always parameters; a
limit is part of the text, so that PostgreSQL caches a plan for it. The alias of a whole row is a
name that no field can have (`_r`): a column of that name would take precedence.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final, Literal, Self, TypeVar

import msgspec

from kernel.public import OWNER_COLUMN, BadRequest, Entity, Param, is_uuid, show_value
from plugins.data.columns import Column, Columns, Link, quoted
from plugins.data.filters import Conditions
from plugins.data.models import LastSeen
from plugins.data.rendering import MAX_RECORD_BYTES, TOO_LARGE, Rendering

OWNER: Final = quoted(OWNER_COLUMN)
USERS: Final = "core:users"
"""What a link to an account refers to."""

VERSION: Final = b"encode(xidsend(t.xmin) || timestamptz_send(t.updated_at), 'hex')"
"""The version of a row, as text without quotes. `xmin` alone can repeat after a restore. Their
bytes take less time than both as printed numbers."""

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

Order = Literal["asc", "desc"]
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Selection(msgspec.Struct, frozen=True):
    """What a statement shows of each record: a select list, and what finishes its JSON.

    `columns` are what it is made of, but for linked records. Those come from `links`, which follow
    the table in the statement.
    """

    items: bytes
    rendering: Rendering
    columns: Sequence[Column] = ()
    links: bytes = b""


class EntityStatements:
    """Parts of statements about one entity; the fields in `hidden` do not exist for the caller."""

    def __init__(
        self,
        entity: Entity,
        links: Mapping[str, Link] | None = None,
        hidden: frozenset[str] = frozenset(),
        *,
        full: Self | None = None,
        stamped: bool = True,
    ) -> None:
        self.entity = entity
        self.hidden = hidden
        self.full: Self = full or self
        """The same table with every field: writes return whole records, for events."""
        self.shown = entity.hide(hidden)
        self.columns = Columns(self.shown, links=links, stamped=stamped)
        self.rendering = Rendering(self.columns)
        self.name = quoted(entity.app_id, entity.name)
        self._all = b", ".join(column.sql for column in self.columns)
        self._versioned = b"%b, %b as _v" % (self._all, VERSION)
        self.unique_fields = _unique_fields(entity)
        self.ordering_fields = _ordering_fields(entity)
        self.checked_links: Mapping[str, str] = {
            field.name: field.references.entity
            for field in entity.fields
            if field.references is not None
            and field.references.entity != USERS
            and not field.unchecked
        }
        """The links whose targets their writer must be able to read, and their entities."""
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

    def one(
        self, rows: Conditions, *, selected: Selection | None = None, lock: bytes = b""
    ) -> bytes:
        """Return records with their versions, mostly one, or `TOO_LARGE` in place of one."""
        shown = self.everything if selected is None else selected
        versioned = b"%b, %b as _v" % (shown.items, VERSION)
        source = self._select(rows, versioned, shown.links)
        locked = b" " + lock if lock else b""
        return limited(b"(%b%b)" % (source, locked))

    def by_id(self, *, own_only: bool) -> bytes:
        """Return one record without scopes of hooks, and its version.

        Parameters: the owner where `own_only`, the id.
        """
        return self._cached(("one", own_only), lambda: self._by_id(own_only))

    def _by_id(self, own_only: bool) -> bytes:
        rows = self._owned(own_only)
        self.is_record(rows, "")
        return self.one(rows)

    def _owned(self, own_only: bool) -> Conditions:
        """Begin conditions for the text of a statement; their values are not used."""
        rows = self.conditions()
        if own_only:
            self.is_owned(rows, None)
        return rows

    def _select(self, rows: Conditions, items: bytes, links: bytes = b"") -> bytes:
        return b"select %b from %b as t%b%b" % (items, self.name, links, rows.clause())

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

    def _cached(self, shape: Hashable, make: Callable[[], bytes]) -> bytes:
        if (statement := self._shapes.get(shape)) is None:
            statement = keep(self._shapes, shape, make(), 256)
        return statement

    def _named(self, names: Iterable[str]) -> list[Column]:
        return [self.columns.find(name) for name in names]


def _unique_fields(entity: Entity) -> frozenset[str]:
    """Return the fields that a unique index is on, and those that generate one of them."""
    names = {name for key in entity.unique for name in key}
    sources = (field.sources for field in entity.fields if field.name in names)
    return frozenset(names.union(*sources))


def _ordering_fields(entity: Entity) -> tuple[str, ...]:
    """Return the fields of unique indexes whose values clients send, in one order."""
    keys = [key for key in entity.unique if key != ("id",) or entity.id_declared]
    generated = {field.name for field in entity.fields if field.generated is not None}
    names = dict.fromkeys(name for key in keys for name in key)
    return tuple(name for name in names if name not in generated)


def limited(source: bytes, otherwise: bytes = b"'%b'" % TOO_LARGE) -> bytes:
    """Return rows as JSON, and `otherwise` for one that is too large.

    `pg_column_size` of a value in memory costs nothing.
    """
    return (
        b"select case when pg_column_size(json) <= %d then json else %b end"
        b" from (select row_to_json(_r) as json from %b _r offset 0) _w"
        % (MAX_RECORD_BYTES, otherwise, source)
    )


def keep(cache: dict[K, V], key: K, value: V, size: int) -> V:
    """Add a value to a cache; when it has `size` values, the oldest one makes room."""
    cache.pop(key, None)
    if len(cache) >= size:
        del cache[next(iter(cache))]
    cache[key] = value
    return value
