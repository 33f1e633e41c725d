"""What statements have in common: names in SQL, select lists, conditions; and single records.

Names are composed by `psycopg.sql` from the stored manifest once, when the entity is first used.
Statements are built from those names and cached by their shape. Values are always parameters; a
limit is part of the text, so that PostgreSQL caches a plan for it. The alias of a whole row is a
name that no field can have (`_r`): a column of that name would take precedence.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final, Literal, Self

import msgspec

from kernel.public import OWNER_COLUMN, BadRequest, Entity, Param, is_uuid, show_value
from plugins.data.columns.column import Column, quoted
from plugins.data.columns.columns import Columns
from plugins.data.columns.links import Link
from plugins.data.filters.conditions import Conditions
from plugins.data.rendering import MAX_RECORD_BYTES, TOO_LARGE, Rendering
from plugins.data.sources.gathered_records import RecordStatements
from plugins.data.statements.caching import keep

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


class LastSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The position of the last record seen: its id and its value of the sorted field, as text."""

    record_id: str
    value: str | None


class LastSeenOfMany(msgspec.Struct, frozen=True, kw_only=True):
    """The same for several sorted fields, in their order."""

    record_id: str
    values: list[str | None]


class SortTerm(msgspec.Struct, frozen=True):
    """A column that records are ordered by, and the direction."""

    column: Column
    order: Order

    @property
    def sql(self) -> bytes:
        """The term of an `order by`."""
        return b"%b %b" % (self.column.sql, self.order.encode())


class Selection(msgspec.Struct, frozen=True):
    """What a statement shows of each record: a select list, and what finishes its JSON.

    `columns` are what it is made of, but for linked records. Those come from `links`, which follow
    the table in the statement.
    """

    items: bytes
    rendering: Rendering
    columns: Sequence[Column] = ()
    links: bytes = b""


class LimitedFields(msgspec.Struct, frozen=True):
    """The fields whose values depend on what their writer may read.

    `links` lead to records that it must be able to read: their entities by the names of the fields.
    `files` are the fields of managed files.
    """

    links: Mapping[str, str]
    files: frozenset[str]
    names: frozenset[str]

    @classmethod
    def find(cls, entity: Entity, *, has_files: bool) -> LimitedFields:
        """Find these fields; without managed files an id of one is a value like others."""
        links = {
            field.name: field.references.entity
            for field in entity.fields
            if field.references is not None
            and field.references.entity != USERS
            and not field.unchecked
        }
        files = frozenset[str]()
        if has_files:
            files = frozenset(field.name for field in entity.fields if field.file is not None)
        return cls(links, files, files.union(links))


class StatementCache(msgspec.Struct):
    """What is made once for each shape of a request: statements, and what they show.

    `by_id` reads records by their ids: every record, or only those of an owner. `expanded` are
    selections with linked records that need no parameters.
    """

    statements: dict[Hashable, bytes]
    by_id: dict[bool, RecordStatements]
    selections: dict[Hashable, Selection]
    expanded: dict[Hashable, Selection]


class EntityStatements:
    """Parts of statements about one entity; the fields in `hidden` do not exist for the caller."""

    def __init__(
        self,
        entity: Entity,
        links: Mapping[str, Link] | None = None,
        hidden: frozenset[str] = frozenset(),
        *,
        full: Self | None = None,
        has_times: bool = True,
        files: bytes | None = None,
    ) -> None:
        self.entity = entity
        self.hidden = hidden
        self.full: Self = full or self
        """The same table with every field: writes return whole records, for events."""
        self.shown = entity.hide(hidden)
        self.columns = Columns(self.shown, links=links, has_times=has_times, files=files)
        self.rendering = Rendering(self.columns)
        self.name = quoted(entity.app_id, entity.name)
        self.limited = LimitedFields.find(entity, has_files=files is not None)
        items = b", ".join(column.item for column in self.columns)
        self.everything = Selection(items, self.rendering, tuple(self.columns))
        self.cache = StatementCache({}, {}, {}, {})

    def select_fields(self, fields: Sequence[str] | None, *, etag: bool = False) -> Selection:
        """Select `id` and some fields, or all of them. Raises BadRequest for an unknown one."""
        shape = (None if fields is None else tuple(fields), etag)
        selection = self.cache.selections.get(shape)
        if selection is not None:
            return selection
        columns = self.columns.select_columns(fields)
        if etag:
            columns.append(ETAG)
        items = b", ".join(
            b"%b as %b" % (column.shown or column.sql, column.bare) for column in columns
        )
        selection = Selection(items, Rendering(columns), columns)
        return keep(self.cache.selections, shape, selection, 256)

    def check_id(self, record_id: str) -> None:
        """Raise BadRequest where no record can have this id."""
        if self.entity.id_type == "uuid" and not is_uuid(record_id):
            shown_id = show_value(record_id)
            raise BadRequest(f"{self.entity.name}.id: a UUID is wanted, not {shown_id}")
        if "\0" in record_id:
            raise BadRequest("text must not contain the character U+0000")

    def conditions(self, *params: Param) -> Conditions:
        """Begin the conditions of a statement whose first parameters are `params`."""
        return Conditions(self.columns, params)

    def require_record(self, conditions: Conditions, record_id: str) -> None:
        """Require one record."""
        conditions.require_equal(self.columns.id.sql, record_id, self.columns.id.cast)

    def require_owner(self, conditions: Conditions, user_id: str | None) -> None:
        """Require records that a user created."""
        conditions.require_equal(b"t." + OWNER, user_id, b"uuid")

    def require_after(
        self, conditions: Conditions, sort: Column, order: Order, last: LastSeen
    ) -> None:
        """Require records after the last one seen; a null is greater than every value."""
        key = self.columns.id
        operator = _operator_after(order)
        record_id = conditions.bind(last.record_id, key.cast)
        has_later_id = b"%b %b %b" % (key.sql, operator, record_id)
        if sort is key:
            conditions.parts.append(has_later_id)
        elif last.value is None and order == "asc":
            conditions.parts.append(b"(%b is null and %b)" % (sort.sql, has_later_id))
        elif last.value is None:
            conditions.parts.append(b"(%b is not null or %b)" % (sort.sql, has_later_id))
        else:
            value = conditions.bind(last.value, sort.cast)
            parts = (sort.sql, key.sql, operator, value, record_id)
            is_later = b"(%b, %b) %b (%b, %b)" % parts
            if order == "asc" and sort.nullable:
                is_later = b"(%b or %b is null)" % (is_later, sort.sql)
            conditions.parts.append(is_later)

    def require_after_cursor(self, conditions: Conditions, sort: Column, order: Order) -> None:
        """Require records after the `cursor` of the same statement, which looks it up.

        Not for a field that can be null: no index serves a condition that fits both cases.
        """
        operator = _operator_after(order)
        if sort is self.columns.id:
            conditions.parts.append(b"%b %b (select id from cursor)" % (sort.sql, operator))
        else:
            parts = (sort.sql, self.columns.id.sql, operator)
            conditions.parts.append(b"(%b, %b) %b (select value, id from cursor)" % parts)

    def require_after_terms(
        self, conditions: Conditions, terms: Sequence[SortTerm], last: LastSeenOfMany
    ) -> None:
        """Require records after the last one seen, in an order of several fields and the id.

        A record is later if it is by one of the fields, and equal by all of those before.
        """
        key = self.columns.id
        record_id = conditions.bind(last.record_id, key.cast)
        equal: list[bytes] = []
        later: list[bytes] = []
        for term, value in zip(terms, last.values, strict=True):
            column = term.column.sql
            if value is None:
                is_equal = b"%b is null" % column
                is_later = b"false" if term.order == "asc" else b"%b is not null" % column
            else:
                bound = conditions.bind(value, term.column.cast)
                is_equal = b"%b = %b" % (column, bound)
                is_later = b"%b %b %b" % (column, _operator_after(term.order), bound)
                if term.order == "asc" and term.column.nullable:
                    is_later = b"(%b or %b is null)" % (is_later, column)
            later.append(b" and ".join([*equal, is_later]))
            equal.append(is_equal)
        operator = _operator_after(terms[0].order)
        later.append(b" and ".join([*equal, b"%b %b %b" % (key.sql, operator, record_id)]))
        conditions.parts.append(b"(%b)" % b" or ".join(b"(%b)" % part for part in later))

    def select_one(
        self, conditions: Conditions, *, selection: Selection | None = None, lock: bytes = b""
    ) -> bytes:
        """Return the SQL of records, mostly one, with versions; `TOO_LARGE` in place of one."""
        if selection is None:
            selection = self.everything
        versioned = b"%b, %b as _v" % (selection.items, VERSION)
        source = self.select_from(conditions, versioned, selection.links)
        if lock:
            source += b" " + lock
        return limit_size(b"(%b)" % source)

    def select_by_id(self, *, own_only: bool) -> RecordStatements:
        """Return how records are read by their ids, without scopes of hooks, with versions."""
        statements = self.cache.by_id.get(own_only)
        if statements is None:
            statements = RecordStatements(
                self._select_one_by_id(own_only), self._select_by_ids(own_only)
            )
            self.cache.by_id[own_only] = statements
        return statements

    def _select_one_by_id(self, own_only: bool) -> bytes:
        conditions = self.begin_conditions_without_values(own_only)
        self.require_record(conditions, "")
        return self.select_one(conditions)

    def _select_by_ids(self, own_only: bool) -> bytes:
        conditions = self.begin_conditions_without_values(own_only)
        ids = conditions.bind(None, self.columns.id.cast + b"[]")
        conditions.parts.append(b"%b = _i.id" % self.columns.id.sql)
        return b"select (%b) from unnest(%b) _i(id)" % (self.select_one(conditions), ids)

    def begin_conditions_without_values(self, own_only: bool) -> Conditions:
        """Begin conditions for the text of a statement; their values are not used."""
        conditions = self.conditions()
        if own_only:
            self.require_owner(conditions, None)
        return conditions

    def select_from(self, conditions: Conditions, items: bytes, links: bytes = b"") -> bytes:
        """Return the SQL of some items of the records that meet conditions."""
        return b"select %b from %b as t%b%b" % (items, self.name, links, conditions.where_clause())

    def order_by_rank(self, rank: bytes) -> bytes:
        """Order by a rank, the newest of equal ones first."""
        created_at = self.columns.find("created_at").sql
        return b" order by %b desc, %b desc, %b desc" % (rank, created_at, self.columns.id.sql)

    def order_by(self, sort: Column, order: Order) -> bytes:
        """Leave nulls where PostgreSQL sorts them by default: an index serves only that."""
        direction = order.encode()
        key = self.columns.id
        if sort is key:
            return b" order by %b %b" % (key.sql, direction)
        return b" order by %b %b, %b %b" % (sort.sql, direction, key.sql, direction)

    def order_by_terms(self, terms: Sequence[SortTerm]) -> bytes:
        """Order by several fields; ties by the id, in the direction of the first."""
        last = SortTerm(self.columns.id, terms[0].order)
        return b" order by " + b", ".join(term.sql for term in (*terms, last))

    def find_or_make(self, shape: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return the statement of a shape, which is made once."""
        statement = self.cache.statements.get(shape)
        if statement is None:
            statement = keep(self.cache.statements, shape, make(), 256)
        return statement

    def find_columns(self, names: Iterable[str]) -> list[Column]:
        """Return the columns of fields. Raises BadRequest for an unknown one."""
        return [self.columns.find(name) for name in names]


def _operator_after(order: Order) -> bytes:
    return b">" if order == "asc" else b"<"


def find_unique_fields(entity: Entity) -> frozenset[str]:
    """Return the fields that a unique index is on, and those that generate one of them."""
    names = {name for key in entity.unique for name in key}
    sources = (field.sources for field in entity.fields if field.name in names)
    return frozenset(names.union(*sources))


def find_ordering_fields(entity: Entity) -> tuple[str, ...]:
    """Return the fields of unique indexes whose values clients send, in one order."""
    keys = [key for key in entity.unique if key != ("id",) or entity.id_declared]
    generated = {field.name for field in entity.fields if field.generated is not None}
    names = dict.fromkeys(name for key in keys for name in key)
    return tuple(name for name in names if name not in generated)


def limit_size(source: bytes, otherwise: bytes = b"'%b'" % TOO_LARGE) -> bytes:
    """Return rows as JSON, and `otherwise` for one that is too large.

    `pg_column_size` of a value in memory costs nothing.
    """
    return (
        b"select case when pg_column_size(json) <= %d then json else %b end"
        b" from (select row_to_json(_r) as json from %b _r offset 0) _w"
        % (MAX_RECORD_BYTES, otherwise, source)
    )
