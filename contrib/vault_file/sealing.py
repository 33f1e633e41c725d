"""The content of a file: XChaCha20-Poly1305, bound to the scope and name of the secret.

    16 bytes  what it is: `caudex secret 1\\n`
     8 bytes  id of the key
    24 bytes  nonce, random for each write
     n bytes  the value
    16 bytes  tag

Scope, app, name and key id are the associated data: under another name a file opens nowhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from kernel.public import MAX_SECRET, SEAL_OVERHEAD, Unopenable, open_value, seal_value

MAGIC: Final = b"caudex secret 1\n"
KEY_ID_BYTES: Final = 8
HEAD_BYTES: Final = len(MAGIC) + KEY_ID_BYTES
MAX_FILE: Final = HEAD_BYTES + MAX_SECRET + SEAL_OVERHEAD


def key_id(key: bytes) -> str:
    """Return a name for a key that does not reveal it."""
    return hashlib.sha256(b"caudex vault_file key id\0" + key).hexdigest()[: 2 * KEY_ID_BYTES]


def seal_file(key: bytes, value: str, app_id: str | None, name: str) -> bytes:
    """Make the content of a file."""
    raw_id = bytes.fromhex(key_id(key))
    return MAGIC + raw_id + seal_value(key, value.encode(), _place(app_id, name, raw_id))


def sealed_by(content: bytes) -> str:
    """Return the id of the key that a file was sealed with. Raises Unopenable for what is no such
    file."""
    if not content.startswith(MAGIC) or len(content) > MAX_FILE:
        raise Unopenable("it is no sealed secret")
    return content[len(MAGIC) : HEAD_BYTES].hex()


def open_file(keys: Mapping[str, bytes], content: bytes, app_id: str | None, name: str) -> str:
    """Return the value of a file. Raises Unopenable."""
    id_of_key = sealed_by(content)
    if id_of_key not in keys:
        raise Unopenable(f"the key {id_of_key} is not here")
    place = _place(app_id, name, bytes.fromhex(id_of_key))
    return open_value(keys[id_of_key], content[HEAD_BYTES:], place).decode()


def _place(app_id: str | None, name: str, key_id: bytes) -> list[bytes]:
    scope = b"platform" if app_id is None else b"app"
    return [MAGIC, scope, (app_id or "").encode(), name.encode(), key_id]
