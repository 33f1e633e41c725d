"""The steps of a rename: nothing is made again, not even an index.

Names of indexes and constraints hold the names of their table and columns, and a hash of their
definition. So the tables are computed twice: as they are declared, and as they would be under the
former names. What is in both at the same place is one thing with two names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from kernel.public import Entity, Field, Reference, Search
from plugins.apps.models import Index, Manifest
from plugins.apps.schema import ddl
from plugins.apps.schema.current import CurrentColumn, CurrentTable, Schema
from plugins.apps.schema.steps import Phase, Step, change
from plugins.apps.schema.tables import Relation, Table, add_trigrams, tables_of

from .moves import order_moves
from .names import Renames


def rename_back(manifest: Manifest, renames: Renames) -> Manifest:
    """Return the manifest under the former names, in the same order."""
    entities: list[Entity] = []
    indexes: dict[str, tuple[Index, ...]] = {}
    for entity in manifest.entities:
        former_name = renames.former_entity(entity.name)
        entities.append(_rename_entity_back(entity, renames))
        indexes[former_name] = tuple(
            msgspec.structs.replace(
                index,
                columns=tuple(renames.former_field(entity.name, name) for name in index.columns),
            )
            for index in manifest.indexes.get(entity.name, ())
        )
    return msgspec.structs.replace(manifest, entities=tuple(entities), indexes=indexes)


def _rename_entity_back(entity: Entity, renames: Renames) -> Entity:
    search = entity.search
    if search is not None:
        searched = tuple(
            msgspec.structs.replace(field, name=renames.former_field(entity.name, field.name))
            for field in search.fields
        )
        search = Search(search.language, searched)
    return msgspec.structs.replace(
        entity,
        name=renames.former_entity(entity.name),
        fields=tuple(_rename_field_back(entity.name, field, renames) for field in entity.fields),
        search=search,
    )


def _rename_field_back(entity: str, field: Field, renames: Renames) -> Field:
    names = renames.fields.get(entity, {})
    reference = field.references
    if reference is not None:
        reference = Reference(renames.former_entity(reference.entity), reference.field)
    return msgspec.structs.replace(
        field,
        name=names.get(field.name, field.name),
        references=reference,
        generated=rename_operands(field.generated, names),
    )


def rename_operands(expression: Any, names: Mapping[str, str]) -> Any:
    """Return an expression of a generated field with other names of fields."""
    if isinstance(expression, dict):
        members = cast("dict[str, Any]", expression)
        return {name: rename_operands(operand, names) for name, operand in members.items()}
    if isinstance(expression, list):
        return [rename_operands(item, names) for item in cast("list[Any]", expression)]
    if isinstance(expression, str):
        return names.get(expression, expression)
    return expression


class Renaming:
    """Renames the tables of a schema, and says how the schema is then."""

    def __init__(
        self, manifest: Manifest, renames: Renames, schema: Schema, users: Relation
    ) -> None:
        self._app_id = manifest.app_id
        self._renames = renames
        self._schema = schema
        former_tables = tables_of(rename_back(manifest, renames), users)
        tables = tables_of(manifest, users)
        self._pairs = [
            (
                add_trigrams(former_tables[renames.former_entity(name)], schema.trigrams),
                add_trigrams(table, schema.trigrams),
            )
            for name, table in tables.items()
        ]

    def steps(self) -> Iterator[Step]:
        """Yield the steps: those of tables, of their columns, and of what has names by these."""
        for move in order_moves(self._renames.entities):
            statement = ddl.rename_table(self._app_id, move.former, move.name)
            former = self._renames.former_entity(move.name)
            renamed = change(move.name, "rename_table", None, f"from {former}")
            step = Step(Phase.RENAME, move.name, renamed, statement=statement)
            yield step.silence(not move.is_last)
        present_pairs = [
            (former, table, self._schema.tables[former.name])
            for former, table in self._pairs
            if former.name in self._schema.tables and former.name in self._schema.entities
        ]
        for _, table, _ in present_pairs:
            yield from self._rename_columns(table)
        yield from self._rename_rules(present_pairs)
        for former, table, current in present_pairs:
            yield from self._mark(former, table, current)

    def _rename_columns(self, table: Table) -> Iterator[Step]:
        names = self._renames.fields.get(table.name, {})
        for move in order_moves(names):
            statement = ddl.rename_column(self._app_id, table.name, move.former, move.name)
            former = names.get(move.name, move.former)
            renamed = change(table.name, "rename_column", move.name, f"from {former}")
            step = Step(Phase.RENAME, table.name, renamed, statement=statement)
            yield step.silence(not move.is_last)

    def _rename_rules(self, pairs: Sequence[tuple[Table, Table, CurrentTable]]) -> Iterator[Step]:
        """Rename indexes and constraints; the names of indexes are those of the whole schema."""
        renames: dict[str, str] = {}
        owners: dict[str, str] = {}
        indexes: set[str] = set()
        for former, table, current in pairs:
            for name, new_name in rename_rules(former, table, current).items():
                renames[new_name] = name
                owners[name] = table.name
            indexes |= {index.name for index in current.indexes}
        parked: dict[str, str] = {}
        for move in order_moves(renames):
            name = parked.get(move.former, move.former)
            if not move.is_last:
                parked[move.name] = name
            if name in indexes:
                statement = ddl.rename_index(self._app_id, move.former, move.name)
            else:
                statement = ddl.rename_constraint(
                    self._app_id, owners[name], move.former, move.name
                )
            yield Step(Phase.RENAME, owners[name], statement=statement)

    def _mark(self, former: Table, table: Table, current: CurrentTable) -> Iterator[Step]:
        """Mark the derived columns of a table."""
        for name, mark in rename_marks(former, table, current).items():
            new_name = _find_new_name(self._renames.fields.get(table.name, {}), name)
            statement = ddl.mark_column(self._app_id, table.name, new_name, mark)
            yield Step(Phase.RENAME, table.name, statement=statement)

    def schema(self) -> Schema:
        """Return the schema as it is after the steps."""
        entities = dict(self._schema.entities)
        columns = dict(self._schema.columns)
        tables = dict(self._schema.tables)
        new_names = {former: name for name, former in self._renames.entities.items()}
        for former_name in new_names:
            del tables[former_name], entities[former_name]
            columns.pop(former_name, None)
        for former, table in self._pairs:
            current = self._schema.tables.get(former.name)
            if current is None or former.name not in self._schema.entities:
                continue
            names = self._renames.fields.get(table.name, {})
            tables[table.name] = _rename_table(current, former, table, names)
            entities[table.name] = self._schema.entities[former.name]
            columns[table.name] = {
                _find_new_name(names, name): is_retired
                for name, is_retired in self._schema.columns.get(former.name, {}).items()
            }
        # Links of retired tables follow, too: PostgreSQL knows tables by number.
        tables = {name: _retarget(table, self._app_id, new_names) for name, table in tables.items()}
        return msgspec.structs.replace(
            self._schema, entities=entities, columns=columns, tables=tables
        )


def rename_rules(former: Table, table: Table, current: CurrentTable) -> dict[str, str]:
    """Return the new names of indexes and constraints that exist, by their present names."""
    pairs = [(former.primary_key, table.primary_key)]
    for former_rules, rules in (
        (former.indexes, table.indexes),
        (former.checks, table.checks),
        (former.links, table.links),
    ):
        pairs += zip(former_rules, rules, strict=True)
    rules_of_table = (*current.indexes, *current.checks, *current.links)
    present_names = {rule.name for rule in rules_of_table} | {current.primary_key}
    renames = {
        name: new_name for name, new_name in pairs if name != new_name and name in present_names
    }
    # A name that another one keeps is not free.
    return {
        name: new_name
        for name, new_name in renames.items()
        if new_name not in present_names or new_name in renames
    }


def rename_marks(former: Table, table: Table, current: CurrentTable) -> dict[str, str]:
    """Return the new marks of derived columns by the present names of the columns.

    Their expressions follow the columns that they use.
    """
    marks: dict[str, str] = {}
    for former_column, column in zip(former.columns.values(), table.columns.values(), strict=True):
        present = current.column(former_column.name)
        if present is None or column.mark is None or column.mark == former_column.mark:
            continue
        if present.comment == former_column.mark:
            marks[former_column.name] = column.mark
    return marks


def _rename_table(
    current: CurrentTable, former: Table, table: Table, names: Mapping[str, str]
) -> CurrentTable:
    rules = rename_rules(former, table, current)
    marks = rename_marks(former, table, current)

    def rename_column(column: CurrentColumn) -> CurrentColumn:
        return msgspec.structs.replace(
            column,
            name=_find_new_name(names, column.name),
            comment=marks.get(column.name, column.comment),
        )

    def rename_all(columns: tuple[str, ...] | None) -> tuple[str, ...]:
        return tuple(_find_new_name(names, name) for name in columns or ())

    replace = msgspec.structs.replace
    return replace(
        current,
        primary_key=rules.get(current.primary_key, current.primary_key),
        columns=tuple(map(rename_column, current.columns)),
        indexes=tuple(
            replace(
                index, name=rules.get(index.name, index.name), columns=rename_all(index.columns)
            )
            for index in current.indexes
        ),
        checks=tuple(
            replace(check, name=rules.get(check.name, check.name)) for check in current.checks
        ),
        links=tuple(
            replace(link, name=rules.get(link.name, link.name), columns=rename_all(link.columns))
            for link in current.links
        ),
    )


def _retarget(table: CurrentTable, app_id: str, new_names: Mapping[str, str]) -> CurrentTable:
    links = [
        msgspec.structs.replace(link, target=(app_id, new_names[link.target[1]]))
        if link.target[0] == app_id and link.target[1] in new_names
        else link
        for link in table.links
    ]
    return msgspec.structs.replace(table, links=tuple(links))


def _find_new_name(names: Mapping[str, str], former: str) -> str:
    return next((name for name, other in names.items() if other == former), former)
