"""The way back to a former manifest: what was renamed since takes its data along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from plugins.apps.models import Change

from .document import Document, add_former_name, fields_of, read_member

PREFIX: Final = "from "
"""Before the former name, in the detail of a rename."""


def restore(former: Mapping[str, Any], changes: Iterable[Change]) -> dict[str, Any]:
    """Return a former manifest that renames back what the changes since renamed, newest first."""
    document = Document(former)
    present_names = _find_present_names(changes)
    for entity in document.entities:
        name = read_member(entity, "entityName")
        present_entity = present_names.entities.get(name)
        if present_entity is not None:
            add_former_name(entity, present_entity, name)
        for field in fields_of(entity):
            present_field = present_names.fields.get((name, field.get("name")))
            if present_field is not None:
                add_former_name(field, present_field, field["name"])
    return document.manifest


class _PresentNames:
    """What entities and fields are called now, by their names at an earlier time."""

    def __init__(self) -> None:
        self.entities: dict[Any, str] = {}
        self.fields: dict[tuple[Any, Any], str] = {}

    def go_back(self, change: Change) -> None:
        """Go back beyond one change."""
        former = change.detail.removeprefix(PREFIX)
        if change.change_type == "rename_table":
            self.entities[former] = self.entities.pop(change.entity, change.entity)
            for entity, field in list(self.fields):
                if entity == change.entity:
                    self.fields[former, field] = self.fields.pop((entity, field))
        elif change.change_type == "rename_column" and change.column is not None:
            present = self.fields.pop((change.entity, change.column), change.column)
            self.fields[change.entity, former] = present


def _find_present_names(changes: Iterable[Change]) -> _PresentNames:
    """Return the present names by those before all changes, which begin with the newest."""
    names = _PresentNames()
    for change in changes:
        names.go_back(change)
    return names
