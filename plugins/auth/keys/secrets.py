"""How keys look: `cdx_`, 256 random bits and a checksum, in letters and digits."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import zlib
from typing import Final

PREFIX: Final = "cdx_"
RANDOM_BYTES: Final = 32
RANDOM_LETTERS: Final = 43
"""Letters of base 62 that 256 bits take."""
CHECK_LETTERS: Final = 6
SHOWN: Final = len(PREFIX) + 8
"""Characters of a key that its owner may see later; 208 bits remain secret."""
LENGTH: Final = len(PREFIX) + RANDOM_LETTERS + CHECK_LETTERS
SHAPE: Final = re.compile(f"{PREFIX}[0-9A-Za-z]{{{RANDOM_LETTERS + CHECK_LETTERS}}}")
BEARER: Final = b"Bearer "
BASIC: Final = b"basic "
MAX_BASIC: Final = 1024
"""Bytes of a header with a name and a key."""

_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def make_key() -> str:
    """Make a new key."""
    number = int.from_bytes(secrets.token_bytes(RANDOM_BYTES))
    random = _write_in_letters(number, RANDOM_LETTERS)
    return f"{PREFIX}{random}{_make_checksum(random)}"


def is_key(text: str) -> bool:
    """Whether a text is a well-formed key: its checksum is right."""
    if SHAPE.fullmatch(text) is None:
        return False
    random = text[len(PREFIX) : len(PREFIX) + RANDOM_LETTERS]
    return text[-CHECK_LETTERS:] == _make_checksum(random)


def hash_key(key: str) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode("ascii")).hexdigest()


def shown_prefix(key: str) -> str:
    """Return the characters of a key by which its owner recognises it."""
    return key[:SHOWN]


def is_basic(header: bytes) -> bool:
    """Whether an Authorization header is of the scheme Basic (RFC 7617)."""
    return header[: len(BASIC)].lower() == BASIC


def read_key(header: bytes) -> str | None:
    """Return the well-formed key of an Authorization header: a bearer, or the password of Basic."""
    text = ""
    if header.startswith(BEARER):
        text = header[len(BEARER) :].decode("latin-1")
    elif is_basic(header) and len(header) <= MAX_BASIC:
        text = _read_password(header[len(BASIC) :])
    return text if is_key(text) else None


def _read_password(encoded: bytes) -> str:
    try:
        pair = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        return ""
    return pair.partition(b":")[2].decode("latin-1")


def _make_checksum(random: str) -> str:
    return _write_in_letters(zlib.crc32(random.encode("ascii")), CHECK_LETTERS)


def _write_in_letters(number: int, count: int) -> str:
    letters: list[str] = []
    for _ in range(count):
        letters.append(_LETTERS[number % len(_LETTERS)])
        number //= len(_LETTERS)
    return "".join(reversed(letters))
