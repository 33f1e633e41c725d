"""Indexes, enums and links: which to drop and which to create."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from plugins.apps.names import is_ours

from . import checks, ddl
from .current import CurrentCheck, CurrentIndex, CurrentLink, CurrentTable
from .steps import Phase, Step, step
from .tables import CheckDef, IndexDef, LinkDef, Table

_LETTERS: Mapping[str, str] = {"cascade": "c", "restrict": "r", "set_null": "n"}


def rule_steps(table: Table, current: CurrentTable, converting: Collection[str]) -> Iterator[Step]:
    """Drop rules that are not declared or whose column changes its type; create missing ones."""
    kept = _kept(table, current, converting)
    yield from _lift(table, current, kept, converting)
    present = {rule.name for rule in (*current.indexes, *current.checks, *current.links)}
    yield from missing_rules(table, kept, quietly=present)


def missing_rules(
    table: Table, kept: Collection[str] = (), quietly: Collection[str] = (), *, new: bool = False
) -> Iterator[Step]:
    """Create missing rules; those in `quietly` existed under the same name and are not reported.

    A new table has its checks already, and no rows that could violate a rule.
    """
    for check in table.checks.values():
        if check.name not in kept and not new:
            yield _add_check(table, check, report=check.name not in quietly)
    for index in table.indexes.values():
        if index.name not in kept:
            yield _add_index(table, index, report=not new and index.name not in quietly, new=new)
    for link in table.links.values():
        if link.name not in kept:
            yield _add_link(table, link, report=not new and link.name not in quietly, new=new)


def lift_all(name: str, schema: str, current: CurrentTable, *, report: bool) -> Iterator[Step]:
    """Drop the rules of a retired table that could fail writes to other tables."""
    for rule in (*current.checks, *current.links):
        if is_ours(rule.name):
            yield _lift_rule(name, rule, _lifted_in(schema, rule), report=report)
    for index in current.indexes:
        if is_ours(index.name) and index.unique:
            yield _drop_index(name, schema, index, None, report=report)


def _kept(table: Table, current: CurrentTable, converting: Collection[str]) -> set[str]:
    kept = {
        index.name
        for index in current.indexes
        if _same_index(table.indexes.get(index.name), index)
        and not set(index.columns or ()) & set(converting)
    }
    kept |= {
        check.name
        for check in current.checks
        if _same_check(wanted := table.checks.get(check.name), check)
        and wanted is not None
        and wanted.column not in converting
    }
    return kept | {
        link.name
        for link in current.links
        if _same_link(table.links.get(link.name), link) and not set(link.columns) & set(converting)
    }


def _same_index(wanted: IndexDef | None, index: CurrentIndex) -> bool:
    return wanted is not None and (wanted.columns, wanted.unique, True) == (
        index.columns, index.unique, index.valid,
    )  # fmt: skip


def _same_check(wanted: CheckDef | None, check: CurrentCheck) -> bool:
    return wanted is not None and check.valid and wanted.values == check.texts


def _same_link(wanted: LinkDef | None, link: CurrentLink) -> bool:
    return wanted is not None and (
        (wanted.column,), wanted.target, _LETTERS[wanted.on_delete], True,
    ) == (link.columns, link.target, link.on_delete, link.valid)  # fmt: skip


def _lift(
    table: Table, current: CurrentTable, kept: Collection[str], converting: Collection[str]
) -> Iterator[Step]:
    wanted = {*table.indexes, *table.checks, *table.links}
    for index in current.indexes:
        if is_ours(index.name) and index.name not in kept:
            gone = index.name not in wanted
            columns = ", ".join(index.columns or ())
            yield _drop_index(table.name, table.schema, index, columns, report=gone)
    for rule in (*current.checks, *current.links):
        if is_ours(rule.name) and rule.name not in kept:
            again = table.links.get(rule.name)
            phase = _lifted_in(table.schema, rule, converting, again)
            yield _lift_rule(table.name, rule, phase, report=rule.name not in wanted)


def _lifted_in(
    schema: str,
    rule: CurrentCheck | CurrentLink,
    converting: Collection[str] = (),
    again: LinkDef | None = None,
) -> Phase:
    """Return when a rule is dropped. A link to a table of another schema is dropped as late as
    possible: when its column converts, when it is created `again`, or last of all."""
    if isinstance(rule, CurrentCheck) or rule.target[0] == schema:
        return Phase.LIFT
    if set(rule.columns) & set(converting):
        return Phase.CONVERT
    return _made_in(schema, again) if again else Phase.PART


def _made_in(schema: str, link: LinkDef) -> Phase:
    return Phase.RULES if link.target[0] == schema else Phase.JOIN


def _lift_rule(table: str, rule: CurrentCheck | CurrentLink, phase: Phase, *, report: bool) -> Step:
    kind, column = "drop_check", None
    if isinstance(rule, CurrentLink):
        kind, column = "drop_foreign_key", rule.columns[0]
    clause, parts = ddl.drop_constraint(rule.name), phase is not Phase.LIFT
    return step(phase, table, kind, column, rule.name, clause=clause, parts=parts, report=report)


def _drop_index(
    table: str, schema: str, index: CurrentIndex, columns: str | None, *, report: bool
) -> Step:
    dropped = ddl.drop_index(schema, index.name)
    return step(
        Phase.LIFT, table, "drop_index", columns, index.name, statement=dropped, report=report
    )


def _add_check(table: Table, check: CheckDef, *, report: bool) -> Step:
    detail = f"one of {', '.join(check.values)}"
    return step(
        Phase.RULES, table.name, "add_check", check.column, detail,
        clause=ddl.add_check(check), check=checks.keeps_enum(table, check), report=report,
    )  # fmt: skip


def _add_index(table: Table, index: IndexDef, *, report: bool, new: bool) -> Step:
    check = checks.is_unique(table, index) if index.unique and not new else None
    return step(
        Phase.RULES, table.name, "create_index", ", ".join(index.columns), "unique" * index.unique,
        statement=ddl.create_index(table, index), check=check, report=report,
    )  # fmt: skip


def _add_link(table: Table, link: LinkDef, *, report: bool, new: bool) -> Step:
    detail = f"to {'.'.join(link.target)}, on delete {link.on_delete.replace('_', ' ')}"
    check = None if new else checks.has_target(table, link)
    return step(
        _made_in(table.schema, link), table.name, "add_foreign_key", link.column, detail,
        clause=ddl.add_link(link), check=check, report=report,
    )  # fmt: skip
