"""Which records have the keys of rows, and what a row would change of its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from kernel.public import BadRequest, Transaction
from plugins.data.execution.violations import already_taken
from plugins.data.statements.locking import find_by_keys_statement, lock_to_change
from plugins.data.values.encoding import encode
from plugins.data.values.rows import Row, check_needed

from .plan import UpsertPlan


class MetRecord(msgspec.Struct, frozen=True):
    """A record that has the key of a row, by the row's place from 0.

    `same` are fields whose values it has already.
    """

    place: int
    record_id: str
    in_scope: bool
    same: Sequence[str] = ()


_decode_met = msgspec.json.Decoder(tuple[int, str, bool, tuple[str, ...]]).decode


async def find_met_records(
    tx: Transaction, plan: UpsertPlan, rows: Sequence[Row], *, locked: bool
) -> Mapping[int, MetRecord]:
    """Find the records that have the keys of rows, by the places of the rows.

    `locked` locks those that will change.
    """
    compared_fields = _list_compared_fields(plan, rows)
    keys = _list_keys(plan, rows, (*plan.on, *compared_fields))
    if not keys:
        return {}
    table = plan.scope.table.full
    conditions = plan.scope.table.conditions(encode(keys))
    conditions.related = plan.scope.related
    limits = plan.scope.write_conditions(conditions, b"t")
    lock = b""
    if locked and plan.then == "update":
        changed_fields = {name for row in rows for name in row} - {*plan.on}
        lock = lock_to_change(table, changed_fields)
    query = find_by_keys_statement(table, plan.on, limits, lock, compared_fields)
    raw_records = await tx.execute_all(query, *conditions.params)
    met_records = [MetRecord(*_decode_met(raw)) for raw in raw_records]
    return {met.place: met for met in met_records}


def _list_compared_fields(plan: UpsertPlan, rows: Sequence[Row]) -> list[str]:
    """Return the fields whose values are compared with those of the record: those of an import."""
    if not plan.is_import:
        return []
    names = dict.fromkeys(chain.from_iterable(rows))
    return [name for name in names if name not in (*plan.on, "id")]


def _list_keys(plan: UpsertPlan, rows: Sequence[Row], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the places of rows that have a key, with their values of some fields."""
    return [
        {"_place": place, **{name: row[name] for name in names if name in row}}
        for place, row in enumerate(rows)
        if plan.key_of(row) is not None
    ]


def list_changes(plan: UpsertPlan, row: Row, met: MetRecord) -> Row:
    """Return the values of a row that the record it meets does not have."""
    left_out = {*plan.on, *met.same}
    if plan.is_import:
        left_out.add("id")
    return {name: value for name, value in row.items() if name not in left_out}


def find_problems(
    plan: UpsertPlan, rows: Sequence[Row], met_records: Mapping[int, MetRecord]
) -> Mapping[int, BadRequest]:
    """Return what is wrong with rows by their places, as far as one can know beforehand."""
    problems: dict[int, BadRequest] = {}
    for place, row in enumerate(rows):
        problem = _find_problem(plan, row, met_records.get(place))
        if problem is not None:
            problems[place] = problem
    return problems


def _find_problem(plan: UpsertPlan, row: Row, met: MetRecord | None) -> BadRequest | None:
    table = plan.scope.table
    has_known_id = plan.on == ("id",) and not plan.creates_ids and row.get("id") is not None
    if has_known_id and (met is None or not met.in_scope):
        name = table.entity.name
        return BadRequest(f"{name}.id: no such {name} record")
    if met is None:
        try:
            check_needed(table.full.columns, row)
        except BadRequest as error:
            return BadRequest(error.message)
        return None
    if plan.then == "fail" or not met.in_scope:
        return already_taken(table.shown, plan.on)
    return None
