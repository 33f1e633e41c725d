"""Computes the steps from a schema as it is to the tables of a manifest, without the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from plugins.apps.manifest.types import type_name

from . import checks, ddl
from .current import CurrentColumn, CurrentTable, Schema
from .derivations import derive_again, drop_vectors, freeze, is_derived, mark_step, unmark_step
from .rules import lift_all, missing_rules, rule_steps
from .steps import Phase, Plan, Step, step
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
        statement = ddl.create_schema(app_id)
        plan.steps.append(
            step(Phase.BUILD, "", "create_schema", detail=app_id, statement=statement)
        )
    for table in tables.values():
        current = schema.tables.get(table.name)
        if current is None:
            plan.steps.extend(_create(table))
        elif table.name not in schema.entities or current.kind != "r":
            what = f"the schema has a {_KINDS.get(current.kind, 'relation')} of that name"
            plan.refusals.append(f"{table.name}: {what} that no install made")
        else:
            plan.refusals.extend(_refusals(table, current))
            plan.steps.extend(_change(table, current, schema))
    for name, retired in schema.entities.items():
        current = schema.tables.get(name)
        if name not in tables and current is not None:
            ledger = schema.columns.get(name, {})
            plan.steps.extend(_retire(app_id, name, current, ledger, retired))
    return plan


_KINDS = {"v": "view", "m": "materialized view", "r": "table", "p": "partitioned table"}


def _create(table: Table) -> Iterator[Step]:
    fields = [name for name in table.columns if name not in PLAIN and name[0] != "_"]
    detail, statement = f"{len(fields)} fields", ddl.create_table(table)
    yield step(Phase.BUILD, table.name, "create_table", detail=detail, statement=statement)
    for column in table.columns.values():
        yield from mark_step(table, column)
    yield from missing_rules(table, new=True)
    yield step(Phase.RULES, table.name, statement=ddl.create_trigger(table))


def _refusals(table: Table, current: CurrentTable) -> Iterator[str]:
    for column in table.columns.values():
        present = current.column(column.name)
        if present is not None and present.generated and not is_derived(present):
            yield f"{table.name}.{column.name}: the column is a generated one, made by hand"


def _change(table: Table, current: CurrentTable, schema: Schema) -> Iterator[Step]:
    if schema.entities[table.name]:
        yield step(Phase.RULES, table.name, "restore_entity")
    ledger = schema.columns.get(table.name, {})
    converting: set[str] = set()
    converted = {
        column.name
        for column in table.columns.values()
        if (present := current.column(column.name)) and present.sql_type != column.type
        if column.derived is None
    }
    for column in table.columns.values():
        present = current.column(column.name)
        if column.derived is not None:
            if ledger.get(column.name):
                yield step(Phase.RULES, table.name, "restore_column", column.name)
            again = list(derive_again(table, column, present, bool(converted)))
            converting |= {column.name} if again else set()
            yield from again
            continue
        if present is None:
            yield from _add_column(table, column)
            continue
        yield from unmark_step(table, present)
        if present.generated:
            yield from freeze(table.name, present, report=True)
            present = msgspec.structs.replace(present, default=None, generated=False)
        if column.name not in PLAIN and ledger.get(column.name, True):
            kind = "restore_column" if column.name in ledger else "adopt_column"
            yield step(Phase.RULES, table.name, kind, column.name)
        if present.sql_type != column.type:
            converting.add(column.name)
            yield from _convert(table, column, present)
            present = msgspec.structs.replace(present, default=None)
        yield from _default(table, column, present)
        yield from _not_null(table, column, present)
    for name, retired in ledger.items():
        present = current.column(name)
        if name not in table.columns and present is not None:
            if not retired:
                yield step(Phase.LIFT, table.name, "retire_column", name)
            yield from _lift_column(table.name, present, report=retired)
    yield from drop_vectors(table, current)
    yield from rule_steps(table, current, converting)
    if ddl.TRIGGER not in current.triggers:
        made = ddl.create_trigger(table)
        yield step(Phase.RULES, table.name, "create_trigger", "updated_at", statement=made)


def _add_column(table: Table, column: Column) -> Iterator[Step]:
    unfilled = column.not_null and column.default is None and not column.generator
    check = checks.is_empty(table, column) if unfilled else None
    added, kind = ddl.add_column(column), type_name(column.type)
    yield step(Phase.BUILD, table.name, "add_column", column.name, kind, clause=added, check=check)


def _convert(table: Table, column: Column, present: CurrentColumn) -> Iterator[Step]:
    if present.default is not None:
        # The old default may be invalid in the new type; the declared one is set afterwards.
        yield step(Phase.LIFT, table.name, clause=ddl.drop_default(column.name))
    source = present.sql_type
    detail = f"{type_name(source)} to {type_name(column.type)}"
    clause, check = ddl.change_type(column, source), checks.converts(table, column, source)
    yield step(
        Phase.CONVERT, table.name, "alter_type", column.name, detail, clause=clause, check=check
    )
    if column.name == "id":
        same = checks.stays_unique(table, column, source)
        yield step(Phase.CONVERT, table.name, check=same)


def _default(table: Table, column: Column, present: CurrentColumn) -> Iterator[Step]:
    if column.expression == present.default:
        return
    if column.expression is None:
        clause, before = ddl.drop_default(column.name), present.default or ""
        yield step(Phase.LIFT, table.name, "drop_default", column.name, before, clause=clause)
    else:
        clause, after = ddl.set_default(column), column.expression
        yield step(Phase.RULES, table.name, "set_default", column.name, after, clause=clause)


def _not_null(table: Table, column: Column, present: CurrentColumn) -> Iterator[Step]:
    if column.not_null and not present.not_null:
        clause, check = ddl.set_not_null(column.name), checks.has_no_null(table, column)
        yield step(Phase.RULES, table.name, "set_not_null", column.name, clause=clause, check=check)
    elif present.not_null and not column.not_null:
        clause = ddl.drop_not_null(column.name)
        yield step(Phase.LIFT, table.name, "drop_not_null", column.name, clause=clause)


def _retire(
    schema: str, name: str, current: CurrentTable, ledger: Mapping[str, bool], retired: bool
) -> Iterator[Step]:
    if not retired:
        yield step(Phase.LIFT, name, "retire_entity")
    for column in current.columns:
        if column.name in ledger:
            yield from _lift_column(name, column, report=retired)
    yield from lift_all(name, schema, current, report=retired)


def _lift_column(table: str, column: CurrentColumn, *, report: bool) -> Iterator[Step]:
    """Drop the NOT NULL and the default of a retired column.

    Of a column that was retired before they exist only where they were added by hand; that is a
    reported change.
    """
    if is_derived(column) and column.generated:
        yield from freeze(table, column, report=False)
        return
    if column.not_null:
        clause = ddl.drop_not_null(column.name)
        yield step(Phase.LIFT, table, "drop_not_null", column.name, clause=clause, report=report)
    if column.default is not None and not column.generated:
        clause, before = ddl.drop_default(column.name), column.default
        yield step(
            Phase.LIFT, table, "drop_default", column.name, before, clause=clause, report=report
        )
