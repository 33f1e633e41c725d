"""What a field of managed files takes: `maxSize` and `types`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kernel.public import FieldType, FileRule

from .problems import Part

MANAGED: Final[Mapping[FieldType, str]] = {"file": "uuid", "[file]": "uuid[]"}
"""The types of columns that hold ids of managed files."""

MAX_TYPES: Final = 50
_UNITS: Final = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_SIZE: Final = re.compile(r"([0-9]{1,15})\s*(B|kB|KB|MB|GB)?")
_MEDIA_TYPE: Final = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/(\*|[a-z0-9][a-z0-9!#$&^_.+-]{0,95})"
)
_DECLARE: Final = (
    'a [file] declares what it takes: maxSize, as in "20MB", or types, as in ["image/*"]'
)


def read_file_rule(part: Part, kind: FieldType) -> FileRule | None:
    """Read what a file field takes; report what is wrong.

    Return None for a field of another type, and for a `file` that declares nothing: that is text.
    """
    if kind not in MANAGED:
        return None
    declared_size = part.get("maxSize")
    declared_types = part.get("types")
    if declared_size is None and declared_types is None:
        if kind == "[file]":
            part.problem("type", _DECLARE)
        return None
    return FileRule(max_size=_read_size(part, declared_size), types=_read_types(part))


def _read_size(part: Part, declared: object) -> int | None:
    if declared is None:
        return None
    size = 0
    if isinstance(declared, int) and not isinstance(declared, bool):
        size = declared
    elif isinstance(declared, str):
        match = _SIZE.fullmatch(declared.strip())
        if match is not None:
            unit = (match[2] or "").replace("KB", "kB")
            size = int(match[1]) * _UNITS[unit]
    if not 1 <= size < 2**53:
        part.problem("maxSize", 'must be a number of bytes, or a text as "500kB", "20MB", "1GB"')
        return None
    return size


def _read_types(part: Part) -> tuple[str, ...]:
    types = part.texts("types")
    if len(types) > MAX_TYPES:
        part.problem("types", f"has {len(types)} items, at most {MAX_TYPES} are allowed")
        return ()
    for media_type in types:
        if not _MEDIA_TYPE.fullmatch(media_type):
            shown = repr(media_type[:80])
            part.problem("types", f'{shown} is no media type, as "image/*" or "application/pdf"')
    return types
