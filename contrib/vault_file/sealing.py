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

from nacl.exceptions import CryptoError
from nacl.secret import Aead

from kernel.public import MAX_SECRET

MAGIC: Final = b"caudex secret 1\n"
MAX_FILE: Final = len(MAGIC) + 8 + Aead.NONCE_SIZE + MAX_SECRET + Aead.MACBYTES


class Unopenable(Exception):
    """A file that is not what was sealed for this place, or not by a key that is here."""


def key_id(key: bytes) -> str:
    """Return a name for a key that does not reveal it."""
    return hashlib.sha256(b"caudex vault_file key id\0" + key).hexdigest()[:16]


def seal(key: bytes, value: str, app_id: str | None, name: str) -> bytes:
    """Make the content of a file."""
    used = key_id(key)
    return (
        MAGIC + bytes.fromhex(used) + Aead(key).encrypt(value.encode(), _place(app_id, name, used))
    )


def sealed_by(content: bytes) -> str:
    """The id of the key that a file was sealed with. Raises Unopenable for what is no such file."""
    if not content.startswith(MAGIC) or len(content) > MAX_FILE:
        raise Unopenable("it is no sealed secret")
    return content[len(MAGIC) : len(MAGIC) + 8].hex()


def open_sealed(keys: Mapping[str, bytes], content: bytes, app_id: str | None, name: str) -> str:
    """Return the value of a file. Raises Unopenable."""
    used = sealed_by(content)
    if (key := keys.get(used)) is None:
        raise Unopenable(f"the key {used} is not here")
    try:
        sealed = content[len(MAGIC) + 8 :]
        return Aead(key).decrypt(sealed, _place(app_id, name, used)).decode()
    except (CryptoError, ValueError) as error:
        raise Unopenable(str(error)) from None


def _place(app_id: str | None, name: str, used: str) -> bytes:
    """Join with length prefixes, so that no two places have the same name."""
    scope = b"platform" if app_id is None else b"app"
    parts = (MAGIC, scope, (app_id or "").encode(), name.encode(), bytes.fromhex(used))
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
