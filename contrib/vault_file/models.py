"""Data types of the plugin."""

from __future__ import annotations

import msgspec


class FileState(msgspec.Struct, frozen=True):
    """One file as it was at a moment; another one of the same name differs."""

    name: str
    inode: int
    changed_ns: int


class Outcome(msgspec.Struct, frozen=True):
    """How many secrets were sealed again or copied, and the places of those that do not open."""

    count: int
    unopenable: tuple[str, ...] = ()


class FolderRow(msgspec.Struct, frozen=True):
    """Which folder holds the secrets, and the id (hex) of the key that seals them."""

    id: str
    key_id: str
