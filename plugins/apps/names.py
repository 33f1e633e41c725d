"""Names that the plugin gives to indexes and constraints."""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec

LONGEST: Final = 63
"""Bytes that PostgreSQL keeps of an identifier (its NAMEDATALEN less one)."""

IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]*")
_OURS: Final = re.compile(r"_.*_[0-9a-f]{8}", re.DOTALL)
_WIDEST: Final = 4
"""Bytes of a character in UTF-8, at most."""


def is_identifier(text: object) -> bool:
    """Whether `text` may name an app, an entity or a field."""
    return isinstance(text, str) and len(text) <= LONGEST and bool(IDENTIFIER.fullmatch(text))


def derive(table: str, stem: str, kind: str, *definition: object) -> str:
    """Name an index or a constraint after what it is, ending in a hash of its whole definition.

    It begins with an underscore, as no entity can: tables and indexes share one namespace. A
    changed definition has another name, so telling what must be made anew is comparing names.
    """
    digest = hashlib.sha256(msgspec.json.encode([table, stem, kind, definition])).hexdigest()[:8]
    told = f"_{table}_{stem}_{kind}".encode()[: LONGEST - 9].decode(errors="ignore")
    return f"{told}_{digest}"


def is_ours(name: str) -> bool:
    """Whether `derive` may have made a name: what others made by hand is never touched.

    It once counted characters: of what was longer in bytes PostgreSQL has cut the end off.
    """
    if _OURS.fullmatch(name):
        return True
    cut = len(name.encode()) > LONGEST - _WIDEST
    return name.startswith("_") and not name.isascii() and cut
