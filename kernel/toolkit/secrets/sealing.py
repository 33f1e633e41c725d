"""Values that one key opens, and only in the place that they were sealed for."""

from __future__ import annotations

from collections.abc import Sequence

from nacl.exceptions import CryptoError
from nacl.secret import Aead

SEAL_OVERHEAD = Aead.NONCE_SIZE + Aead.MACBYTES
"""Bytes that a sealed value is longer than the value."""


class Unopenable(Exception):
    """A ciphertext that is not what was sealed for this place, or not by this key."""


def seal_value(key: bytes, value: bytes, place: Sequence[bytes]) -> bytes:
    """Encrypt a value with a key of 32 bytes (XChaCha20-Poly1305), under a random nonce.

    `place` says where the value belongs, such as its table, scope and name: in another place it
    does not open.
    """
    return Aead(key).encrypt(value, _join(place))


def open_value(key: bytes, sealed: bytes, place: Sequence[bytes]) -> bytes:
    """Decrypt a value in its place. Raises Unopenable."""
    try:
        return Aead(key).decrypt(sealed, _join(place))
    except (CryptoError, ValueError) as error:
        raise Unopenable(str(error)) from None


def _join(place: Sequence[bytes]) -> bytes:
    """Join with length prefixes, so that no two places have the same name."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in place)
