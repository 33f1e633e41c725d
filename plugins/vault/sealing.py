"""Sealing: XChaCha20-Poly1305, every ciphertext bound to its scope and name."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from kernel.public import Unopenable, open_value, seal_value

from .models import DataKeyRow, Scope, SecretRow


def key_id(master: bytes) -> str:
    """Return a name for a master key that does not reveal it."""
    return hashlib.sha256(b"caudex master key id\0" + master).hexdigest()[:16]


def seal_data_key(master: bytes, data_key: bytes, row_id: str, scope: Scope) -> str:
    """Seal a scope's data key; returns base64 text."""
    return _seal(master, data_key, _place("data key", key_id(master), row_id, *_names(scope)))


def open_data_key(master: bytes, row: DataKeyRow) -> bytes:
    """Open a scope's data key. Raises Unopenable."""
    place = _place("data key", key_id(master), row.id, row.scope, row.app_id)
    return _open(master, row.sealed, place)


def seal_secret(
    data_key: bytes, value: str, scope: Scope, name: str, data_key_id: str, version: int
) -> str:
    """Seal a value; returns base64 text."""
    place = _place("secret", *_names(scope), name, data_key_id, str(version))
    return _seal(data_key, value.encode(), place)


def open_secret(data_key: bytes, row: SecretRow) -> str:
    """Open a value. Raises Unopenable for a row that was moved, changed or set back."""
    place = _place("secret", row.scope, row.app_id, row.key, row.data_key, str(row.version))
    return _open(data_key, row.sealed, place).decode()


def _names(scope: Scope) -> tuple[str, str]:
    return scope.kind, scope.app_id


def _place(*parts: str) -> list[bytes]:
    return [part.encode() for part in ("caudex vault 1", *parts)]


def _seal(key: bytes, value: bytes, place: Sequence[bytes]) -> str:
    return base64.b64encode(seal_value(key, value, place)).decode()


def _open(key: bytes, sealed: str, place: Sequence[bytes]) -> bytes:
    try:
        raw = base64.b64decode(sealed)
    except ValueError as error:
        raise Unopenable(str(error)) from None
    return open_value(key, raw, place)
