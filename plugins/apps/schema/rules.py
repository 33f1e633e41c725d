"""Indexes, enums and links: which to drop and which to create."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from plugins.apps.names import is_ours

from . import checks, ddl
from .current import CurrentCheck, CurrentIndex, CurrentLink, CurrentTable
from .steps import Phase, Step, change
from .tables import CheckDef, IndexDef, LinkDef, Table

_LETTERS: Mapping[str, str] = {"cascade": "c", "restrict": "r", "set_null": "n"}


def rule_steps(table: Table, current: CurrentTable, converting: Collection[str]) -> Iterator[Step]:
    """Drop rules that are not declared or whose column changes its type; create missing ones."""
    current_names = {rule.name for rule in (*current.indexes, *current.checks, *current.links)}
    unchanged = _find_unchanged(table, current, converting)
    yield from _lift_changed(table, current, unchanged, converting)
    # A rule that is created again under its name is not a change of the schema.
    for check in table.checks.values():
        if check.name not in unchanged:
            yield _add_check(table, check).silence(check.name in current_names)
    for index in table.indexes.values():
        if index.name not in unchanged:
            yield _add_index(table, index, new=False).silence(index.name in current_names)
    for link in table.links.values():
        if link.name not in unchanged:
            yield _add_link(table, link, new=False).silence(link.name in current_names)


def rules_of_new(table: Table) -> Iterator[Step]:
    """Create the rules of a new table; they are a part of its creation.

    It has its checks already, and no rows that could violate a rule.
    """
    for index in table.indexes.values():
        yield _add_index(table, index, new=True).silence(True)
    for link in table.links.values():
        yield _add_link(table, link, new=True).silence(True)


def lift_all(name: str, schema: str, current: CurrentTable) -> Iterator[Step]:
    """Drop the rules of a retired table that could fail writes to other tables."""
    for rule in (*current.checks, *current.links):
        if is_ours(rule.name):
            yield _lift_rule(name, rule, _choose_lifting_phase(schema, rule))
    for index in current.indexes:
        if is_ours(index.name) and index.unique:
            yield _drop_index(name, schema, index, None)


def _find_unchanged(table: Table, current: CurrentTable, converting: Collection[str]) -> set[str]:
    """Return the names of rules that are as declared, and whose columns keep their types."""
    unchanged: set[str] = set()
    for index in current.indexes:
        declared_index = table.indexes.get(index.name)
        columns = set(index.columns or ())
        if _is_same_index(declared_index, index) and columns.isdisjoint(converting):
            unchanged.add(index.name)
    for check in current.checks:
        declared_check = table.checks.get(check.name)
        if declared_check is None or declared_check.column in converting:
            continue
        if check.valid and declared_check.values == check.texts:
            unchanged.add(check.name)
    for link in current.links:
        declared_link = table.links.get(link.name)
        if _is_same_link(declared_link, link) and set(link.columns).isdisjoint(converting):
            unchanged.add(link.name)
    return unchanged


def _is_same_index(declared: IndexDef | None, index: CurrentIndex) -> bool:
    return (
        declared is not None
        and declared.columns == index.columns
        and declared.unique == index.unique
        and index.valid
    )


def _is_same_link(declared: LinkDef | None, link: CurrentLink) -> bool:
    return (
        declared is not None
        and (declared.column,) == link.columns
        and declared.target == link.target
        and _LETTERS[declared.on_delete] == link.on_delete
        and link.valid
    )


def _lift_changed(
    table: Table, current: CurrentTable, unchanged: Collection[str], converting: Collection[str]
) -> Iterator[Step]:
    """Drop rules that are not declared, and those that are created again."""
    declared_names = {*table.indexes, *table.checks, *table.links}
    for index in current.indexes:
        if is_ours(index.name) and index.name not in unchanged:
            columns = ", ".join(index.columns or ())
            dropping = _drop_index(table.name, table.schema, index, columns)
            yield dropping.silence(index.name in declared_names)
    for rule in (*current.checks, *current.links):
        if is_ours(rule.name) and rule.name not in unchanged:
            successor = table.links.get(rule.name)
            phase = _choose_lifting_phase(table.schema, rule, converting, successor)
            yield _lift_rule(table.name, rule, phase).silence(rule.name in declared_names)


def _choose_lifting_phase(
    schema: str,
    rule: CurrentCheck | CurrentLink,
    converting: Collection[str] = (),
    successor: LinkDef | None = None,
) -> Phase:
    """Return when a rule is dropped. A link to a table of another schema is dropped as late as
    possible: when its column converts, when its `successor` is created, or last of all."""
    if isinstance(rule, CurrentCheck) or rule.target[0] == schema:
        return Phase.LIFT
    if not set(rule.columns).isdisjoint(converting):
        return Phase.CONVERT
    if successor is not None:
        return _linking_phase(schema, successor)
    return Phase.PART


def _linking_phase(schema: str, link: LinkDef) -> Phase:
    if link.target[0] == schema:
        return Phase.RULES
    return Phase.JOIN


def _lift_rule(table: str, rule: CurrentCheck | CurrentLink, phase: Phase) -> Step:
    dropped = change(table, "drop_check", None, rule.name)
    if isinstance(rule, CurrentLink):
        dropped = change(table, "drop_foreign_key", rule.columns[0], rule.name)
    clause = ddl.drop_constraint(rule.name)
    return Step(phase, table, dropped, clause=clause, parts=phase is not Phase.LIFT)


def _drop_index(table: str, schema: str, index: CurrentIndex, columns: str | None) -> Step:
    dropped = change(table, "drop_index", columns, index.name)
    return Step(Phase.LIFT, table, dropped, statement=ddl.drop_index(schema, index.name))


def _add_check(table: Table, check: CheckDef) -> Step:
    added = change(table.name, "add_check", check.column, f"one of {', '.join(check.values)}")
    return Step(
        Phase.RULES,
        table.name,
        added,
        clause=ddl.add_check(check),
        check=checks.keeps_enum(table, check),
    )


def _add_index(table: Table, index: IndexDef, *, new: bool) -> Step:
    detail = ""
    check = None
    if index.unique:
        detail = "unique"
        if not new:
            check = checks.is_unique(table, index)
    created = change(table.name, "create_index", ", ".join(index.columns), detail)
    statement = ddl.create_index(table, index)
    return Step(Phase.RULES, table.name, created, statement=statement, check=check)


def _add_link(table: Table, link: LinkDef, *, new: bool) -> Step:
    action = link.on_delete.replace("_", " ")
    detail = f"to {'.'.join(link.target)}, on delete {action}"
    added = change(table.name, "add_foreign_key", link.column, detail)
    check = None
    if not new:
        check = checks.has_target(table, link)
    phase = _linking_phase(table.schema, link)
    return Step(phase, table.name, added, clause=ddl.add_link(link), check=check)
