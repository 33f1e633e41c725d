"""The columns of an entity together, in the order of a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from kernel.public import FIELD_KINDS, BadRequest, Entity, Field, ValueKind, nearest

from .bodies import BodyShapes
from .column import CASTS, Column, quoted, show_files
from .links import Link

MAX_COLUMNS: Final = 500 + 4
"""Fields that an entity can have, with `id`, `created_at`, `updated_at` and `_etag`. No list of
names needs more."""


class Columns:
    """The columns of an entity in the order of a record: id, fields, created_at, updated_at.

    Without `has_times` the last two are left out: not every table has them. `files` is the name in
    SQL of the table of managed files; without it their ids are shown.
    """

    def __init__(
        self,
        entity: Entity,
        *,
        alias: bytes = b"t",
        links: Mapping[str, Link] | None = None,
        has_times: bool = True,
        files: bytes | None = None,
    ) -> None:
        self.entity = entity
        self.alias = alias
        self._files = files
        self.links: Mapping[str, Link] = links or {}
        self._has_times = has_times
        self._aliased: dict[bytes, Columns] = {}
        self.id = self._server_column("id", entity.id_type)
        fields = [self._declared_column(field) for field in entity.fields]
        columns = [self.id, *fields]
        if has_times:
            columns.append(self._server_column("created_at", "timestamp"))
            columns.append(self._server_column("updated_at", "timestamp"))
        self._by_name = {column.name: column for column in columns}
        self.fields = tuple(fields)
        self.bodies = BodyShapes(entity, self._by_name)
        self.kinds_of_json_and_arrays: Mapping[str, ValueKind] = {
            column.name: column.kind
            for column in fields
            if column.kind in ("json", "texts", "numbers", "files")
        }
        """The columns whose values travel as JSON or as arrays, and their kinds."""
        self.positions = {name: position for position, name in enumerate(self._by_name)}

    def __iter__(self) -> Iterator[Column]:
        return iter(self._by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def alias_as(self, alias: bytes) -> Columns:
        """Return the same columns under another alias."""
        columns = self._aliased.get(alias)
        if columns is None:
            columns = Columns(
                self.entity,
                alias=alias,
                links=self.links,
                has_times=self._has_times,
                files=self._files,
            )
            self._aliased[alias] = columns
        return columns

    def sort_names(self, names: Iterable[str]) -> list[str]:
        """Put names of fields in the order of a record."""
        return sorted(names, key=self.positions.__getitem__)

    def select_columns(self, fields: Iterable[str] | None) -> list[Column]:
        """Return `id` and some fields, or all columns. Raises BadRequest for an unknown field."""
        if fields is None:
            return list(self)
        field_names = list(fields)
        if len(field_names) > MAX_COLUMNS:
            raise BadRequest(f"fields holds more than {MAX_COLUMNS} names")
        names = {"id", *(self.find(name).name for name in field_names)}
        return [self._by_name[name] for name in self.sort_names(names)]

    def find(self, name: str, also: Iterable[str] = ()) -> Column:
        """Return the column of a field. Raises BadRequest that names it.

        The error suggests a similar name, of a field or of the words in `also`.
        """
        column = self._by_name.get(name)
        if column is not None:
            return column
        hint = nearest(name, (*self._by_name, *also))
        if not hint.startswith("did you mean"):
            hint = nearest(name, self._by_name)
        raise BadRequest(f"{self.entity.name} has no field {name[:80]!r}; {hint}")

    def find_link(self, name: str) -> Link:
        """Return a link by its field, or as `<entity>_via_<field>`. Raises BadRequest."""
        link = self.links.get(name)
        if link is not None:
            return link
        if name in self._by_name:
            raise BadRequest(f"{self.entity.name}.{name} is not a link")
        raise self.describe_missing_link(name)

    def describe_missing_link(self, name: str) -> BadRequest:
        """Name a link that does not exist.

        Links of other entities are not suggested: the caller may not read the field of each.
        """
        message = f"{self.entity.name} has no link {name[:80]!r}"
        own_links = [name for name, link in self.links.items() if not link.reverse]
        if own_links:
            message += f"; {nearest(name, own_links)}"
        return BadRequest(message)

    def _declared_column(self, field: Field) -> Column:
        kind = _kind_of(field)
        nullable = not field.required
        return self._make_column(field.name, field.type, kind, nullable=nullable, field=field)

    def _server_column(self, name: str, kind: Literal["uuid", "text", "timestamp"]) -> Column:
        return self._make_column(name, kind, kind, nullable=False, field=None)

    def _make_column(
        self, name: str, type_name: str, kind: ValueKind, *, nullable: bool, field: Field | None
    ) -> Column:
        value = self.alias + b"." + quoted(name)
        shown = None
        if field is not None and field.file is not None and self._files is not None:
            shown = show_files(kind, value, self._files)
        return Column(
            name=name,
            label=f"{self.entity.name}.{name}",
            type=type_name,
            kind=kind,
            bare=quoted(name),
            sql=value,
            cast=CASTS[kind],
            nullable=nullable,
            field=field,
            shown=shown,
        )


def _kind_of(field: Field) -> ValueKind:
    if field.type == "entity_link":
        return "uuid" if field.sql_type.lower() == "uuid" else "text"
    if field.type == "file" and field.file is not None:
        return "file"
    return FIELD_KINDS[field.type]
