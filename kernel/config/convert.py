"""Checks a table of the configuration against its Struct; an error says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing import parent_process
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import structlog
from msgspec import Meta

from kernel.errors import BootError, BootErrors, nearest

S = TypeVar("S", bound=msgspec.Struct)

log = structlog.get_logger("caudex.config")


def convert(
    table: Mapping[str, object],
    into: type[S],
    where: str,
    variables: Mapping[str, str],
    also: Sequence[str] = (),
) -> S:
    """Check a table against its Struct. Raises BootErrors, each with the nearest known name.

    `variables` maps a key to the environment variable that its value comes from. `also` names keys
    of the table that another part reads: they are suggested, not accepted. Keys in `renamed` of
    the Struct are accepted under their old names, with one warning each.
    """
    names = into.__struct_encode_fields__
    errors = list[BootError]()
    values = dict[str, object]()
    for key, value in table.items():
        name = current_name(key, into)
        if name not in names:
            remedy = nearest(key, (*names, *also))
            errors.append(BootError(variables.get(key, where), f"unknown key {key!r}", remedy))
        elif name in values:
            old = next(old for old in table if old != name and current_name(old, into) == name)
            problem = f"{old!r} is the old name of {name!r}, and both have a value"
            errors.append(BootError(variables.get(old, where), problem, f"remove {old!r}"))
        else:
            values[name] = value
            if name != key:
                _warn_renamed(where, variables.get(key, key), name)
    try:
        section = msgspec.convert(values, into, strict=False)
        if not errors:
            return section
    except msgspec.ValidationError as error:
        sources = {current_name(key, into): variable for key, variable in variables.items()}
        errors.append(_mistake(str(error), into, where, sources))
    raise BootErrors(errors)


def current_name(key: str, into: type[msgspec.Struct]) -> str:
    """Return the name of a key that may be an old one."""
    return getattr(into, "renamed", {}).get(key, key)


@cache
def _warn_renamed(where: str, old: str, name: str) -> None:
    """Warn once; the children of `serve --workers` leave it to their parent."""
    if parent_process() is None:
        log.warning("a setting has a new name", where=where, old=old, use=name)


def _mistake(
    text: str, into: type[msgspec.Struct], where: str, variables: Mapping[str, str]
) -> BootError:
    """Rewrite msgspec's message: the key comes first, and only the value of a choice is shown."""
    sentence, _, path = text.partition(" - at `$.")
    problem = sentence[0].lower() + sentence[1:].replace("`", "")
    path = path.rstrip("`")
    key = re.split(r"[.\[]", path, maxsplit=1)[0]
    description = _describe_values(into, key)
    remedy = ""
    if description and "matching regex" in problem:
        problem = f"expected {description}"
    if description and "enum value" in problem:
        remedy = f"write {description}"
    if key in variables:
        where = variables[key]
        path = path.removeprefix(key)
    return BootError(where, f"{path}: {problem}" if path else problem, remedy)


def _describe_values(into: type[msgspec.Struct], key: str) -> str:
    """Describe the valid values: those of a Literal, or the description of a pattern."""
    names = dict(zip(into.__struct_encode_fields__, into.__struct_fields__, strict=True))
    hints = get_type_hints(into, include_extras=True)
    return _describe_hint(hints.get(names.get(key, "")))


def _describe_hint(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if isinstance(hint, Meta):
        return hint.description or ""
    inner: tuple[Any, ...] = get_args(hint)
    for part in inner:
        description = _describe_hint(part)
        if description:
            return description
    return ""
