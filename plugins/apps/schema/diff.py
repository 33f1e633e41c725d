"""Computes the steps from a schema as it is to the tables of a manifest, without the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from plugins.apps.manifest.types import type_name

from . import checks, ddl
from .current import CurrentColumn, CurrentTable, Schema
from .derivations import derive_again, drop_vectors, freeze, is_derived, mark_step, unmark_step
from .rules import lift_all, rule_steps, rules_of_new
from .steps import Phase, Plan, Step, change
from .tables import PLAIN, Column, Table


def diff(tables: Mapping[str, Table], schema: Schema, app_id: str) -> Plan:
    """Return the steps to do; none where the schema matches the manifest."""
    plan = Plan([], [], first=not schema.installed)
    if schema.exists and not schema.installed:
        plan.refusals.append(
            f"appId: the database has a schema {app_id!r} already, which is no app's"
        )
        return plan

    if not schema.exists:
        created = change("", "create_schema", detail=app_id)
        plan.steps.append(Step(Phase.BUILD, "", created, statement=ddl.create_schema(app_id)))

    for table in tables.values():
        current = schema.tables.get(table.name)
        if current is None:
            plan.steps.extend(_create(table))
        elif table.name not in schema.entities or current.kind != "r":
            kind = _KINDS.get(current.kind, "relation")
            plan.refusals.append(
                f"{table.name}: the schema has a {kind} of that name that no install made"
            )
        else:
            plan.refusals.extend(_refusals(table, current))
            plan.steps.extend(_change(table, current, schema))

    for name in schema.entities:
        current = schema.tables.get(name)
        if name not in tables and current is not None:
            plan.steps.extend(_retire(app_id, name, current, schema))
    return plan


_KINDS = {"v": "view", "m": "materialized view", "r": "table", "p": "partitioned table"}


def _create(table: Table) -> Iterator[Step]:
    fields = [name for name in table.columns if name not in PLAIN and not name.startswith("_")]
    created = change(table.name, "create_table", detail=f"{len(fields)} fields")
    yield Step(Phase.BUILD, table.name, created, statement=ddl.create_table(table))
    for column in table.columns.values():
        yield from mark_step(table, column)
    yield from rules_of_new(table)
    yield Step(Phase.RULES, table.name, statement=ddl.create_trigger(table))


def _refusals(table: Table, current: CurrentTable) -> Iterator[str]:
    for column in table.columns.values():
        present = current.column(column.name)
        if present is not None and present.generated and not is_derived(present):
            yield f"{table.name}.{column.name}: the column is a generated one, made by hand"


def _change(table: Table, current: CurrentTable, schema: Schema) -> Iterator[Step]:
    if schema.entities[table.name]:
        yield Step(Phase.RULES, table.name, change(table.name, "restore_entity"))

    ledger = schema.columns.get(table.name, {})
    converted = _find_converted(table, current)
    derived_again: set[str] = set()
    for column in table.columns.values():
        present = current.column(column.name)
        if column.derived is not None:
            if ledger.get(column.name):
                restored = change(table.name, "restore_column", column.name)
                yield Step(Phase.RULES, table.name, restored)
            derivation = list(derive_again(table, column, present, bool(converted)))
            if derivation:
                derived_again.add(column.name)
            yield from derivation
        elif present is None:
            yield _add_column(table, column)
        else:
            yield from _change_column(table, column, present, ledger)

    for name, is_retired in ledger.items():
        present = current.column(name)
        if name in table.columns or present is None:
            continue
        if not is_retired:
            yield Step(Phase.LIFT, table.name, change(table.name, "retire_column", name))
        for step in _lift_column(table.name, present):
            yield step.silence(not is_retired)

    yield from drop_vectors(table, current)
    yield from rule_steps(table, current, converted | derived_again)
    if ddl.TRIGGER not in current.triggers:
        created = change(table.name, "create_trigger", "updated_at")
        yield Step(Phase.RULES, table.name, created, statement=ddl.create_trigger(table))


def _find_converted(table: Table, current: CurrentTable) -> set[str]:
    """Return the ordinary columns whose type changes."""
    names: set[str] = set()
    for column in table.columns.values():
        present = current.column(column.name)
        if column.derived is None and present is not None and present.sql_type != column.type:
            names.add(column.name)
    return names


def _add_column(table: Table, column: Column) -> Step:
    is_unfilled = column.not_null and column.default is None and not column.generator
    check = None
    if is_unfilled:
        check = checks.is_empty(table, column)
    added = change(table.name, "add_column", column.name, type_name(column.type))
    return Step(Phase.BUILD, table.name, added, clause=ddl.add_column(column), check=check)


def _change_column(
    table: Table, column: Column, present: CurrentColumn, ledger: Mapping[str, bool]
) -> Iterator[Step]:
    """Make an ordinary column that exists as it is declared."""
    yield from unmark_step(table, present)
    if present.generated:
        yield freeze(table.name, present)
        present = msgspec.structs.replace(present, default=None, generated=False)

    if column.name not in PLAIN and ledger.get(column.name, True):
        kind = "adopt_column"
        if column.name in ledger:
            kind = "restore_column"
        yield Step(Phase.RULES, table.name, change(table.name, kind, column.name))

    if present.sql_type != column.type:
        yield from _convert(table, column, present)
        present = msgspec.structs.replace(present, default=None)
    yield from _compare_default(table, column, present)
    yield from _compare_not_null(table, column, present)


def _convert(table: Table, column: Column, present: CurrentColumn) -> Iterator[Step]:
    if present.default is not None:
        # The old default may be invalid in the new type; the declared one is set afterwards.
        yield Step(Phase.LIFT, table.name, clause=ddl.drop_default(column.name))

    source = present.sql_type
    detail = f"{type_name(source)} to {type_name(column.type)}"
    yield Step(
        Phase.CONVERT,
        table.name,
        change(table.name, "alter_type", column.name, detail),
        clause=ddl.change_type(column, source),
        check=checks.converts(table, column, source),
    )
    if column.name == "id":
        yield Step(Phase.CONVERT, table.name, check=checks.stays_unique(table, column, source))


def _compare_default(table: Table, column: Column, present: CurrentColumn) -> Iterator[Step]:
    if column.expression == present.default:
        return
    if column.expression is None:
        dropped = change(table.name, "drop_default", column.name, present.default or "")
        yield Step(Phase.LIFT, table.name, dropped, clause=ddl.drop_default(column.name))
    else:
        changed = change(table.name, "set_default", column.name, column.expression)
        yield Step(Phase.RULES, table.name, changed, clause=ddl.set_default(column))


def _compare_not_null(table: Table, column: Column, present: CurrentColumn) -> Iterator[Step]:
    if column.not_null and not present.not_null:
        yield Step(
            Phase.RULES,
            table.name,
            change(table.name, "set_not_null", column.name),
            clause=ddl.set_not_null(column.name),
            check=checks.has_no_null(table, column),
        )
    elif present.not_null and not column.not_null:
        dropped = change(table.name, "drop_not_null", column.name)
        yield Step(Phase.LIFT, table.name, dropped, clause=ddl.drop_not_null(column.name))


def _retire(app_id: str, name: str, current: CurrentTable, schema: Schema) -> Iterator[Step]:
    """Lift the rules of a table whose entity the manifest does not name."""
    is_retired = schema.entities[name]
    if not is_retired:
        yield Step(Phase.LIFT, name, change(name, "retire_entity"))

    ledger = schema.columns.get(name, {})
    for column in current.columns:
        if column.name in ledger:
            for step in _lift_column(name, column):
                yield step.silence(not is_retired)
    for step in lift_all(name, app_id, current):
        yield step.silence(not is_retired)


def _lift_column(table: str, column: CurrentColumn) -> Iterator[Step]:
    """Drop the NOT NULL and the default of a retired column.

    Of a column that was retired before they exist only where they were added by hand; that is a
    reported change.
    """
    if is_derived(column) and column.generated:
        yield freeze(table, column).silence(True)
        return
    if column.not_null:
        dropped = change(table, "drop_not_null", column.name)
        yield Step(Phase.LIFT, table, dropped, clause=ddl.drop_not_null(column.name))
    if column.default is not None and not column.generated:
        dropped = change(table, "drop_default", column.name, column.default)
        yield Step(Phase.LIFT, table, dropped, clause=ddl.drop_default(column.name))
