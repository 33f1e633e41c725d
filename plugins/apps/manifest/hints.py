"""Reads hints for people: what a field is called, how its values are shown. They make no DDL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from kernel.public import FieldHints, FieldType

from .problems import Part

FORMATS: Final[Mapping[str, Sequence[FieldType]]] = {
    "currency": ("number",),
    "percent": ("number",),
    "email": ("text",),
    "url": ("text",),
    "long": ("text",),
}
"""How values are shown, and the types that have it."""

COLOURS: Final = (
    "grey", "red", "orange", "yellow", "green", "teal", "blue", "purple", "pink",
)  # fmt: skip
"""Clients have a shade of each for light and for dark pages."""

WIDTHS: Final = range(40, 1001)
"""Pixels of a column of a table."""

MAX_LABEL: Final = 80
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


def read_label(part: Part) -> str:
    """Return what people call an entity or a field; report what is wrong."""
    return part.title("label", "", MAX_LABEL)


def read_hints(part: Part, kind: FieldType, enum_values: Sequence[str]) -> FieldHints | None:
    """Return the hints of a field, or None; report what is wrong."""
    hints = FieldHints(
        label=read_label(part),
        format=_read_format(part, kind),
        currency=_read_currency(part),
        width=_read_width(part),
        colours=_read_colours(part, enum_values),
    )
    return None if hints == FieldHints() else hints


def _read_format(part: Part, kind: FieldType) -> str | None:
    value = part.get("format")
    if value is None:
        return None
    if not isinstance(value, str) or value not in FORMATS:
        part.problem("format", f"must be one of {', '.join(FORMATS)}")
        return None
    if kind not in FORMATS[value]:
        part.problem("format", f"{value!r} is for fields of type {', '.join(FORMATS[value])}")
    return value


def _read_currency(part: Part) -> str | None:
    value = part.get("currency")
    if value is None:
        return None
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        part.problem("currency", "must be three capital letters, as EUR (ISO 4217)")
        return None
    if part.get("format") != "currency":
        part.problem("currency", "is for fields with the format currency")
    return value


def _read_width(part: Part) -> int | None:
    value = part.get("width")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value not in WIDTHS:
        part.problem("width", f"must be {WIDTHS.start} to {WIDTHS.stop - 1} pixels")
        return None
    return value


def _read_colours(part: Part, enum_values: Sequence[str]) -> Mapping[str, str]:
    value = part.get("colours")
    if value is None:
        return {}
    if not isinstance(value, dict):
        part.problem("colours", "must be an object with a colour for each value")
        return {}
    colours = cast("dict[str, Any]", value)
    for name, colour in colours.items():
        if name not in enum_values:
            part.problem("colours", f"{name[:80]!r} is not among enum_values")
        elif colour not in COLOURS:
            part.problem(
                "colours", f"the colour of {name[:80]!r} must be one of {', '.join(COLOURS)}"
            )
    return colours
