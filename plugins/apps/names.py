"""Names that the plugin gives to indexes and constraints."""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec

LONGEST: Final = 63
"""Bytes that PostgreSQL keeps of an identifier (its NAMEDATALEN less one)."""

IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]*")
_OURS: Final = re.compile(r"_.*_[0-9a-f]{8}")


def is_identifier(text: object) -> bool:
    """Whether `text` may name an app, an entity or a field."""
    return isinstance(text, str) and len(text) <= LONGEST and bool(IDENTIFIER.fullmatch(text))


def derive(table: str, stem: str, kind: str, *definition: object) -> str:
    """Name an index or a constraint after what it is, ending in a hash of its whole definition.

    It begins with an underscore, as no entity can: tables and indexes share one namespace. A
    changed definition has another name, so telling what must be made anew is comparing names.
    """
    digest = hashlib.sha256(msgspec.json.encode([table, stem, kind, definition])).hexdigest()[:8]
    return f"_{table}_{stem}_{kind}"[: LONGEST - 9] + f"_{digest}"


def is_ours(name: str) -> bool:
    """Whether `derive` may have made a name: what others made by hand is never touched."""
    return bool(_OURS.fullmatch(name))
