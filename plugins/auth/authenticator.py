"""Authenticates requests by their access tokens (RFC 6750), thousands of times a second."""

from __future__ import annotations

import re
import time
from typing import Final, NamedTuple

from kernel.public import (
    Actor,
    Delegation,
    InvalidatedCache,
    Notifications,
    Request,
    Unauthenticated,
)

from .store import AuthStore
from .tokens import MAX_TOKEN, Tokens

TOPIC: Final = "auth"
"""Notifications of what ended: `session:<id>` or `user:<id>`."""
HEADER: Final = re.compile(rb"Bearer ([A-Za-z0-9_.-]+)")
REVOKED_SESSION: Final = "session revoked: log in again"


class CachedToken(NamedTuple):
    """What a valid token says; `expires` in seconds since 1970."""

    user_id: str
    username: str
    session_id: str
    expires: int
    delegation: Delegation | None


class TokenAuthenticator:
    """Checks access tokens, and caches the valid ones until they expire or are revoked.

    The first use of a token on a server process reads its session from the database. An entry takes
    about 1 kB.
    """

    def __init__(
        self, tokens: Tokens, store: AuthStore, notifications: Notifications, size: int = 20_000
    ) -> None:
        self._tokens = tokens
        self._store = store
        self._cache = InvalidatedCache[bytes, CachedToken](
            notifications, TOPIC, size=size, ttl=_remaining, affects=_affects
        )

    async def actor(self, header: bytes, request_id: str = "", address: str = "") -> Actor:
        """Return the actor of the header `Bearer <access token>`. Raises Unauthenticated."""
        token = self._cache.get(header)
        if token is None:
            token = await self._cache.get_or_load(header, lambda: self._check(header))
        return Actor(
            user_id=token.user_id,
            username=token.username,
            session_id=token.session_id or None,
            request_id=request_id,
            address=address,
            delegation=token.delegation,
        )

    async def _check(self, header: bytes) -> CachedToken:
        match = HEADER.fullmatch(header) if len(header) <= MAX_TOKEN + 7 else None
        if match is None:
            raise Unauthenticated
        claims = self._tokens.read_access(match[1].decode("ascii"))
        username = await self._store.username(claims.sub, claims.sid, claims.epoch)
        if username is None:
            raise Unauthenticated(REVOKED_SESSION)
        return CachedToken(claims.sub, username, claims.sid, claims.exp, claims.delegation)


def _remaining(token: CachedToken) -> float:
    return token.expires - time.time()


def _affects(payload: str, _: bytes, token: CachedToken) -> bool:
    kind, name = payload.partition(":")[::2]
    return {"session": token.session_id, "user": token.user_id}.get(kind, name) == name


def authorization(request: Request) -> bytes | None:
    """Return the Authorization header. Raises Unauthenticated when there are several."""
    found: bytes | None = None
    for name, value in request.scope["headers"]:
        if name == b"authorization":
            if found is not None:
                raise Unauthenticated
            found = value
    return found
