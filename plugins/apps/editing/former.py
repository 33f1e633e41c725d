"""The way back to a former manifest: what was renamed since takes its data along."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from plugins.apps.models import Change

from .document import (
    Document,
    Object,
    add_former_name,
    continue_history,
    fields_of,
    read_history,
    read_member,
)

PREFIX: Final = "from "
"""Before the former name, in the detail of a rename."""


def restore(
    former: Mapping[str, Any], present: Mapping[str, Any], steps: Iterable[Sequence[Change]]
) -> dict[str, Any]:
    """Return a former manifest that renames back what was renamed since.

    `present` is the manifest that is installed, `steps` are the changes of each install since, the
    newest first.
    """
    document = Document(former)
    installed = Document(present)
    present_names = _find_present_names(steps)
    entity_names = {read_member(entity, "entityName") for entity in document.entities}
    for entity in document.entities:
        name = read_member(entity, "entityName")
        present_entity = present_names.entities.get(name)
        now = _find_entity(installed, present_entity or name)
        if present_entity is not None and present_entity != name:
            _rename_back(entity, now, present_entity, name, entity_names)
        field_names = {field.get("name") for field in fields_of(entity)}
        for field in fields_of(entity):
            present_field = present_names.fields.get((name, field.get("name")))
            if present_field is not None and present_field != field.get("name"):
                field_now = _find_field(now, present_field)
                _rename_back(field, field_now, present_field, field["name"], field_names)
    return document.manifest


def _rename_back(
    owner: Object, now: Object, present_name: str, name: str, declared: Collection[Any]
) -> None:
    """Note the present name in `was`; what others take over needs its whole history."""
    if present_name in declared:
        owner["was"] = read_history(now)
        continue_history(owner, present_name)
    else:
        add_former_name(owner, present_name, name)


def _find_entity(document: Document, name: Any) -> Object:
    for entity in document.entities:
        if read_member(entity, "entityName") == name:
            return entity
    return {}


def _find_field(entity: Object, name: Any) -> Object:
    for field in fields_of(entity) if entity else ():
        if field.get("name") == name:
            return field
    return {}


class _PresentNames:
    """What entities and fields are called now, by their names at an earlier time."""

    def __init__(self) -> None:
        self.entities: dict[Any, str] = {}
        self.fields: dict[tuple[Any, Any], str] = {}

    def go_back(self, changes: Sequence[Change]) -> None:
        """Go back beyond one install; what it renamed got its name at once."""
        fields: dict[tuple[Any, Any], str] = {}
        for change in changes:
            if change.change_type == "rename_column" and change.column is not None:
                present = self.fields.pop((change.entity, change.column), change.column)
                fields[change.entity, _read_former(change)] = present
        self.fields |= fields

        formers = {
            change.entity: _read_former(change)
            for change in changes
            if change.change_type == "rename_table"
        }
        entities = {former: self.entities.pop(name, name) for name, former in formers.items()}
        self.entities |= entities
        self.fields = {
            (formers.get(entity, entity), field): present
            for (entity, field), present in self.fields.items()
        }


def _read_former(change: Change) -> str:
    return change.detail.removeprefix(PREFIX)


def _find_present_names(steps: Iterable[Sequence[Change]]) -> _PresentNames:
    """Return the present names by those before all steps, which begin with the newest."""
    names = _PresentNames()
    for changes in steps:
        names.go_back(changes)
    return names
