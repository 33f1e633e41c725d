"""JSON web tokens (RFC 7519): signed with HS256, and nothing else is accepted (RFC 8725)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, Literal

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

MAX_TOKEN: Final = 4096
"""Characters of a token that is looked at."""
SIGNATURE_BYTES: Final = 32
_SHAPE: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


class _Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    alg: Literal["HS256"]
    typ: Literal["JWT"] = "JWT"
    kid: str | None = None


class TokenSigner:
    """Signs and opens tokens with one key of 32 bytes or more."""

    def __init__(self, key: bytes, key_id: str | None = None) -> None:
        """`key_id` is written into each token; one with another id is refused."""
        self._key = OctKey.import_key(key)
        self._key_id = key_id

    def sign(self, claims: msgspec.Struct) -> str:
        """Make a token."""
        header = {"alg": "HS256", "typ": "JWT"}
        if self._key_id is not None:
            header["kid"] = self._key_id
        return jws.serialize_compact(header, msgspec.json.encode(claims), self._key, ["HS256"])

    def open(self, token: str) -> bytes:
        """Return the claims of a token that was signed with this key. Raises ValueError.

        The header is judged before anything else is looked at, and each part has exactly one
        spelling, so a token cannot be altered and still be itself. The caller checks the times.
        """
        if len(token) > MAX_TOKEN or not _SHAPE.fullmatch(token):
            raise ValueError("no token")
        head, _, signature = (_canonical(part) for part in token.split("."))
        header = msgspec.json.decode(head, type=_Header)
        if header.kid not in (None, self._key_id) or len(signature) != SIGNATURE_BYTES:
            raise ValueError("another key")
        try:
            return jws.deserialize_compact(token, self._key, ["HS256"]).payload
        except JoseError as error:
            raise ValueError("another key") from error


def _canonical(part: str) -> bytes:
    """Decode base64url. Raises ValueError for another spelling of the same bytes."""
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError("no base64url") from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        raise ValueError("another spelling of the same bytes")
    return raw
