"""Follows what an install renames."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any, Final, TypeVar, cast

import msgspec

from kernel.contracts.apps import InstallPlan, Renamed
from kernel.toolkit.saved.links import LinkQuery

Q = TypeVar("Q", bound=LinkQuery)

ACTIONS: Final = ("create", "read", "update", "delete", "*")
"""What may follow the name of an entity in a permission key."""
GROUPS: Final = ("$and", "$or")
"""Members of where-trees that hold others."""
REVERSE: Final = "_via_"
"""What is between the names of an entity and of its field that links here."""


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


class PresentNames:
    """The names of an app before and after an install."""

    def __init__(self, plan: InstallPlan) -> None:
        self._app = plan.app
        self._entities: dict[str, str] = {}
        self._fields: dict[str, dict[str, str]] = {}
        for name in plan.renamed:
            if name.field is None:
                _add_rename(self._entities, name.former, name.entity)
            else:
                _add_rename(self._fields.setdefault(name.entity, {}), name.former, name.field)

    def entity(self, former: str) -> str:
        """Return what an entity is called now."""
        return self._entities.get(former, former)

    def field(self, entity: str, former: str) -> str:
        """Return what a field is called now; `entity` is the present name."""
        return self._fields.get(entity, {}).get(former, former)

    def path(self, entity: str, former: str) -> str:
        """Return what a path of links and a field is called now, as `customer_id.name`."""
        present: list[str] = []
        current = entity
        for former_name in former.split("."):
            name = self.field(current, former_name)
            target = self.target(current, name)
            if REVERSE in former_name and not target:
                former_source, _, link = former_name.partition(REVERSE)
                target = self.entity(former_source)
                name = f"{target}{REVERSE}{self.field(target, link)}"
            present.append(name)
            current = target
        return ".".join(present)

    def target(self, entity: str, field: str) -> str:
        """Return the entity that a link leads to, empty for another field; names are present."""
        described = self._app.entities.get(entity)
        for candidate in () if described is None else described.fields:
            if candidate.name == field and candidate.references is not None:
                return candidate.references.entity
        return ""


def _add_rename(present_names: dict[str, str], former: str, name: str) -> None:
    """Add one more rename: names that are swapped have others for a moment in between."""
    for first, present_name in present_names.items():
        if present_name == former:
            present_names[first] = name
            return
    present_names[former] = name


def rename_where(tree: Any, entity: str, names: PresentNames) -> Any:
    """Return a where-tree with present names, those of linked records as well."""
    if not isinstance(tree, dict):
        return tree
    renamed: dict[str, Any] = {}
    for key, condition in cast("dict[str, Any]", tree).items():
        if key in GROUPS and isinstance(condition, list):
            branches = cast("list[Any]", condition)
            renamed[key] = [rename_where(branch, entity, names) for branch in branches]
        elif key == "$not":
            renamed[key] = rename_where(condition, entity, names)
        elif REVERSE in key and not names.target(entity, names.field(entity, key)):
            former_source, _, link = key.partition(REVERSE)
            source = names.entity(former_source)
            present_key = f"{source}{REVERSE}{names.field(source, link)}"
            renamed[present_key] = _rename_linked(condition, source, names)
        elif "." in key:
            renamed[names.path(entity, key)] = condition
        else:
            field = names.field(entity, key)
            renamed[field] = _rename_linked(condition, names.target(entity, field), names)
    return renamed


def _rename_linked(condition: Any, entity: str, names: PresentNames) -> Any:
    """Return a condition whose trees of linked records have present names."""
    if not entity:
        return condition
    if not isinstance(condition, dict):
        return condition
    return {
        operator: rename_where(tree, entity, names) if operator.startswith("$") else tree
        for operator, tree in cast("dict[str, Any]", condition).items()
    }


def rename_link_query(
    query: Q, entity: str, names: PresentNames, own_names: Container[str] = ()
) -> Q:
    """Return what a link shows of an entity with present names; `own_names` are the query's."""
    changes: dict[str, Any] = {"where": rename_where(query.where, entity, names)}
    if query.order_by is not None and query.order_by not in own_names:
        changes["order_by"] = names.path(entity, query.order_by)
    if query.then_by is not None:
        changes["then_by"] = [
            {names.path(entity, field): order for field, order in item.items()}
            for item in query.then_by
        ]
    if query.fields is not None:
        changes["fields"] = [names.path(entity, field) for field in query.fields]
    return msgspec.structs.replace(query, **changes)
