"""Installed apps: the catalog that other subsystems read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, Protocol

import msgspec

from kernel.contracts.access import Permission
from kernel.contracts.base import ServiceKey
from kernel.contracts.statements import Transaction

__all__ = [
    "APPS", "FIELD_KINDS", "MANIFEST_KEYS", "OWNER_COLUMN", "App", "Apps", "Entity", "Field",
    "FieldAccess", "FieldHints", "FieldType", "FileRule", "InstallPlan", "InstalledSection",
    "OnDelete", "Reference", "Renamed", "Search", "SearchField", "ValueKind",
]  # fmt: skip

FieldType = Literal[
    "text", "file", "number", "boolean", "date", "timestamp", "json", "uuid", "entity_link",
    "[text]", "[number]", "[file]",
]  # fmt: skip
"""Types that a manifest may give to a field, aliases resolved."""
ValueKind = Literal[
    "text", "number", "boolean", "date", "timestamp", "json", "uuid", "texts", "numbers", "file",
    "files",
]  # fmt: skip
"""How values of a column behave; several field types share one."""

FIELD_KINDS: Final[Mapping[FieldType, ValueKind]] = {
    "text": "text",
    "file": "text",
    "number": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "json": "json",
    "uuid": "uuid",
    "[text]": "texts",
    "[number]": "numbers",
    "[file]": "files",
}
"""The kind of each field type but `entity_link`, whose kind is that of the id it names.

A `file` field with a `FileRule` has the kind `file`.
"""

OnDelete = Literal["cascade", "restrict", "set_null"]
"""What becomes of a record whose link points at a record that is deleted."""
MANIFEST_KEYS = (
    "$schema", "appId", "name", "version", "description", "type", "icon", "dataContract",
    "permissions", "app_id", "data_contract",
)  # fmt: skip
"""Top-level keys of every manifest; others are sections that plugins understand, or ignored."""

OWNER_COLUMN = "_owner"
"""Hidden column of every entity table: the `uuid` of the user who created the row, or NULL."""


class Reference(msgspec.Struct, frozen=True):
    """What a link points at: an entity of the same manifest, or `core:users`."""

    entity: str
    field: str = "id"


class FieldAccess(msgspec.Struct, frozen=True):
    """The roles that may read and write a field; None if it needs no permission of its own.

    The permissions are `<entity>.<field>.read` and `.write`.
    """

    read: tuple[str, ...] | None = None
    write: tuple[str, ...] | None = None


class FieldHints(msgspec.Struct, frozen=True, kw_only=True):
    """How people see a field: what it is called, how its values are shown, and how wide.

    `width` is in pixels. `colours` are those of the values of an enumeration, by name.
    """

    label: str = ""
    format: str | None = None
    currency: str | None = None
    width: int | None = None
    colours: Mapping[str, str] = {}


class FileRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a managed file field takes: at most `max_size` bytes, and media types as `image/*`.

    None and no types mean that there is no such limit.
    """

    max_size: int | None = None
    types: tuple[str, ...] = ()


class SearchField(msgspec.Struct, frozen=True):
    """A field that is searched: its weight from A to D, and the hidden column that holds its words.

    Fields that the same callers may read share a column.
    """

    name: str
    weight: str
    column: str


class Search(msgspec.Struct, frozen=True):
    """What a full-text search of an entity compares; `language` names its configuration."""

    language: str
    fields: tuple[SearchField, ...]


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A declared column, aliases resolved. `sql_type` is the column's type in PostgreSQL.

    `generated` is the expression that computes it, of the fields in `sources`; it is read-only.
    An `unchecked` link may lead to records that its writer may not read. A field with a `file` rule
    holds the ids of managed files.
    """

    name: str
    type: FieldType
    sql_type: str
    required: bool = False
    default: Any = None
    enum_values: tuple[str, ...] = ()
    references: Reference | None = None
    on_delete: OnDelete = "set_null"
    unchecked: bool = False
    access: FieldAccess | None = None
    generated: Any = None
    sources: tuple[str, ...] = ()
    file: FileRule | None = None
    hints: FieldHints | None = None


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A table of an app. `fields` are in declaration order, without `id`, `created_at` and
    `updated_at`; `id_declared` says whether clients may choose the id."""

    app_id: str
    name: str
    id_type: Literal["uuid", "text"]
    id_declared: bool
    fields: tuple[Field, ...]
    search: Search | None = None
    unique: tuple[tuple[str, ...], ...] = ()
    """Fields that no two records may share the values of, for each unique index."""

    label: str = ""
    """What people call it; empty where the manifest does not say."""

    constraints: Mapping[str, tuple[str, ...]] = {}
    """Names of indexes, checks and foreign keys in the database, and the fields each is about:
    from which a `ConstraintViolation` is described."""

    @property
    def subject(self) -> str:
        """`<app>.<entity>`."""
        return f"{self.app_id}.{self.name}"

    def hide(self, fields: Collection[str]) -> Entity:
        """Return the entity for callers for whom some fields do not exist (`Grant.hidden`).

        Unique keys and the search lose these fields too.
        """
        if not fields:
            return self
        search = self.search
        if search is not None:
            words = tuple(field for field in search.fields if field.name not in fields)
            search = Search(search.language, words) if words else None
        return msgspec.structs.replace(
            self,
            fields=tuple(field for field in self.fields if field.name not in fields),
            search=search,
            unique=tuple(key for key in self.unique if set(key).isdisjoint(fields)),
        )


class App(msgspec.Struct, frozen=True, kw_only=True):
    """An installed app. `version_stamp` changes with each install: a key for compiled SQL.

    `key` is the number of the installation: it stays the same from the first install of an app to
    its removal, and a later app of the same id has another one. Compare it where something in
    memory or outside the database belongs to an app. Rows need no key: their column `app_id`
    references `caudex_kernel.apps (app_id) on delete cascade`.
    """

    id: str
    name: str
    version: str
    version_stamp: int
    key: int = 0
    type: str = "app"
    icon: str | None = None
    """As the manifest has them, for a list of apps."""
    entities: Mapping[str, Entity]
    permissions: tuple[Permission, ...] = ()
    """The declared ones, in order; the generated ones follow from `entities`."""

    managed_by: str | None = None
    """`files` where the manifest is changed in the folder that the app is deployed from."""

    def narrow(self, hidden: Mapping[str, Collection[str]]) -> App:
        """Return the app for a caller for whom only the entities in `hidden` exist, without the
        fields that it lists for each.

        Links keep the name of their target: a caller may set a link without any right on it.
        """
        entities = {
            name: entity.hide(hidden[name])
            for name, entity in self.entities.items()
            if name in hidden
        }
        return msgspec.structs.replace(self, entities=entities)


class Renamed(msgspec.Struct, frozen=True, kw_only=True):
    """An entity or a field that has another name from an install on; its data stays.

    `former` is the former name of the entity, or of the `field` where it is not None. `entity` is
    the name that the entity has after the install.
    """

    entity: str
    field: str | None = None
    former: str


class InstallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What an install does; `app_planning` gets it first, `app_installing` when the tables exist.

    `manifest` is the raw manifest; `new_entities` names those whose tables were just made;
    `first` is True if the app was not installed before. `renamed` lists entities, then fields: a
    plugin whose rows name them renames these in the transaction of the install, one after the
    other. Names that are swapped have others in between; `PresentNames` leaves these out.
    """

    app: App
    manifest: Mapping[str, Any]
    first: bool
    new_entities: tuple[str, ...] = ()
    renamed: tuple[Renamed, ...] = ()

    def section(self, key: str) -> Any:
        """A section that a plugin registered, checked already; None where it is absent."""
        return self.manifest.get(key)


class InstalledSection(msgspec.Struct, frozen=True, kw_only=True):
    """A section of an installed app's manifest; `version_stamp` and `key` are those of `App`."""

    app_id: str
    version_stamp: int
    key: int = 0
    value: Any


class Apps(Protocol):
    """Installed apps, read from memory; every process follows an install within a second."""

    async def app(self, app_id: str) -> App:
        """Return an installed app. Raises NotFound."""
        ...

    async def entity(self, app_id: str, name: str) -> Entity:
        """Return one entity of an installed app. Raises NotFound."""
        ...

    async def all(self) -> list[App]:
        """Every installed app by name."""
        ...

    async def sections(self, key: str) -> list[InstalledSection]:
        """Read one section of every installed manifest that has it, from the database.

        Use it when a plugin starts: apps may have been installed while it was off. A value that
        does not match the registered schema is left out and logged.
        """
        ...

    async def refresh(self) -> None:
        """Discard what is in memory: the schema changed under a statement."""
        ...


APPS = ServiceKey[Apps]("apps")


_REGISTER: Final = """
insert into caudex_kernel.apps as a (app_id) values ($1::text)
on conflict (app_id) do update set app_id = a.app_id returning key"""
_UNREGISTER: Final = "delete from caudex_kernel.apps where app_id = $1::text"


async def register_app(tx: Transaction, app_id: str) -> int:
    """Return the key of an installed app; a first install gets a new one.

    Call it before `app_installing`: rows of plugins reference `caudex_kernel.apps (app_id)`.
    """
    return int(await tx.execute(_REGISTER, app_id) or 0)


async def unregister_app(tx: Transaction, app_id: str) -> None:
    """Delete the row of an app that is removed, and with it all rows that reference it.

    Call it after `app_removing`. The rows of plugins that are switched off go as well.
    """
    await tx.execute(_UNREGISTER, app_id)
