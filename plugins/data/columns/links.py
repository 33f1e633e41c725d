"""The ways from an entity to others."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from kernel.public import App, Entity


class Link(msgspec.Struct, frozen=True):
    """A way from an entity to another one: by its own link, or by links to it (`reverse`).

    `column` is the link's field, of this entity or of the other one.
    """

    entity: str
    column: str
    reverse: bool = False


def links_of(app: App, entity: Entity, hidden: Collection[str] = ()) -> dict[str, Link]:
    """Find the links from an entity and those to it; a field takes precedence over a link to it.

    `hidden` are fields of the entity that do not exist for the caller.
    """
    links: dict[str, Link] = {}
    for other in app.entities.values():
        for field in other.fields:
            leads_here = field.references is not None and field.references.entity == entity.name
            is_hidden = other.name == entity.name and field.name in hidden
            if leads_here and not is_hidden:
                name = f"{other.name}_via_{field.name}"
                links[name] = Link(other.name, field.name, reverse=True)
    for field in entity.fields:
        links.pop(field.name, None)
        if field.references is not None and field.name not in hidden:
            links[field.name] = Link(field.references.entity, field.name)
    return links
