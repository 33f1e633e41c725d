"""Follows what an install renames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kernel.contracts.apps import InstallPlan, Renamed

ACTIONS: Final = ("create", "read", "update", "delete", "*")
"""What may follow the name of an entity in a permission key."""


def rename_keys(plan: InstallPlan, keys: Iterable[str]) -> list[str]:
    """Return permission keys of an app as they are called after an install, each once.

    Keys that the manifest declares itself stay: `contacts.export` is no key of an entity.
    """
    declared_keys = [permission.key for permission in plan.app.permissions]
    names: list[str] = []
    for key in keys:
        names.append(_rename_key(key, plan.renamed))
        # A wildcard goes on covering declared keys that begin with the former name.
        if key.endswith(".*") and any(name.startswith(key[:-1]) for name in declared_keys):
            names.append(key)
    return list(dict.fromkeys(names))


def _rename_key(key: str, renamed: Iterable[Renamed]) -> str:
    """Return a key such as `contacts.read.own` or `contacts.email.write` by the present names."""
    entity, *words = key.split(".")
    is_of_field = len(words) == 2 and words[1] in ("read", "write")
    if not words or not (words[0] in ACTIONS or is_of_field):
        return key
    for name in renamed:
        if name.field is None and name.former == entity:
            entity = name.entity
        elif is_of_field and name.field and (name.entity, name.former) == (entity, words[0]):
            words[0] = name.field
    return ".".join([entity, *words])
