"""JSON web tokens (RFC 7519): signed with HS256, and nothing else is accepted (RFC 8725)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from typing import Annotated, Literal, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from kernel.public import Delegation, Unauthenticated

T = TypeVar("T", bound="Claims")
ACCESS_SECONDS = 900
MAX_TOKEN = 4096
SHAPE = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What both kinds of token say. Types and literals are checked when a token is read."""

    sub: str
    sid: str
    iat: int
    exp: int
    iss: Literal["caudex"]


class AccessClaims(Claims, frozen=True, kw_only=True, omit_defaults=True):
    """The claims of an access token.

    `sid` is empty in the token of a worker; `aud` (`app:<app id>`), `ends` and `epoch` are those of
    its delegation (see `kernel.contracts.base.Delegation`).
    """

    username: str
    typ: Literal["access"]
    aud: Annotated[str, msgspec.Meta(pattern="^app:")] | msgspec.UnsetType = msgspec.UNSET
    ends: int = 0
    epoch: str = "0"

    @property
    def delegation(self) -> Delegation | None:
        """The delegation of a worker's token, None for the token of a session.

        A token without `ends` cannot obtain one that expires later.
        """
        if self.aud is msgspec.UNSET:
            return None
        return Delegation(
            app_id=self.aud.removeprefix("app:"),
            expires=self.exp,
            ends=max(self.exp, self.ends),
            epoch=self.epoch,
        )


class RefreshClaims(Claims, frozen=True, kw_only=True):
    """A refresh token."""

    jti: str
    typ: Literal["refresh"]


class _Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    alg: Literal["HS256"]
    typ: Literal["JWT"] = "JWT"
    kid: str | None = None


class Tokens:
    """Signs and reads tokens with one key of 32 bytes or more."""

    def __init__(self, key: bytes) -> None:
        self._key = OctKey.import_key(key)
        self._chain = hmac.digest(key, b"caudex refresh chain", "sha256")
        self._kid = hashlib.sha256(b"caudex kid\0" + key).hexdigest()[:8]
        self._access = msgspec.json.Decoder(AccessClaims)
        self._refresh = msgspec.json.Decoder(RefreshClaims)

    def access(
        self, user_id: str, username: str, session_id: str, seconds: int = ACCESS_SECONDS
    ) -> str:
        """Issue an access token for a session."""
        now = int(time.time())
        claims = AccessClaims(
            sub=user_id,
            username=username,
            sid=session_id,
            iat=now,
            exp=now + seconds,
            iss="caudex",
            typ="access",
        )
        return self._sign(claims)

    def delegated(self, user_id: str, username: str, delegation: Delegation) -> str:
        """Issue an access token for a worker; it belongs to no session."""
        claims = AccessClaims(
            sub=user_id,
            username=username,
            sid="",
            iat=int(time.time()),
            exp=int(delegation.expires),
            iss="caudex",
            typ="access",
            aud=f"app:{delegation.app_id}",
            ends=int(delegation.ends),
            epoch=delegation.epoch,
        )
        return self._sign(claims)

    def refresh(self, user_id: str, session_id: str, jti: str, seconds: int) -> str:
        """Issue a refresh token for a session that ends in `seconds` unless it is used."""
        now = int(time.time())
        claims = RefreshClaims(
            sub=user_id,
            sid=session_id,
            jti=jti,
            iat=now,
            exp=now + seconds,
            iss="caudex",
            typ="refresh",
        )
        return self._sign(claims)

    def make_first_id(self) -> str:
        """Make the id of the first refresh token of a family."""
        return secrets.token_urlsafe(24)

    def derive_successor_id(self, jti: str) -> str:
        """Make the id of a refresh token's only successor: a family is a chain, it never forks."""
        link = hmac.digest(self._chain, jti.encode(), "sha256")
        return base64.urlsafe_b64encode(link[:24]).decode("ascii")

    def read_access(self, token: str) -> AccessClaims:
        """Check an access token. Raises Unauthenticated.

        It belongs either to a session or to the worker of an app.
        """
        claims = self._read(token, self._access, "access token")
        is_of_session = claims.sid != ""
        is_of_worker = claims.aud is not msgspec.UNSET
        if is_of_session == is_of_worker:
            raise Unauthenticated("the access token is not valid")
        return claims

    def read_refresh(self, token: str) -> RefreshClaims:
        """Check a refresh token. Raises Unauthenticated."""
        return self._read(token, self._refresh, "refresh token")

    def _sign(self, claims: Claims) -> str:
        header = {"alg": "HS256", "typ": "JWT", "kid": self._kid}
        return jws.serialize_compact(header, msgspec.json.encode(claims), self._key, ["HS256"])

    def _read(self, token: str, decoder: msgspec.json.Decoder[T], kind: str) -> T:
        try:
            claims = decoder.decode(self._open(token))
        except (ValueError, JoseError):
            raise Unauthenticated(f"the {kind} is not valid") from None
        now = time.time()
        if claims.exp <= now:
            raise Unauthenticated(f"the {kind} has expired").of(claims.sub, claims.sid)
        if claims.iat > now + 10:  # the clock of another server may be ahead
            raise Unauthenticated(f"the {kind} is not valid yet")
        return claims

    def _open(self, token: str) -> bytes:
        """Return the payload of a token that we signed. Raises ValueError, JoseError.

        The header is judged before anything else is looked at, and each part has exactly one
        spelling, so a token cannot be altered and still be itself.
        """
        if len(token) > MAX_TOKEN or not SHAPE.fullmatch(token):
            raise ValueError("no token")
        head, _, signature = (_canonical(part) for part in token.split("."))
        header = msgspec.json.decode(head, type=_Header)
        if header.kid not in (None, self._kid) or len(signature) != 32:
            raise ValueError("another key")
        return jws.deserialize_compact(token, self._key, ["HS256"]).payload


def digest(jti: str) -> str:
    """What is stored of a refresh token's id."""
    return hashlib.sha256(jti.encode()).hexdigest()


def _canonical(part: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError("no base64url") from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        raise ValueError("another spelling of the same bytes")
    return raw
