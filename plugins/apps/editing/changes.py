"""Makes the next manifest from operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from kernel.public import BadRequest
from plugins.apps.renaming.steps import rename_operands

from .document import (
    Document,
    Object,
    add_former_name,
    continue_history,
    fields_of,
    insert,
    list_of,
    read_member,
    reference_of,
    set_members,
)
from .operations import (
    AddEntity,
    AddField,
    AnyOperation,
    ChangeEntity,
    ChangeField,
    MoveField,
    RemoveEntity,
    RemoveField,
    RenameEntity,
    RenameField,
    SetMember,
    SwapEntities,
    SwapFields,
)

OF_EDITS: Final = ("appId", "app_id", "dataContract", "data_contract")
"""Members that `set` does not change: the app stays the same, and entities have operations."""


def apply_operations(
    manifest: Mapping[str, Any], operations: Sequence[AnyOperation]
) -> dict[str, Any]:
    """Return the manifest after all operations. Raises BadRequest with the path of one."""
    document = Document(manifest)
    for number, operation in enumerate(operations):
        apply = APPLY[type(operation)]
        apply(document, operation, f"operations[{number}]")
    return document.manifest


def _add_entity(document: Document, operation: AddEntity, path: str) -> None:
    name = read_member(operation.entity, "entityName")
    _refuse_taken(document, name, f"{path}.entity.entityName")
    insert(document.entities, dict(operation.entity), operation.index)


def _change_entity(document: Document, operation: ChangeEntity, path: str) -> None:
    entity = document.entity(operation.entity, f"{path}.entity")
    for name in ("entityName", "entity_name", "fields"):
        if name in operation.set:
            raise BadRequest(f"{path}.set.{name}: has operations of its own")
    set_members(entity, operation.set)


def _rename_entity(document: Document, operation: RenameEntity, path: str) -> None:
    entity = document.entity(operation.entity, f"{path}.entity")
    former = operation.entity
    if former == operation.name:
        return
    _refuse_taken(document, operation.name, f"{path}.name")
    for _, field in document.links_to(former):
        reference_of(field)["entity"] = operation.name
    set_members(entity, {"entityName": operation.name})
    add_former_name(entity, former, operation.name)


def _remove_entity(document: Document, operation: RemoveEntity, path: str) -> None:
    entity = document.entity(operation.entity, f"{path}.entity")
    links = [
        f"{read_member(owner, 'entityName')}.{field.get('name')}"
        for owner, field in document.links_to(operation.entity)
        if owner is not entity
    ]
    if links:
        raise BadRequest(
            f"{path}.entity: {', '.join(links)} link to {operation.entity!r}; remove these first"
        )
    document.entities.remove(entity)


def _add_field(document: Document, operation: AddField, path: str) -> None:
    entity = document.entity(operation.entity, f"{path}.entity")
    _refuse_taken_field(entity, operation.field.get("name"), f"{path}.field.name")
    insert(fields_of(entity), dict(operation.field), operation.index)


def _change_field(document: Document, operation: ChangeField, path: str) -> None:
    entity = document.entity(operation.entity, f"{path}.entity")
    field = document.field(entity, operation.field, f"{path}.field")
    if "name" in operation.set:
        raise BadRequest(f"{path}.set.name: a field is renamed by rename_field")
    set_members(field, operation.set)


def _rename_field(document: Document, operation: RenameField, path: str) -> None:
    entity = document.entity(operation.entity, f"{path}.entity")
    field = document.field(entity, operation.field, f"{path}.field")
    former = operation.field
    if former == operation.name:
        return
    _refuse_taken_field(entity, operation.name, f"{path}.name")
    field["name"] = operation.name
    add_former_name(field, former, operation.name)
    _follow_fields(entity, {former: operation.name})


def _follow_fields(entity: Object, names: Mapping[str, str]) -> None:
    """Give what names fields of their own entity the new names."""
    for index in _list_indexes(entity):
        index["columns"] = [_rename_column(column, names) for column in index.get("columns", ())]
    for number, searched in enumerate(_list_searched(entity)):
        _list_searched(entity)[number] = _rename_searched(searched, names)
    for other in fields_of(entity):
        if other.get("generated") is not None:
            other["generated"] = rename_operands(other["generated"], names)


def _swap_entities(document: Document, operation: SwapEntities, path: str) -> None:
    entity = document.entity(operation.entity, f"{path}.entity")
    other = document.entity(operation.other, f"{path}.other")
    if entity is other:
        raise BadRequest(f"{path}.other: is the same entity")
    links = [reference_of(field) for _, field in document.links_to(operation.entity)]
    other_links = [reference_of(field) for _, field in document.links_to(operation.other)]
    for references, name in ((links, operation.other), (other_links, operation.entity)):
        for reference in references:
            reference["entity"] = name
    set_members(entity, {"entityName": operation.other})
    set_members(other, {"entityName": operation.entity})
    continue_history(entity, operation.entity)
    continue_history(other, operation.other)


def _swap_fields(document: Document, operation: SwapFields, path: str) -> None:
    entity = document.entity(operation.entity, f"{path}.entity")
    field = document.field(entity, operation.field, f"{path}.field")
    other = document.field(entity, operation.other, f"{path}.other")
    if field is other:
        raise BadRequest(f"{path}.other: is the same field")
    field["name"] = operation.other
    other["name"] = operation.field
    continue_history(field, operation.field)
    continue_history(other, operation.other)
    _follow_fields(entity, {operation.field: operation.other, operation.other: operation.field})


def _name_of_column(column: Any) -> Any:
    """Return the field in `columns` of an index: a name, or an object with one."""
    if isinstance(column, dict):
        return cast("Object", column).get("column")
    return column


def _rename_column(column: Any, names: Mapping[str, str]) -> Any:
    """Return a column of an index under its new name; the text of an expression stays."""
    if not isinstance(column, dict):
        return names.get(column, column)
    member = cast("Object", column)
    name = member.get("column")
    if isinstance(name, str) and name in names:
        return {**member, "column": names[name]}
    return member


def _rename_searched(searched: Any, names: Mapping[str, str]) -> Any:
    """Return a field of a search, which is a name or an object with one, under its new name."""
    if isinstance(searched, str):
        return names.get(searched, searched)
    member = cast("Object", searched)
    return {**member, "name": names.get(str(member.get("name")), member.get("name"))}


def _move_field(document: Document, operation: MoveField, path: str) -> None:
    entity = document.entity(operation.entity, f"{path}.entity")
    field = document.field(entity, operation.field, f"{path}.field")
    fields = fields_of(entity)
    fields.remove(field)
    fields.insert(operation.index, field)


def _remove_field(document: Document, operation: RemoveField, path: str) -> None:
    """Remove a field, and what names it: indexes, and its place in the search."""
    entity = document.entity(operation.entity, f"{path}.entity")
    field = document.field(entity, operation.field, f"{path}.field")
    fields_of(entity).remove(field)
    for index in list(_list_indexes(entity)):
        columns = [_name_of_column(column) for column in index.get("columns", ())]
        if operation.field in columns:
            list_of(entity, "indexes").remove(index)
    searched = _list_searched(entity)
    for item in list(searched):
        name = item
        if isinstance(item, dict):
            name = cast("Object", item).get("name")
        if name == operation.field:
            searched.remove(item)
    if entity.get("search") and not searched:
        del entity["search"]


def _set_member(document: Document, operation: SetMember, path: str) -> None:
    if operation.key in OF_EDITS:
        raise BadRequest(f"{path}.key: {operation.key!r} is not changed by set")
    set_members(document.manifest, {operation.key: operation.value})


def _list_indexes(entity: Object) -> list[Object]:
    if entity.get("indexes") is None:
        return []
    return list_of(entity, "indexes")


def _list_searched(entity: Object) -> list[Any]:
    search = entity.get("search")
    if not isinstance(search, dict):
        return []
    return cast("list[Any]", list_of(cast("Object", search), "fields"))


def _refuse_taken(document: Document, name: object, path: str) -> None:
    if any(read_member(entity, "entityName") == name for entity in document.entities):
        raise BadRequest(f"{path}: the manifest has an entity {name!r} already")


def _refuse_taken_field(entity: Object, name: object, path: str) -> None:
    if any(field.get("name") == name for field in fields_of(entity)):
        raise BadRequest(f"{path}: the entity has a field {name!r} already")


APPLY: Final[Mapping[type, Callable[[Document, Any, str], None]]] = {
    AddEntity: _add_entity,
    ChangeEntity: _change_entity,
    RenameEntity: _rename_entity,
    RemoveEntity: _remove_entity,
    AddField: _add_field,
    ChangeField: _change_field,
    RenameField: _rename_field,
    SwapEntities: _swap_entities,
    SwapFields: _swap_fields,
    MoveField: _move_field,
    RemoveField: _remove_field,
    SetMember: _set_member,
}
