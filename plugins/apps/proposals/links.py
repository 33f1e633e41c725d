"""Finds links between files: a column whose values are all keys of another file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kernel.public import Sheet, SheetColumn

from .models import ProposedLink

LINKING: Final = ("text", "integer", "enum", "uuid")
"""Kinds of columns that may name records of another file."""


def find_links(sheets: Sequence[Sheet]) -> dict[tuple[str, str], ProposedLink]:
    """Return the links by entity and field: one for a field, to the key that its name says best."""
    links: dict[tuple[str, str], ProposedLink] = {}
    for sheet in sheets:
        for column in sheet.columns:
            for target, key in _list_keys(sheets, sheet, column):
                links.setdefault(
                    (sheet.entity, column.name),
                    ProposedLink(
                        entity=sheet.entity,
                        field=column.name,
                        target=target.entity,
                        key=key.name,
                        why=(
                            f"every value is the {key.name} of a row of {target.source}, and no "
                            "two rows there have the same"
                        ),
                    ),
                )
    return links


def _list_keys(
    sheets: Sequence[Sheet], sheet: Sheet, column: SheetColumn
) -> Iterator[tuple[Sheet, SheetColumn]]:
    """Yield the keys that a column may name, those of other files first."""
    if column.kind not in LINKING or not column.filled:
        return
    for target in sorted(sheets, key=lambda other: other is sheet):
        for key in target.columns:
            is_itself = key is column
            is_key = key.is_unique and key.filled == target.rows and key.kind in LINKING
            if is_itself or not is_key or not _fits_name(column.name, target.entity, key.name):
                continue
            if column.is_within(key):
                yield target, key


def _fits_name(name: str, entity: str, key: str) -> bool:
    """Whether the name of a column says that it names records of an entity by a key."""
    stems = {entity, singular_of(entity)}
    fitting_names = {*stems, *(f"{stem}_{key}" for stem in stems)}
    if key == "id":
        fitting_names |= {f"{stem}_{word}" for stem in stems for word in ("no", "number", "ref")}
    elif any(key.startswith(f"{stem}_") for stem in stems):
        # `orders.customer_id` and `customers.customer_id` are the same key.
        fitting_names.add(key)
    return name in fitting_names


def singular_of(entity: str) -> str:
    """Return the singular of an English plural, as far as its end shows it."""
    if entity.endswith("ies"):
        return f"{entity[:-3]}y"
    for end in ("sses", "xes", "ches", "shes"):
        if entity.endswith(end):
            return entity[:-2]
    return entity.removesuffix("s")
