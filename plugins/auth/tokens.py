"""JSON web tokens (RFC 7519): signed with HS256, and nothing else is accepted (RFC 8725)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from typing import Annotated, Literal, TypeVar

import msgspec

from kernel.public import Delegation, Limits, TokenSigner, Unauthenticated

T = TypeVar("T", bound="Claims")
ACCESS_SECONDS = 900


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What both kinds of token say. Types and literals are checked when a token is read.

    `app` is the app through whose host the session began: its tokens are good there only. It is
    empty for the host of the server.
    """

    sub: str
    sid: str
    iat: int
    exp: int
    iss: Literal["caudex"]
    app: str = ""

    @property
    def door(self) -> str | None:
        """The app through whose host the token is good; None for the host of the server."""
        return self.app or None


class AccessClaims(Claims, frozen=True, kw_only=True):
    """The claims of an access token.

    `sid` is empty in the token of a worker; `aud` (`app:<app id>`), `ends` and `epoch` are those of
    its delegation (see `kernel.contracts.base.Delegation`). Of `limits` with a key only its id is
    there: the row of the key has them.
    """

    username: str
    typ: Literal["access"]
    aud: Annotated[str, msgspec.Meta(pattern="^app:")] | msgspec.UnsetType = msgspec.UNSET
    ends: int = 0
    epoch: str = "0"
    limits: Limits | None = None

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


class Tokens:
    """Signs and reads tokens with one key of 32 bytes or more."""

    def __init__(self, key: bytes) -> None:
        key_id = hashlib.sha256(b"caudex kid\0" + key).hexdigest()[:8]
        self._signer = TokenSigner(key, key_id)
        self._chain = hmac.digest(key, b"caudex refresh chain", "sha256")
        self._access = msgspec.json.Decoder(AccessClaims)
        self._refresh = msgspec.json.Decoder(RefreshClaims)

    def access(
        self,
        user_id: str,
        username: str,
        session_id: str,
        seconds: int = ACCESS_SECONDS,
        *,
        door: str | None = None,
    ) -> str:
        """Issue an access token for a session, which is good at this door."""
        now = int(time.time())
        claims = AccessClaims(
            sub=user_id,
            username=username,
            sid=session_id,
            iat=now,
            exp=now + seconds,
            iss="caudex",
            app=door or "",
            typ="access",
        )
        return self._signer.sign(claims)

    def delegated(
        self, user_id: str, username: str, delegation: Delegation, limits: Limits | None = None
    ) -> str:
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
            limits=limits,
        )
        return self._signer.sign(claims)

    def refresh(
        self, user_id: str, session_id: str, jti: str, seconds: int, *, door: str | None = None
    ) -> str:
        """Issue a refresh token for a session that ends in `seconds` unless it is used."""
        now = int(time.time())
        claims = RefreshClaims(
            sub=user_id,
            sid=session_id,
            jti=jti,
            iat=now,
            exp=now + seconds,
            iss="caudex",
            app=door or "",
            typ="refresh",
        )
        return self._signer.sign(claims)

    def make_first_id(self) -> str:
        """Make the id of the first refresh token of a family."""
        return secrets.token_urlsafe(24)

    def derive_successor_id(self, jti: str) -> str:
        """Make the id of a refresh token's only successor: a family is a chain, it never forks."""
        link = hmac.digest(self._chain, jti.encode(), "sha256")
        return base64.urlsafe_b64encode(link[:24]).decode("ascii")

    def read_access(self, token: str) -> AccessClaims:
        """Check an access token. Raises Unauthenticated.

        It belongs either to a session or to the worker of an app, which uses the server's own host.
        """
        claims = self._read(token, self._access, "access token")
        is_of_session = claims.sid != ""
        is_of_worker = claims.aud is not msgspec.UNSET
        if is_of_session == is_of_worker or (is_of_worker and claims.app):
            raise Unauthenticated("the access token is not valid")
        return claims

    def read_refresh(self, token: str) -> RefreshClaims:
        """Check a refresh token. Raises Unauthenticated."""
        return self._read(token, self._refresh, "refresh token")

    def _read(self, token: str, decoder: msgspec.json.Decoder[T], kind: str) -> T:
        try:
            claims = decoder.decode(self._signer.open(token))
        except ValueError:
            raise Unauthenticated(f"the {kind} is not valid") from None
        now = time.time()
        if claims.exp <= now:
            raise Unauthenticated(f"the {kind} has expired").with_caller(claims.sub, claims.sid)
        if claims.iat > now + 10:  # the clock of another server may be ahead
            raise Unauthenticated(f"the {kind} is not valid yet")
        return claims


def digest(jti: str) -> str:
    """What is stored of a refresh token's id."""
    return hashlib.sha256(jti.encode()).hexdigest()
