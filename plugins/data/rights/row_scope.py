"""Rows that a caller may read or write, and what it may link to, as conditions of statements."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import cast

import msgspec

from kernel.public import BadRequest, HookFailed, Implementation, NotFound, Param
from plugins.data.columns.column import Column
from plugins.data.columns.columns import Columns
from plugins.data.filters.conditions import Conditions, Tree
from plugins.data.filters.operators import MAX_LINKS, RELATION_OPERATORS, spread_path
from plugins.data.statements.column_lists import ValueWriter
from plugins.data.statements.entity import OWNER
from plugins.data.statements.entity_table import Table

from .files import FileLimits


class RowScope(msgspec.Struct, frozen=True):
    """The rows of a table that a caller may access; `trees` are those of hooks.

    `scope_hooks` are the implementations that returned the trees, and `reached` all rows of the
    entities that the trees reach by links: a hook speaks for its plugin, so no right of the caller
    narrows them. `related` are the rows of other entities that conditions of the caller may reach,
    by entity. With `ids` only these records, as of accounts. `links` are the limits of what the
    caller may link to.
    """

    table: Table
    user_id: str | None
    own_only: bool
    trees: Sequence[Tree] = ()
    scope_hooks: Sequence[Implementation] = ()
    reached: Mapping[str, RowScope] = {}
    related: Mapping[str, RowScope] = {}
    ids: Sequence[str] | None = None
    links: LinkLimits | None = None

    @property
    def is_narrowed(self) -> bool:
        """Whether these may be fewer than all rows of the table."""
        return self.own_only or bool(self.trees) or self.ids is not None

    @property
    def source(self) -> bytes:
        """The name of the table in SQL."""
        return self.table.name

    @property
    def columns(self) -> Columns:
        """What the caller may see of the rows."""
        return self.table.columns

    @property
    def every_column(self) -> Columns:
        """What conditions of hooks may name, also where the caller may not."""
        return self.table.full.columns

    def begin_conditions(self, *params: Param) -> Conditions:
        """Begin the conditions of a statement whose first parameters are `params`."""
        conditions = Conditions(self.table.columns, params, self.related)
        conditions.parts += self.write_conditions(conditions, b"t")
        return conditions

    def write_conditions(self, conditions: Conditions, alias: bytes) -> list[bytes]:
        """Return the conditions of these rows under an alias."""
        limits: list[bytes] = []
        if self.own_only:
            owner = b"%b.%b" % (alias, OWNER)
            limits.append(b"%b = %b" % (owner, conditions.bind(self.user_id, b"uuid")))
        if self.ids is not None:
            limits.append(
                b"%b.id = any (%b)" % (alias, conditions.bind_shared(self.ids, b"uuid[]"))
            )
        for hook, tree in zip(self.scope_hooks, self.trees, strict=True):
            try:
                limits += conditions.compile_trees(
                    self.every_column.alias_as(alias), [tree], self.reached
                )
            except BadRequest as error:  # the plugin's mistake, not the caller's
                raise hook.note_failure(HookFailed(f"its where-tree is wrong: {error}")) from error
        return limits

    def link_values(self, conditions: Conditions) -> ValueWriter | None:
        """Return how a statement writes values, if links are limited; see `LinkLimits.writer`."""
        return None if self.links is None else self.links.writer(conditions)

    def begin_conditions_of_record(self, record_id: str, *params: Param) -> Conditions:
        """Begin the conditions of a statement about one record. Raises BadRequest for a bad id."""
        self.table.check_id(record_id)
        conditions = self.begin_conditions(*params)
        self.table.require_record(conditions, record_id)
        return conditions


class LinkLimits(msgspec.Struct, frozen=True):
    """What a writer of an entity may link to where it may not read every record of the target.

    Files are linked to as well: their limits are `files`.

    `rows_by_field` are the rows that it may read, by the field of the link. `related` are the rows
    that their conditions reach. `readable` are those of the table itself, for changes: a writer may
    send the link that it reads in a record.

    A value beyond the limits becomes one that no record has, within the statement that writes it.
    So PostgreSQL refuses it as it refuses every unknown id, in the same words and at the same time.
    """

    entity: str
    rows_by_field: Mapping[str, RowScope]
    related: Mapping[str, RowScope]
    readable: RowScope | None = None
    files: FileLimits | None = None

    @property
    def fields(self) -> Collection[str]:
        """The fields that are limited."""
        if self.files is None:
            return self.rows_by_field.keys()
        return self.files.fields.union(self.rows_by_field)

    @property
    def leads_back(self) -> bool:
        """Whether one of the links leads to the entity itself."""
        entities = {rows.table.entity.name for rows in self.rows_by_field.values()}
        return self.entity in entities

    def without(self, names: Collection[str]) -> LinkLimits | None:
        """Return the limits of other fields, None where there are none."""
        rows_by_field = {
            field: rows for field, rows in self.rows_by_field.items() if field not in names
        }
        files = self.files
        if files is not None:
            files = msgspec.structs.replace(files, fields=files.fields.difference(names))
        remaining = msgspec.structs.replace(self, rows_by_field=rows_by_field, files=files)
        return remaining if remaining.fields else None

    def writer(self, conditions: Conditions, ids: bytes = b"") -> ValueWriter:
        """Return how a statement writes values; parameters are added to `conditions`.

        `ids` are the records that the statement creates, as an array in SQL: they are the writer's.
        Without them it changes records.
        """
        conditions.related = {**conditions.related, **self.related}
        return partial(self._write_value, conditions, ids)

    def _write_value(
        self, conditions: Conditions, ids: bytes, column: Column, value: bytes
    ) -> bytes:
        if self.files is not None and column.name in self.files.fields:
            return self.files.write_value(conditions, column, value)
        if column.name not in self.rows_by_field:
            return value
        allowed = [b"%b is null" % value, *self.write_link_tests(conditions, ids, column, value)]
        if self.readable is not None and not ids:
            is_unchanged = b"%b = %b" % (column.sql, value)
            tests = [is_unchanged, *self.readable.write_conditions(conditions, b"t")]
            allowed.append(b"(%b)" % b" and ".join(tests))
        parts = (b" or ".join(allowed), value, column.cast)
        return b"case when %b then %b else gen_random_uuid()::%b end" % parts

    def write_link_tests(
        self, conditions: Conditions, ids: bytes, column: Column, value: bytes
    ) -> list[bytes]:
        """Return conditions of which a new value has to meet one."""
        linked = self.rows_by_field[column.name]
        alias = conditions.next_alias()
        columns = linked.columns.alias_as(alias)
        is_linked = [
            b"%b = %b" % (columns.id.sql, value),
            *linked.write_conditions(conditions, alias),
        ]
        parts = (linked.source, alias, b" and ".join(is_linked))
        tests = [b"exists (select from %b as %b where %b)" % parts]
        if column.field is not None and column.field.default is not None:  # the manifest's choice
            tests.append(b"%b = %b" % (value, conditions.bind(column.field.default, column.cast)))
        if ids and linked.table.entity.name == self.entity:
            tests.append(b"%b = any (%b)" % (value, ids))
        return tests


def find_entities_filtered(columns: Columns, tree: object) -> Iterator[tuple[str, Tree]]:
    """Yield the entities that the relation filters of a where-tree reach directly, with the trees
    over them. What is wrong in a tree is found when it becomes SQL."""
    if not isinstance(tree, Mapping):
        return
    for name, condition in cast("Tree", tree).items():
        if name in ("$and", "$or") and isinstance(condition, Sequence):
            for branch in cast("Sequence[object]", condition):
                yield from find_entities_filtered(columns, branch)
        elif name == "$not":
            yield from find_entities_filtered(columns, condition)
        elif "." in name and name not in columns and name.count(".") <= MAX_LINKS:
            yield from find_entities_filtered(columns, spread_path(name, condition))
        elif isinstance(condition, Mapping):
            link = columns.links.get(name)
            if link is None:
                continue
            filters = cast("Tree", condition)
            for operator in RELATION_OPERATORS:
                if operator in filters:
                    yield link.entity, filters[operator]


def record_not_found(record_id: str) -> NotFound:
    """Say the same for a record that does not exist and for one that is out of scope."""
    return NotFound(f"record '{record_id}' not found")
