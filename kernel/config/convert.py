"""A table of the configuration against its Struct: each mistake with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from kernel.errors import BootError, BootErrors, nearest

S = TypeVar("S", bound=msgspec.Struct)


def convert(
    table: Mapping[str, object],
    into: type[S],
    where: str,
    variables: Mapping[str, str],
    also: Sequence[str] = (),
) -> S:
    """Check a table against its Struct. Raises BootErrors, each with the nearest known name.

    `variables` names, by key, the variable of the environment that a value comes from. `also` are
    keys that the table may have for somebody else: they are suggested, not taken.
    """
    known = into.__struct_encode_fields__
    errors = [
        BootError(variables.get(key, where), f"unknown key {key!r}", nearest(key, (*known, *also)))
        for key in table
        if key not in known
    ]
    try:
        found = msgspec.convert({k: v for k, v in table.items() if k in known}, into, strict=False)
        if not errors:
            return found
    except msgspec.ValidationError as error:
        errors.append(_mistake(str(error), into, where, variables))
    raise BootErrors(errors)


def _mistake(
    told: str, into: type[msgspec.Struct], where: str, variables: Mapping[str, str]
) -> BootError:
    """Turn msgspec's message around: the key stands first. No value is shown but of a choice."""
    said, _, path = told.partition(" - at `$.")
    said, path = said[0].lower() + said[1:].replace("`", ""), path.rstrip("`")
    key = re.split(r"[.\[]", path, maxsplit=1)[0]
    wanted = _wanted(into, key) if "matching regex" in said or "enum value" in said else ""
    remedy = ""
    if wanted and "matching regex" in said:
        said = f"expected {wanted}"
    elif wanted:
        remedy = f"write {wanted}"
    if key in variables:
        where, path = variables[key], path.removeprefix(key)
    return BootError(where, f"{path}: {said}" if path else said, remedy)


def _wanted(into: type[msgspec.Struct], key: str) -> str:
    """What a value may be, in words: those of a Literal, or the description of a pattern."""
    names = dict(zip(into.__struct_encode_fields__, into.__struct_fields__, strict=True))
    return _words(get_type_hints(into, include_extras=True).get(names.get(key, "")))


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if isinstance(hint, Meta):
        return hint.description or ""
    inner: tuple[Any, ...] = get_args(hint)
    return next((words for each in inner if (words := _words(each))), "")
