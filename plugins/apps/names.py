"""Identifiers of manifests, and the names of indexes and constraints."""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec

MAX_IDENTIFIER: Final = 63
"""Bytes that PostgreSQL keeps of an identifier (its NAMEDATALEN less one)."""

IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]*")
_OURS: Final = re.compile(r"_.*_[0-9a-f]{8}", re.DOTALL)


def is_identifier(text: object) -> bool:
    """Whether `text` may name an app, an entity or a field."""
    if not isinstance(text, str) or len(text) > MAX_IDENTIFIER:
        return False
    return IDENTIFIER.fullmatch(text) is not None


def derive(table: str, stem: str, kind: str, *definition: object) -> str:
    """Name an index or a constraint after what it is, ending in a hash of its whole definition.

    It begins with an underscore, as no entity can: tables and indexes share one namespace. A
    changed definition has another name, so comparing names finds what to create again.
    """
    identity = msgspec.json.encode([table, stem, kind, definition])
    digest = hashlib.sha256(identity).hexdigest()[:8]
    name = f"_{table}_{stem}_{kind}".encode()
    shortened = name[: MAX_IDENTIFIER - 9].decode(errors="ignore")
    return f"{shortened}_{digest}"


def is_ours(name: str) -> bool:
    """Whether `derive` may have made a name; objects made by hand are never changed.

    It once counted characters: PostgreSQL has cut names that were longer in bytes.
    """
    if _OURS.fullmatch(name):
        return True
    may_be_cut = len(name.encode()) > MAX_IDENTIFIER - 4  # a character has at most 4 bytes in UTF-8
    return name.startswith("_") and not name.isascii() and may_be_cut
