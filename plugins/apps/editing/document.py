"""The text of a manifest while it is edited: what its author wrote stays as it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from kernel.public import BadRequest

Object = dict[str, Any]


class Document:
    """A copy of a manifest that operations change. Spellings of its members are kept."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.manifest: Object = msgspec.json.decode(msgspec.json.encode(manifest))

    @property
    def entities(self) -> list[Object]:
        """The list of entities; an empty one is added where it is missing."""
        return list_of(self.manifest, "dataContract")

    def entity(self, name: str, path: str) -> Object:
        """Return an entity. Raises BadRequest."""
        for entity in self.entities:
            if read_member(entity, "entityName") == name:
                return entity
        raise BadRequest(f"{path}: the manifest has no entity {name!r}")

    def field(self, entity: Object, name: str, path: str) -> Object:
        """Return a field of an entity. Raises BadRequest."""
        for field in fields_of(entity):
            if field.get("name") == name:
                return field
        entity_name = read_member(entity, "entityName")
        raise BadRequest(f"{path}: {entity_name!r} has no field {name!r}")

    def links_to(self, name: str) -> Iterator[tuple[Object, Object]]:
        """Yield each link to an entity, with the entity that has it."""
        for entity in self.entities:
            for field in fields_of(entity):
                reference = field.get("references")
                if isinstance(reference, dict) and reference_of(field).get("entity") == name:
                    yield entity, field


def fields_of(entity: Object) -> list[Object]:
    """Return the fields of an entity; an empty list is added where it is missing."""
    return list_of(entity, "fields")


def reference_of(field: Object) -> Object:
    """Return what a link names."""
    return cast("Object", field["references"])


def list_of(owner: Object, name: str) -> list[Object]:
    """Return a list of objects; an empty one is added where it is missing."""
    key = spell(owner, name)
    if not isinstance(owner.get(key), list):
        owner[key] = []
    return cast("list[Object]", owner[key])


def read_member(owner: Mapping[str, Any], name: str) -> Any:
    """Return a member under either spelling."""
    return owner.get(spell(owner, name))


def spell(owner: Mapping[str, Any], name: str) -> str:
    """Return how a member is spelt: `enumValues` or `enum_values`, as it is there already."""
    if name in owner:
        return name
    for spelling in (_to_camel(name), _to_snake(name)):
        if spelling in owner:
            return spelling
    return name


def set_members(owner: Object, members: Mapping[str, Any]) -> None:
    """Set members; null removes one."""
    for name, value in members.items():
        key = spell(owner, name)
        if value is None:
            owner.pop(key, None)
        else:
            owner[key] = value


def insert(items: list[Object], item: Object, index: int | None) -> None:
    """Insert an item at a place, or as the last one."""
    items.insert(len(items) if index is None else index, item)


MAX_FORMER_NAMES: Final = 50


def add_former_name(owner: Object, former: str, name: str) -> None:
    """Note in `was` that something was called otherwise; its present name is not among these."""
    names = read_history(owner)
    other_names = [other for other in names if other not in (former, name)]
    owner["was"] = [former, *other_names][:MAX_FORMER_NAMES]


def continue_history(owner: Object, former: str) -> None:
    """Note in `was` what had its name until now, and keep what is noted there.

    Its whole history distinguishes a thing from another one that takes its name.
    """
    owner["was"] = [former, *read_history(owner)][:MAX_FORMER_NAMES]


def read_history(owner: Object) -> list[str]:
    """Return `was`, which is a name or a list of names."""
    was: Any = owner.get("was") or []
    if isinstance(was, str):
        return [was]
    return list(cast("Sequence[str]", was))


def _to_camel(name: str) -> str:
    first, *words = name.split("_")
    return first + "".join(word.capitalize() for word in words)


def _to_snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
