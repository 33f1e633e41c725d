"""Tokens for calls that the server makes on a user's behalf: JWTs (RFC 7519) with HS256."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec

from kernel.public import Delegation, Limits, TokenSigner, Unauthenticated


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says; types and literals are checked when it is read. `aud` (`app:<app id>`),
    `ends` and `epoch`, the key of the app's installation, are of its delegation (see
    `kernel.contracts.base.Delegation`)."""

    sub: str
    iat: int
    exp: int
    iss: Literal["caudex"] = "caudex"
    typ: Literal["access"]
    aud: Annotated[str, msgspec.Meta(pattern="^app:")]
    ends: int = 0
    epoch: str = ""
    limits: Limits | None = None

    @property
    def delegation(self) -> Delegation:
        """What lets a worker act that has this token. One of former versions says no end: it leads
        to nothing beyond its own."""
        return Delegation(
            app_id=self.aud.removeprefix("app:"),
            expires=self.exp,
            ends=max(self.exp, self.ends),
            epoch=self.epoch,
        )


class Tokens:
    """Signs and reads tokens with one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._signer = TokenSigner(key)

    def issue(self, user_id: str, delegation: Delegation, limits: Limits | None = None) -> str:
        """Make a token for a user."""
        claims = Claims(
            sub=user_id,
            iat=int(time.time()),
            exp=int(delegation.expires),
            typ="access",
            aud=f"app:{delegation.app_id}",
            ends=int(delegation.ends),
            epoch=delegation.epoch,
            limits=limits,
        )
        return self._signer.sign(claims)

    def read(self, token: str) -> Claims:
        """Check a token. Raises Unauthenticated."""
        try:
            claims = msgspec.json.decode(self._signer.open(token), type=Claims)
        except ValueError:
            raise Unauthenticated("the access token is not valid") from None
        now = time.time()
        if not claims.iat - 10 <= now < claims.exp:  # the clock of another server may be ahead
            raise Unauthenticated("the access token has expired")
        return claims
