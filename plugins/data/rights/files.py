"""Which managed files a writer may put into records: those that it uploaded or can see."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from plugins.data.columns.column import Column
from plugins.data.columns.columns import Columns
from plugins.data.filters.conditions import Conditions, Related


class FileTables(msgspec.Struct, frozen=True):
    """The names in SQL of the tables of files, and of the fields that hold them."""

    files: bytes
    holdings: bytes


class FileLimits(msgspec.Struct, frozen=True):
    """What a writer may put into fields of managed files.

    These are files that it uploaded, files of the app itself, and files that a record within `rows`
    shows it. `rows` are what it may read of the entities that have such fields.

    As with links, a value beyond the limits becomes one that no file has, within the statement that
    writes it. So it is refused like every unknown id.
    """

    app_id: str
    user_id: str | None
    tables: FileTables
    fields: frozenset[str]
    rows: Mapping[str, Related]

    def write_value(self, conditions: Conditions, column: Column, value: bytes) -> bytes:
        """Return a new value as the statement writes it."""
        test = self.write_test(conditions, column, value)
        unknown = b"gen_random_uuid()"
        if column.kind == "files":
            unknown = b"array[gen_random_uuid()]"
        parts = (value, test, value, unknown)
        return b"case when %b is null or %b then %b else %b end" % parts

    def write_test(self, conditions: Conditions, column: Column, value: bytes) -> bytes:
        """Return the condition that the writer may use each file of a value."""
        if column.kind == "file":
            return self._test_file(conditions, value)
        alias = conditions.next_alias()
        test = self._test_file(conditions, alias + b".id")
        parts = (value, alias, test)
        return b"not exists (select from unnest(%b) as %b(id) where not %b)" % parts

    def _test_file(self, conditions: Conditions, file_id: bytes) -> bytes:
        app_id = conditions.bind_shared(self.app_id, b"text")
        user_id = conditions.bind_shared(self.user_id, b"uuid")
        parts = (self.tables.files, file_id, app_id, user_id)
        tests = [
            b"exists (select from %b as _f where _f.id = %b and _f.app_id = %b"
            b" and (_f.of_app or _f.uploader_id = %b))" % parts
        ]
        for entity, rows in self.rows.items():
            names = names_of_files(rows.columns)
            if names:
                tests.append(self._test_entity(conditions, file_id, entity, names))
        return b"(%b)" % b" or ".join(tests)

    def _test_entity(
        self, conditions: Conditions, file_id: bytes, entity: str, names: list[str]
    ) -> bytes:
        """Return the condition that a record of an entity shows a file to the writer."""
        rows = self.rows[entity]
        alias = conditions.next_alias()
        key = rows.columns.alias_as(alias).id
        tests = [
            b"_h.file_id = %b" % file_id,
            b"_h.entity = %b" % conditions.bind(entity, b"text"),
            b"_h.field = any(%b)" % conditions.bind(names, b"text[]"),
            b"_h.ended_at is null",
            *rows.write_conditions(conditions, alias),
        ]
        parts = (self.tables.holdings, rows.source, alias, key.sql, key.cast, b" and ".join(tests))
        return (
            b"exists (select from %b as _h join %b as %b on %b = _h.record_id::%b where %b)" % parts
        )


def names_of_files(columns: Columns) -> list[str]:
    """Return the fields of managed files among columns."""
    return [
        column.name
        for column in columns.fields
        if column.field is not None and column.field.file is not None
    ]
