"""Checks the access rules of fields, and the search declaration of an entity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    access = FieldAccess(read=_read_roles(inner, "read"), write=_read_roles(inner, "write"))
    for path in inner.unread():
        member = path.rpartition(".")[2]
        part.problem("access", f"{member!r} is not known; known are read, write")
    if access == FieldAccess():
        return None
    return access


def _read_roles(part: Part, name: str) -> tuple[str, ...] | None:
    value = part.get(name)
    if value is None:
        return None
    roles: list[Any] = [value]
    if isinstance(value, list):
        roles = cast("list[Any]", value)
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
        name, weight = _read_searched(item)
        problem = _find_problem(name, weight, fields)
        if not problem and name in weights:
            problem = f"{name!r} is named twice"
        if problem:
            inner.problem(f"fields[{index}]", problem)
        else:
            weights[name] = weight
    if not weights:
        inner.problem("fields", "must name at least one field")

    columns = _assign_columns(weights, fields)
    if len({SEARCH_COLUMN, *columns.values()}) > MAX_CLASSES:
        inner.problem("fields", f"have more than {MAX_CLASSES} sets of permissions to read them")
    searched = [SearchField(name, weight, columns[name]) for name, weight in weights.items()]
    return Search(language, tuple(searched))


def _read_searched(item: object) -> tuple[str, str]:
    """Return name and weight, as texts; an item is a name or an object with both."""
    if isinstance(item, dict):
        members = cast("dict[str, object]", item)
        return str(members.get("name")), str(members.get("weight", "D"))
    return str(item), "D"


def _find_problem(name: str, weight: str, fields: Mapping[str, Field]) -> str:
    field = fields.get(name)
    if field is None:
        return f"there is no field {name[:80]!r}"
    if field.sql_type != "text" or field.references:
        return "only fields of type text are searched"
    if weight not in WEIGHTS:
        return f"weight must be one of {', '.join(WEIGHTS)}"
    return ""


def _assign_columns(names: Iterable[str], fields: Mapping[str, Field]) -> dict[str, str]:
    """Return the column for the words of each field.

    Fields that the same callers may read share a column. That of fields without rules has no
    number.
    """
    guards = {name: _find_guards(fields, fields[name]) for name in names}
    columns: dict[tuple[str, ...], str] = {}
    for number, guarding_fields in enumerate(sorted({(), *guards.values()})):
        suffix = f"_{number}" if number else ""
        columns[guarding_fields] = SEARCH_COLUMN + suffix
    return {name: columns[guarding_fields] for name, guarding_fields in guards.items()}


def _find_guards(fields: Mapping[str, Field], field: Field) -> tuple[str, ...]:
    """Return the fields whose permission is needed to read a field, or none."""
    guards: list[str] = []
    for name in sorted({field.name, *field.sources}):
        access = fields[name].access
        if access is not None and access.read is not None:
            guards.append(name)
    return tuple(guards)
