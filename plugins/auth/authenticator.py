"""Authenticates requests by their access tokens (RFC 6750), thousands of times a second."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Final, NamedTuple

from kernel.public import (
    Access,
    Actor,
    Delegation,
    FactorDemands,
    Forbidden,
    InvalidatedCache,
    Notifications,
    Request,
    Unauthenticated,
    headers_of,
    hookimpl,
    supports,
)

from .config import Policy
from .store import AuthStore
from .tokens import MAX_TOKEN, Tokens

TOPIC: Final = "auth"
"""Notifications of what ended: `session:<id>` or `user:<id>`."""
HEADER: Final = re.compile(rb"Bearer ([A-Za-z0-9_.-]+)")
REVOKED_SESSION: Final = "session revoked: log in again"
SET_UP_FACTOR: Final = "second factor must be set up"
CHANGE_PASSWORD: Final = "password change required"
ALLOWED: Final = ("/api/v1/auth/password", "/api/v1/auth/me", "/api/v1/auth/totp")
"""Routes that work while a demand is not met, with those below them. Logout needs no token."""

_BELOW: Final = tuple(f"{route}/" for route in ALLOWED)


class CachedToken(NamedTuple):
    """What a valid token says; `expires` in seconds since 1970.

    `factor` is true where no second factor is missing, or none can be demanded.
    """

    user_id: str
    username: str
    session_id: str
    expires: int
    delegation: Delegation | None
    password_temporary: bool
    factor: bool


class Demands:
    """Decides by the configuration and the user's roles whether a second factor is needed."""

    def __init__(self, policy: Policy, find_access: Callable[[], Access | None]) -> None:
        self._policy = policy
        self._find_access = find_access

    @cached_property
    def _roles(self) -> FactorDemands | None:
        access = self._find_access()
        return access if supports(access, FactorDemands) else None

    def factor(self, user_id: str) -> Awaitable[bool]:
        """Whether the user needs a second factor. Raises Unavailable."""
        if self._policy == "required" or self._roles is None:
            return _answered(self._policy == "required")
        return self._roles.demands_factor(user_id, of_admins=self._policy == "admins")


class TokenAuthenticator:
    """Checks access tokens, and caches the valid ones until they expire or are revoked.

    The first use of a token on a server process reads its session from the database. An entry takes
    about 1 kB.
    """

    def __init__(
        self,
        tokens: Tokens,
        store: AuthStore,
        notifications: Notifications,
        demands: Demands,
        size: int = 20_000,
    ) -> None:
        self._tokens = tokens
        self._store = store
        self._demands = demands
        self._cache = InvalidatedCache[bytes, CachedToken](
            notifications, TOPIC, size=size, ttl=_remaining, affects=_affects
        )

    async def actor(
        self, header: bytes, request_id: str = "", address: str = "", path: str = ""
    ) -> Actor:
        """Return the actor of the header `Bearer <access token>`.

        Raises Unauthenticated; Forbidden where the account must change its password or set up a
        second factor first, unless `path` is that of a route for it.
        """
        token = self._cache.get(header)
        if token is None:
            token = await self._cache.get_or_load(header, lambda: self._check(header))
        if token.password_temporary and not _allowed(path):
            raise Forbidden(CHANGE_PASSWORD).of(token.user_id, token.session_id)
        if not token.factor and await self._demands.factor(token.user_id) and not _allowed(path):
            raise Forbidden(SET_UP_FACTOR).of(token.user_id, token.session_id)
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
        app_id = "" if claims.delegation is None else claims.delegation.app_id
        user = await self._store.identify(claims.sub, claims.sid, claims.epoch, app_id)
        if user is None:
            raise Unauthenticated(REVOKED_SESSION).of(claims.sub, claims.sid)
        return CachedToken(
            claims.sub, user.username, claims.sid, claims.exp, claims.delegation,
            user.password_temporary, user.factor,
        )  # fmt: skip


class BearerAuthentication:
    """The hook that each request passes, for the class of the plugin."""

    _authenticator: TokenAuthenticator

    @hookimpl
    async def authenticate(self, request: Request) -> Actor | None:
        """Authenticate a bearer token; None only without an Authorization header."""
        if (header := authorization(request)) is None:
            return None
        return await self._authenticator.actor(
            header, request.request_id, request.address, request.scope["path"]
        )


async def _answered(demanded: bool) -> bool:
    return demanded


def _remaining(token: CachedToken) -> float:
    return token.expires - time.time()


def _affects(payload: str, _: bytes, token: CachedToken) -> bool:
    kind, name = payload.partition(":")[::2]
    app_id = token.delegation.app_id if token.delegation else ""
    of = {"session": token.session_id, "user": token.user_id, "app": app_id}
    return of.get(kind, name) == name


def _allowed(path: str) -> bool:
    """Whether a route works while a demand is not met."""
    return path in ALLOWED or path.startswith(_BELOW)


def authorization(request: Request) -> bytes | None:
    """Return the Authorization header. Raises Unauthenticated when there are several."""
    pairs = request.scope["headers"]
    headers = headers_of(request.scope)
    has_repeated = len(headers) < len(pairs)
    if has_repeated and sum(name == b"authorization" for name, _ in pairs) > 1:
        raise Unauthenticated
    return headers.get(b"authorization")
