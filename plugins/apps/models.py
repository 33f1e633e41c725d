"""Manifests as read, and bodies and replies of the routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from kernel.public import App, Entity, Field, FieldAccess, Permission, Reference


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """An index that the manifest declares."""

    columns: tuple[str, ...]
    unique: bool = False
    name: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A valid manifest: spellings resolved, defaults filled in."""

    app_id: str
    name: str
    version: str
    type: str = "app"
    icon: str | None = None
    entities: tuple[Entity, ...] = ()
    indexes: Mapping[str, tuple[Index, ...]] = {}
    permissions: tuple[Permission, ...] = ()
    ignored: tuple[str, ...] = ()
    raw: Mapping[str, Any] = {}
    was: Mapping[str, tuple[str, ...]] = {}
    """Former names of an entity by its name, and of a field by `entity.field`."""

    def app(self, stamp: int) -> App:
        """Return the app as the catalog shows it once this manifest is installed."""
        return App(
            id=self.app_id,
            name=self.name,
            version=self.version,
            version_stamp=stamp,
            type=self.type,
            icon=self.icon,
            entities={entity.name: entity for entity in self.entities},
            permissions=self.permissions,
        )


MANIFEST_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["appId", "name"],
    "properties": {
        "appId": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "maxLength": 63},
        "name": {"type": "string"},
        "version": {"type": "string", "default": "0.0.1"},
        "description": {"type": "string"},
        "dataContract": {"type": "array", "items": {"type": "object"}, "maxItems": 200},
        "permissions": {"type": ["object", "array"]},
    },
}
"""The outline of a manifest; its sections are checked when it is read."""

ManifestBody = Annotated[
    msgspec.Raw,
    msgspec.Meta(
        title="AppManifest",
        description="What an app is made of: its entities, their fields, its permissions.",
        extra_json_schema=dict(MANIFEST_SCHEMA),
    ),
]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between a manifest and the database.

    `rows` is how many rows the table has, where they were counted: at most `MAX_COUNTED`.
    """

    entity: str
    change_type: str
    column: str | None = None
    detail: str = ""
    rows: int | msgspec.UnsetType = msgspec.UNSET


class Verdict(msgspec.Struct, frozen=True):
    """Whether the database matches a manifest; `ignored` is as in the reply to an install."""

    compliant: bool
    changes: list[Change]
    ignored: list[str] | msgspec.UnsetType = msgspec.UNSET


class Pruning(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """What to drop permanently; by default everything that is retired."""

    entity: str | None = None
    column: str | None = None
    dry_run: bool = False


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A retired table or column that was dropped; `rows` had a value in it."""

    entity: str
    column: str | None
    rows: int


class Pruned(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a prune dropped, or would drop."""

    dropped: list[Dropped]
    dry_run: bool


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The first page of an app; without a frontend there is no `url`."""

    has_frontend: bool = False
    url: str | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """An app in the list of apps. Without a frontend there is no `url`, `icon` may be missing."""

    id: str
    name: str
    version: str
    status: str = "installed"
    type: str
    icon: str | None
    has_frontend: bool = msgspec.field(name="hasFrontend")
    url: str | None
    entities: list[str]


From = Literal["request", "files"]
"""Where a manifest comes from that is installed as a whole."""


class InstallQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of POST /apps; `files` is the folder of a project."""

    source: From = "request"


class Installed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The reply to an install."""

    message: str
    ignored: list[str] = []


class Install(msgspec.Struct, frozen=True, kw_only=True):
    """An install of an app; `stamp` names it, `by` is the user, `at` the time."""

    stamp: int
    version: str
    by: str | None
    at: str


class DescribedField(msgspec.Struct, frozen=True, kw_only=True):
    """A field of an entity; `references` is the entity that a link points at.

    A `generated` field is read-only. Without `access` a field needs no permission of its own. A
    field of managed files has `maxSize` and `types`, as far as it declares them. The members from
    `label` on are hints for people, as far as the manifest has them.
    """

    name: str
    type: str
    required: bool
    default: Any
    enum_values: tuple[str, ...]
    references: str | None
    on_delete: str | None
    generated: bool
    access: FieldAccess | None
    max_size: int | msgspec.UnsetType | None = msgspec.field(default=msgspec.UNSET, name="maxSize")
    types: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    label: str | msgspec.UnsetType = msgspec.UNSET
    format: str | msgspec.UnsetType = msgspec.UNSET
    currency: str | msgspec.UnsetType = msgspec.UNSET
    width: int | msgspec.UnsetType = msgspec.UNSET
    colours: Mapping[str, str] | msgspec.UnsetType = msgspec.UNSET


class DescribedEntity(msgspec.Struct, frozen=True, kw_only=True):
    """An entity; with `id_declared` clients may choose the id of a new record.

    `search` says whether queries may have words to search for, `unique` are the keys of an import.
    """

    name: str
    id_type: str
    id_declared: bool
    search: bool
    unique: tuple[tuple[str, ...], ...]
    fields: list[DescribedField]
    label: str | msgspec.UnsetType = msgspec.UNSET


class ContractField(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A field as a manifest declares it."""

    name: str
    type: str
    required: bool = False
    default_value: Any = None
    enum_values: tuple[str, ...] = ()
    references: Reference | None = None
    on_delete: str | None = None
    is_primary_key: bool = False


class ContractEntity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An entity as a manifest declares it."""

    entity_name: str
    fields: list[ContractField]


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """An app, its entities and their fields. Without a frontend there is no `url`.

    `dataContract` says the same as `entities`, as a manifest declares it. `managedBy` is `files`
    where the manifest is changed in the folder of a deploy.
    """

    id: str
    name: str
    version: str
    type: str
    icon: str | None
    has_frontend: bool = msgspec.field(name="hasFrontend")
    url: str | None
    entities: list[DescribedEntity]
    data_contract: list[ContractEntity] = msgspec.field(name="dataContract")
    managed_by: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="managedBy")


def summarize(app: App, page: Page) -> Summary:
    """Describe an app in a few words."""
    return Summary(
        id=app.id,
        name=app.name,
        version=app.version,
        type=app.type,
        icon=app.icon,
        has_frontend=page.has_frontend,
        url=page.url,
        entities=list(app.entities),
    )


def describe(app: App, page: Page) -> Described:
    """Describe an app to its users."""
    return Described(
        id=app.id,
        name=app.name,
        version=app.version,
        type=app.type,
        icon=app.icon,
        has_frontend=page.has_frontend,
        url=page.url,
        entities=[_describe_entity(entity) for entity in app.entities.values()],
        data_contract=[_declare_entity(entity) for entity in app.entities.values()],
        managed_by=msgspec.UNSET if app.managed_by is None else app.managed_by,
    )


def _describe_entity(entity: Entity) -> DescribedEntity:
    return DescribedEntity(
        name=entity.name,
        id_type=entity.id_type,
        id_declared=entity.id_declared,
        search=entity.search is not None,
        unique=entity.unique,
        fields=[_describe_field(field) for field in entity.fields],
        label=entity.label or msgspec.UNSET,
    )


def _describe_field(field: Field) -> DescribedField:
    target = None
    on_delete = None
    if field.references is not None:
        target = field.references.entity
        on_delete = field.on_delete
    max_size = msgspec.UNSET
    types = msgspec.UNSET
    if field.file is not None:
        max_size = field.file.max_size
        types = field.file.types
    return DescribedField(
        name=field.name,
        type=field.type,
        required=field.required,
        default=field.default,
        enum_values=field.enum_values,
        references=target,
        on_delete=on_delete,
        generated=field.generated is not None,
        access=field.access,
        max_size=max_size,
        types=types,
        **_describe_hints(field),
    )


def _declare_entity(entity: Entity) -> ContractEntity:
    fields: list[ContractField] = []
    if entity.id_declared:
        fields.append(ContractField(name="id", type=entity.id_type, is_primary_key=True))
    fields += [_declare_field(field) for field in entity.fields]
    return ContractEntity(entity_name=entity.name, fields=fields)


def _declare_field(field: Field) -> ContractField:
    return ContractField(
        name=field.name,
        type=field.type,
        required=field.required,
        default_value=field.default,
        enum_values=field.enum_values,
        references=field.references,
        on_delete=None if field.references is None else field.on_delete,
    )


def _describe_hints(field: Field) -> dict[str, Any]:
    """Return the hints that a field has."""
    if field.hints is None:
        return {}
    hints = msgspec.structs.asdict(field.hints)
    return {name: value for name, value in hints.items() if value}
