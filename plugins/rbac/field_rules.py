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
    return [rule for entity in app.entities.values() for rule in _rules(entity)]


def _rules(entity: Entity) -> Iterator[FieldRule]:
    guarded = {field.name for field in entity.fields if field.access is not None}
    for field in entity.fields:
        sources = [name for name in field.sources if name in guarded]
        if field.access is None and not sources:
            continue
        read, write = (field.access.read, field.access.write) if field.access else (None, None)
        yield FieldRule(
            entity=entity.name,
            field=field.name,
            read=None if read is None else list(read),
            write=None if write is None else list(write),
            sources=sources,
        )


def permissions_of_fields(rules: Iterable[FieldRule]) -> list[Permission]:
    """List the permission keys that rules make."""
    found: list[Permission] = []
    for rule in rules:
        for action, roles in (("read", rule.read), ("write", rule.write)):
            if roles is not None:
                words = f"{action.capitalize()} {rule.field} of {rule.entity}"
                found.append(Permission(f"{rule.entity}.{rule.field}.{action}", words))
    return found


def with_field_keys(roles: Mapping[str, Role], rules: Iterable[FieldRule]) -> dict[str, Role]:
    """Return the roles with the keys that rules give them by name."""
    more: dict[str, list[str]] = {}
    for rule in rules:
        for action, named in (("read", rule.read), ("write", rule.write)):
            for name in named or ():
                more.setdefault(name, []).append(f"{rule.entity}.{rule.field}.{action}")
    return {
        name: msgspec.structs.replace(role, permissions=[*role.permissions, *more.get(name, ())])
        for name, role in roles.items()
    }


def narrowed(grant: Grant, rules: Sequence[FieldRule], holds: Callable[[str], bool]) -> Grant:
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
