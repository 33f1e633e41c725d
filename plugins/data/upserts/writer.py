"""Creates the records of rows, or changes those that have their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kernel.public import Tagged, Transaction
from plugins.data.errors import KeysTaken
from plugins.data.execution.changes import RecordChange
from plugins.data.execution.inserts import Insert
from plugins.data.execution.statement_or_transaction import WriteExecution
from plugins.data.execution.violations import already_taken
from plugins.data.rendering import check_readable, id_of
from plugins.data.values.rows import Row
from plugins.data.writes.refusals import RowsRefused

from .meetings import MetRecord, find_met_records, find_problems, list_changes
from .outcomes import Applied, Judged, Outcome
from .plan import UpsertPlan


class UpsertWriter:
    """Carries out the rows of a plan within a transaction."""

    def __init__(self, execution: WriteExecution) -> None:
        self._execution = execution

    async def apply(
        self, tx: Transaction, plan: UpsertPlan, rows: Sequence[Row], *, numbers: bool = True
    ) -> Applied:
        """Create and change records.

        No two rows have one key. Where rows have `numbers`, errors name them. Raises KeysTaken.
        """
        met_records = await find_met_records(tx, plan, rows, locked=True)
        problems = find_problems(plan, rows, met_records)
        if problems:
            raise RowsRefused(problems, numbers=numbers)
        new_places = [place for place in range(len(rows)) if place not in met_records]
        created = await self._create_records(tx, plan, rows, new_places, numbers=numbers)
        changed = await self._change_records(tx, plan, rows, met_records)
        return Applied(created, met_records, changed)

    async def judge(self, tx: Transaction, plan: UpsertPlan, rows: Sequence[Row]) -> Judged:
        """Say what rows would do; nothing is locked or written.

        What PostgreSQL refuses is no part of it: a value that is taken, a link that leads nowhere.
        """
        met_records = await find_met_records(tx, plan, rows, locked=False)
        problems = find_problems(plan, rows, met_records)
        changes = {
            place: list_changes(plan, rows[place], met)
            for place, met in met_records.items()
            if place not in problems
        }
        return Judged(problems, changes)

    async def write(
        self, tx: Transaction, plan: UpsertPlan, rows: Sequence[Row], *, numbers: bool = True
    ) -> list[Outcome]:
        """Create, change or leave records, and return what became of the rows in order.

        See `apply`.
        """
        applied = await self.apply(tx, plan, rows, numbers=numbers)
        unchanged = await _read_records(tx, plan, applied.unchanged)
        result_of_unchanged = "ignored" if plan.then == "ignore" else "updated"
        outcomes = dict(applied.created)
        for place in applied.met:
            record = applied.changed.get(place)
            if record is not None:
                outcomes[place] = Outcome("updated", record, tuple(rows[place]))
            else:
                record = unchanged[place]
                outcomes[place] = Outcome(result_of_unchanged, record, plan.on, is_unchanged=True)
        return [outcomes[place] for place in range(len(rows))]

    async def _create_records(
        self,
        tx: Transaction,
        plan: UpsertPlan,
        rows: Sequence[Row],
        places: Sequence[int],
        *,
        numbers: bool,
    ) -> dict[int, Outcome]:
        """Create the records of rows that met none. Raises KeysTaken where one has appeared."""
        if not places:
            return {}
        table = plan.scope.table
        new_rows = [rows[place] for place in places]
        insert = Insert(table.full, new_rows, plan.on, places, plan.scope.links)
        records = await self._execution.create_missing_within(tx, insert)
        outcomes: dict[int, Outcome] = {}
        for index, place in enumerate(places):
            record = records.get(index)
            if record is not None:
                outcomes[place] = Outcome("created", record, tuple(rows[place]))
                continue
            if plan.key_of(rows[place]) is not None:
                raise KeysTaken
            # A default or PostgreSQL made its key, by which it met no record.
            problem = already_taken(table.shown, plan.on)
            raise RowsRefused({place: problem}, numbers=numbers)
        return outcomes

    async def _change_records(
        self,
        tx: Transaction,
        plan: UpsertPlan,
        rows: Sequence[Row],
        met_records: Mapping[int, MetRecord],
    ) -> dict[int, Tagged]:
        """Change the records that rows met, by one statement for those with the same fields."""
        if plan.then == "ignore":
            return {}
        changed: dict[int, Tagged | None] = {}
        for group in _group_by_fields(plan, rows, met_records):
            for part in _divide(plan, group):
                records = await self._execution.update_all(tx, plan.scope, [*part.values()])
                changed |= zip(part, records, strict=True)
        return {place: record for place, record in changed.items() if record is not None}


ChangeGroup = dict[int, RecordChange]
"""Changes by the places of their rows."""


def _group_by_fields(
    plan: UpsertPlan, rows: Sequence[Row], met_records: Mapping[int, MetRecord]
) -> list[ChangeGroup]:
    """Return the changes of rows, those of the same fields together."""
    groups: dict[tuple[str, ...], ChangeGroup] = {}
    for place, met in met_records.items():
        row = list_changes(plan, rows[place], met)
        if row:
            group = groups.setdefault(tuple(row), {})
            group[place] = RecordChange(met.record_id, row)
    return [*groups.values()]


def _divide(plan: UpsertPlan, group: ChangeGroup) -> Iterator[ChangeGroup]:
    """Yield the changes that one statement may make: all, or one where it could see another."""
    field_names = next(iter(group.values())).row.keys()
    changes_unique = not plan.scope.table.writes.unique_fields.isdisjoint(field_names)
    ids = {change.record_id for change in group.values()}
    if plan.scope.trees or changes_unique or len(ids) < len(group):
        for place, change in group.items():
            yield {place: change}
    else:
        yield group


async def _read_records(
    tx: Transaction, plan: UpsertPlan, met_records: Mapping[int, MetRecord]
) -> Mapping[int, Tagged]:
    """Read the records that rows met and did not change."""
    if not met_records:
        return {}
    table = plan.scope.table.full
    conditions = table.conditions()
    ids = [met.record_id for met in met_records.values()]
    key = table.columns.id
    conditions.parts.append(b"%b = any(%b)" % (key.sql, conditions.bind(ids, key.cast + b"[]")))
    records: dict[str | None, Tagged] = {}
    for raw in await tx.fetch_all(table.select_one(conditions), *conditions.params):
        record = table.rendering.finish_tagged(check_readable(raw, None))
        records[id_of(record.record)] = record
    if len(records) < len({*ids}):  # one was deleted meanwhile
        raise KeysTaken
    return {place: records[met.record_id] for place, met in met_records.items()}
