"""Checks the access rules of fields, and the search declaration of an entity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from kernel.public import Field, FieldAccess, Search, SearchField

from .problems import Part

LANGUAGES: Final = (
    "simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish",
    "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian",
    "lithuanian", "nepali", "norwegian", "portuguese", "romanian", "russian", "serbian", "spanish",
    "swedish", "tamil", "turkish", "yiddish",
)  # fmt: skip
"""Configurations of every PostgreSQL since 14."""

WEIGHTS: Final = ("A", "B", "C", "D")
SEARCH_COLUMN: Final = "_search"
MAX_CLASSES: Final = 10
"""Columns for the words of a search; the audit trail leaves out those of these names."""


def read_access(part: Part) -> FieldAccess | None:
    """Read `access`: roles by text or list for `read` and `write`; report what is wrong."""
    inner = part.part("access")
    if inner is None:
        return None
    found = FieldAccess(read=_roles(inner, "read"), write=_roles(inner, "write"))
    for path in inner.unread():
        part.problem("access", f"{path.rpartition('.')[2]!r} is not known; known are read, write")
    return None if found == FieldAccess() else found


def _roles(part: Part, name: str) -> tuple[str, ...] | None:
    given = part.get(name)
    if given is None:
        return None
    roles = cast("list[Any]", given) if isinstance(given, list) else [given]
    if not all(isinstance(role, str) and 0 < len(role) <= 64 for role in roles):
        part.problem(name, "must be the name of a role, or a list of them")
        return ()
    return tuple(dict.fromkeys(cast("list[str]", roles)))


def read_search(part: Part, fields: Mapping[str, Field]) -> Search | None:
    """Read `search` of an entity; report what is wrong."""
    inner = part.part("search")
    if inner is None:
        return None
    language = inner.text("language", "simple")
    if language not in LANGUAGES:
        inner.problem("language", f"must be one of {', '.join(LANGUAGES)}")
    weights: dict[str, str] = {}
    for index, item in enumerate(inner.items("fields", 50)):
        name, weight = _searched(item)
        if problem := _problem(name, weight, fields) or (
            f"{name!r} is named twice" if name in weights else ""
        ):
            inner.problem(f"fields[{index}]", problem)
        else:
            weights[name] = weight
    if not weights:
        inner.problem("fields", "must name at least one field")
    classes = {name: _guarded_by(fields, fields[name]) for name in weights}
    columns = {guards: place for place, guards in enumerate(sorted({(), *classes.values()}))}
    if len(columns) > MAX_CLASSES:
        inner.problem("fields", f"have more than {MAX_CLASSES} sets of permissions to read them")
    return Search(
        language,
        tuple(
            SearchField(name, weight, SEARCH_COLUMN + _number(columns[classes[name]]))
            for name, weight in weights.items()
        ),
    )


def _searched(item: object) -> tuple[str, str]:
    """Return name and weight, as texts; an item is a name or an object with both."""
    if isinstance(item, dict):
        named = cast("dict[str, object]", item)
        return str(named.get("name")), str(named.get("weight", "D"))
    return str(item), "D"


def _problem(name: str, weight: str, fields: Mapping[str, Field]) -> str:
    if (field := fields.get(name)) is None:
        return f"there is no field {name[:80]!r}"
    if field.sql_type != "text" or field.references:
        return "only fields of type text are searched"
    return "" if weight in WEIGHTS else f"weight must be one of {', '.join(WEIGHTS)}"


def _guarded_by(fields: Mapping[str, Field], field: Field) -> tuple[str, ...]:
    """Return the fields whose permission is needed to read a field, or none."""
    return tuple(
        name
        for name in sorted({field.name, *field.sources})
        if (access := fields[name].access) is not None and access.read is not None
    )


def _number(place: int) -> str:
    """Name the column for the words of a class of access; the first has no number."""
    return f"_{place}" if place else ""
