"""Creates records by one statement, in the order in which all writes lock unique values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from kernel.public import (
    Actor,
    ConstraintViolation,
    FormerRecord,
    Param,
    Tagged,
    Transaction,
    Writer,
)
from plugins.data.filters.conditions import Conditions
from plugins.data.rendering import id_of
from plugins.data.rights.row_scope import LinkLimits
from plugins.data.statements.column_lists import ValueWriter
from plugins.data.statements.entity_table import Table
from plugins.data.statements.write_statements import NO_SETTINGS
from plugins.data.values.arrays import new_ids, rows_to_arrays
from plugins.data.values.encoding import encode
from plugins.data.values.rows import Row
from plugins.data.values.threads import run_in_thread_if_large

T = TypeVar("T")
_NEW_IDS: Final = b"$3"
"""The parameter that has the array of new ids: the first one of the values."""


class Insert(msgspec.Struct, frozen=True):
    """Records to create in a table that has every field.

    `unless` names the fields of a unique index: a row is left out if a record has its values.
    `numbers` are the places that the sender knows the rows by, if those differ. `links` are the
    limits of what the sender may link to. In a restore `former` are the records that the rows were;
    they have one owner.
    """

    table: Table
    rows: Sequence[Row]
    unless: tuple[str, ...] = ()
    numbers: Sequence[int] = ()
    links: LinkLimits | None = None
    former: Sequence[FormerRecord] = ()

    def find_owner(self, actor: Actor) -> str | None:
        """Return the owner of the records that an actor creates by it."""
        return self.former[0].owner if self.former else actor.user_id

    def complete(self) -> Insert:
        """Return it with what the server set in the former records."""
        if not self.former:
            return self
        rows: list[Row] = []
        for row, record in zip(self.rows, self.former, strict=True):
            times = {"created_at": record.created_at, "updated_at": record.updated_at}
            rows.append({**row, "id": record.id, **times})
        return msgspec.structs.replace(self, rows=rows)

    def number(self, place: int) -> int:
        """Return the place that the sender knows a row by."""
        return self.numbers[place] if self.numbers else place


class NotInserted(ConstraintViolation):
    """A rule that one of several rows breaks; PostgreSQL does not say which of them it is."""

    def __init__(self, violation: ConstraintViolation, insert: Insert) -> None:
        super().__init__(
            violation.message,
            sqlstate=violation.sqlstate,
            table=violation.table,
            column=violation.column,
            constraint=violation.constraint,
        )
        self.insert = insert


class Inserted(msgspec.Struct, frozen=True):
    """What PostgreSQL returned, and the places of its records among the rows, if not in order."""

    raw: bytes
    places: Sequence[int] | None

    def sort(self, records: Sequence[T]) -> Sequence[T]:
        """Return records in the order of the rows."""
        if self.places is None:
            return records
        by_place = dict(zip(self.places, records, strict=True))
        return [by_place[place] for place in range(len(by_place))]


async def insert_rows(
    writer: Writer, settings: bytes, insert: Insert, actor: Actor, *, versioned: bool = False
) -> Inserted:
    """Create records by `WriteStatements.insert_many_statement`. Raises NotInserted."""
    table = insert.table
    columns = table.columns
    prepare = run_in_thread_if_large(columns, insert.rows, _prepare, insert)
    places, names, values = await prepare
    conditions = table.conditions(settings, insert.find_owner(actor), *values)
    statement = table.writes.insert_many_statement(
        names,
        sum(map(len, values)),
        len(insert.rows),
        versioned=versioned,
        unless=insert.unless,
        write_value=_choose_writer(insert, conditions),
    )
    try:
        raw = await writer.execute(statement, *conditions.params)
    except ConstraintViolation as violation:
        raise NotInserted(violation, insert) from violation
    return Inserted(raw or b"[]", places)


async def insert_quietly(tx: Transaction, insert: Insert) -> None:
    """Create records like `insert_rows`, and return nothing of them."""
    table = insert.table
    columns = table.columns
    prepare = run_in_thread_if_large(columns, insert.rows, _prepare, insert)
    _, names, values = await prepare
    conditions = table.conditions(NO_SETTINGS, tx.actor.user_id, *values)
    statement = table.writes.insert_quietly_statement(names, _choose_writer(insert, conditions))
    try:
        await tx.execute(statement, *conditions.params)
    except ConstraintViolation as violation:
        raise NotInserted(violation, insert) from violation


def _choose_writer(insert: Insert, conditions: Conditions) -> ValueWriter | None:
    """Return how values are written, if links are limited."""
    if insert.links is None:
        return None
    return insert.links.writer(conditions, b"%b::%b[]" % (_NEW_IDS, insert.table.columns.id.cast))


def insert_one(
    insert: Insert, names: tuple[str, ...], params: list[Param]
) -> tuple[bytes, list[Param]]:
    """Return the statement that creates one of the records, and its parameters.

    The id is the first of `names`, and the second parameter. The record may link to itself and to
    the others.
    """
    table = insert.table
    if insert.links is None:
        return table.writes.insert_statement(names), params
    conditions = table.conditions(*params)
    cast = table.columns.id.cast
    ids = b"array[$2::%b]" % cast
    if insert.links.leads_back:
        chosen_ids = [row["id"] for row in insert.rows if "id" in row]
        ids += b" || " + conditions.bind(chosen_ids, cast + b"[]")
    write_value = insert.links.writer(conditions, ids)
    return table.writes.insert_statement(names, write_value), conditions.params


async def insert_tagged(tx: Transaction, insert: Insert) -> Mapping[int, Tagged]:
    """Create records, and return them by the places of their rows. Raises NotInserted."""
    insert = insert.complete()
    if insert.unless:
        insert = msgspec.structs.replace(insert, rows=_add_ids(insert.rows))
    inserted = await insert_rows(tx, NO_SETTINGS, insert, tx.actor, versioned=True)
    records = insert.table.rendering.split_tagged(inserted.raw)
    if not insert.unless:
        return dict(enumerate(inserted.sort(records)))
    by_id = {id_of(record.record): record for record in records}
    ids = [row["id"] for row in insert.rows]
    return {place: by_id[id_] for place, id_ in enumerate(ids) if id_ in by_id}


def _prepare(insert: Insert) -> tuple[Sequence[int] | None, tuple[str, ...], list[bytes]]:
    places = lock_order(insert.table, insert.rows)
    names, values = rows_to_arrays(insert.table.columns, insert.rows, places)
    return places, names, values


def lock_order(table: Table, rows: Sequence[Row]) -> Sequence[int] | None:
    """Return the places of rows in the order of their unique values, None if that is their own.

    A statement that creates a record waits for another one that is creating one with the same
    value. In one order everywhere, two statements never wait for each other.
    """
    names = table.writes.ordering_fields
    if not names or len(rows) == 1:
        return None
    keys = [encode([row.get(name) for name in names]) for row in rows]
    own_order = list(range(len(rows)))
    locked_order = sorted(own_order, key=keys.__getitem__)
    return None if locked_order == own_order else locked_order


def _add_ids(rows: Sequence[Row]) -> list[Row]:
    rows_with_ids: list[Row] = []
    for new_id, row in zip(new_ids(len(rows)), rows, strict=True):
        rows_with_ids.append(row if "id" in row else {"id": new_id, **row})
    return rows_with_ids
