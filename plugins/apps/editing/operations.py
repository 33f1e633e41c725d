"""The small steps of which an edit of a manifest consists."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(max_length=63)]
Place = Annotated[int, Meta(ge=0, le=500)]
Members = dict[str, Any]


class Operation(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"
):
    """One step; `op` says which."""


class AddEntity(Operation, frozen=True, kw_only=True, tag="add_entity"):
    """Add an entity as a manifest declares it, as the last one or at a place."""

    entity: Members
    index: Place | None = None


class ChangeEntity(Operation, frozen=True, kw_only=True, tag="change_entity"):
    """Set members of an entity, such as `indexes` or `search`; null removes one."""

    entity: Name
    set: Members


class RenameEntity(Operation, frozen=True, kw_only=True, tag="rename_entity"):
    """Give an entity another name; links to it follow, and its table keeps its records."""

    entity: Name
    name: Name


class RemoveEntity(Operation, frozen=True, kw_only=True, tag="remove_entity"):
    """Remove an entity; its table is hidden and keeps its records until it is pruned."""

    entity: Name


class AddField(Operation, frozen=True, kw_only=True, tag="add_field"):
    """Add a field as a manifest declares it, as the last one or at a place."""

    entity: Name
    field: Members
    index: Place | None = None


class ChangeField(Operation, frozen=True, kw_only=True, tag="change_field"):
    """Set members of a field, such as `type` or `required`; null removes one."""

    entity: Name
    field: Name
    set: Members


class RenameField(Operation, frozen=True, kw_only=True, tag="rename_field"):
    """Give a field another name: it keeps its values, and indexes and expressions follow."""

    entity: Name
    field: Name
    name: Name


class SwapEntities(Operation, frozen=True, kw_only=True, tag="swap_entities"):
    """Let two entities exchange their names; links follow, and both keep their records."""

    entity: Name
    other: Name


class SwapFields(Operation, frozen=True, kw_only=True, tag="swap_fields"):
    """Let two fields of an entity exchange their names; both keep their values.

    Indexes, searches and expressions follow. Sections of plugins mean what has the name then.
    """

    entity: Name
    field: Name
    other: Name


class MoveField(Operation, frozen=True, kw_only=True, tag="move_field"):
    """Move a field to another place in the order of records and forms."""

    entity: Name
    field: Name
    index: Place


class RemoveField(Operation, frozen=True, kw_only=True, tag="remove_field"):
    """Remove a field; its column is hidden and keeps its values until it is pruned."""

    entity: Name
    field: Name


class SetMember(Operation, frozen=True, kw_only=True, tag="set"):
    """Set a member of the manifest, such as `name` or the section of a plugin; null removes it."""

    key: Annotated[str, Meta(min_length=1, max_length=63)]
    value: Any


AnyOperation = (
    AddEntity
    | ChangeEntity
    | RenameEntity
    | RemoveEntity
    | AddField
    | ChangeField
    | RenameField
    | SwapEntities
    | SwapFields
    | MoveField
    | RemoveField
    | SetMember
)


class Edit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Operations in order; with `dryRun` the reply says what they would change."""

    operations: Annotated[list[AnyOperation], Meta(min_length=1, max_length=200)]
    dry_run: bool = False
