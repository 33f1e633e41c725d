"""The former names that a stored manifest has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def read_former_names(manifest: bytes) -> dict[str, Sequence[str]]:
    """Return `was` of each entity by its name, and of each field by `entity.field`."""
    raw = _decode(manifest)
    former_names: dict[str, Sequence[str]] = {}
    for entity in _list_objects(raw, "dataContract", "data_contract"):
        name = entity.get("entityName", entity.get("entity_name"))
        former_names[str(name)] = _list_names(entity)
        for field in _list_objects(entity, "fields"):
            former_names[f"{name}.{field.get('name')}"] = _list_names(field)
    return former_names


def _list_objects(owner: Mapping[str, Any], *keys: str) -> list[Mapping[str, Any]]:
    for key in keys:
        if isinstance(owner.get(key), list):
            return cast("list[Mapping[str, Any]]", owner[key])
    return []


def _list_names(owner: Mapping[str, Any]) -> list[str]:
    was: Any = owner.get("was") or []
    if isinstance(was, str):
        return [was]
    return cast("list[str]", was)
