"""Fields with permissions of their own: who holds them, and what a set of permissions allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from kernel.public import App, Entity, Grant, Permission, Role


class FieldRule(msgspec.Struct, frozen=True, kw_only=True):
    """A field whose value some callers may not read or write; None where no permission is needed.

    A field that is generated from others needs the permissions of its `sources`.
    """

    entity: str
    field: str
    read: list[str] | None = None
    write: list[str] | None = None
    sources: list[str] = []


def rules_of(app: App) -> list[FieldRule]:
    """Return the rules of an app's fields, in the order of its entities."""
    return [rule for entity in app.entities.values() for rule in _list_rules(entity)]


def _list_rules(entity: Entity) -> Iterator[FieldRule]:
    guarded = {field.name for field in entity.fields if field.access is not None}
    for field in entity.fields:
        sources = [name for name in field.sources if name in guarded]
        if field.access is None and not sources:
            continue
        readers: list[str] | None = None
        writers: list[str] | None = None
        if field.access is not None:
            readers = _copy_roles(field.access.read)
            writers = _copy_roles(field.access.write)
        yield FieldRule(
            entity=entity.name, field=field.name, read=readers, write=writers, sources=sources
        )


def _copy_roles(roles: Sequence[str] | None) -> list[str] | None:
    return None if roles is None else list(roles)


def permissions_of_fields(rules: Iterable[FieldRule]) -> list[Permission]:
    """List the permission keys that rules make."""
    permissions: list[Permission] = []
    for rule in rules:
        for action, roles in (("read", rule.read), ("write", rule.write)):
            if roles is not None:
                description = f"{action.capitalize()} {rule.field} of {rule.entity}"
                permissions.append(Permission(f"{rule.entity}.{rule.field}.{action}", description))
    return permissions


def add_field_keys(roles: Mapping[str, Role], rules: Iterable[FieldRule]) -> dict[str, Role]:
    """Return the roles with the keys that rules give them by name."""
    field_keys: dict[str, list[str]] = {}
    for rule in rules:
        for action, role_names in (("read", rule.read), ("write", rule.write)):
            for name in role_names or ():
                field_keys.setdefault(name, []).append(f"{rule.entity}.{rule.field}.{action}")

    extended: dict[str, Role] = {}
    for name, role in roles.items():
        permissions = [*role.permissions, *field_keys.get(name, ())]
        extended[name] = msgspec.structs.replace(role, permissions=permissions)
    return extended


def narrow(grant: Grant, rules: Sequence[FieldRule], holds: Callable[[str], bool]) -> Grant:
    """Return a grant without the fields that its holder may not read or write."""
    hidden = {rule.field for rule in rules if not _holds(rule, "read", rule.read, holds)}
    hidden |= {rule.field for rule in rules if not hidden.isdisjoint(rule.sources)}
    locked = {rule.field for rule in rules if not _holds(rule, "write", rule.write, holds)}
    if not (hidden or locked):
        return grant
    return msgspec.structs.replace(grant, hidden=frozenset(hidden), locked=frozenset(locked))


def _holds(
    rule: FieldRule, action: str, roles: Sequence[str] | None, holds: Callable[[str], bool]
) -> bool:
    return roles is None or holds(f"{rule.entity}.{rule.field}.{action}")
