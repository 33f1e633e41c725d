"""Authenticates requests by their access tokens (RFC 6750), thousands of times a second."""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Final, NamedTuple

import msgspec
from structlog.contextvars import bind_contextvars

from kernel.public import (
    MAX_TOKEN,
    Access,
    Actor,
    Delegation,
    FactorDemands,
    Forbidden,
    InvalidatedCache,
    Limits,
    Notifications,
    Request,
    Unauthenticated,
    door_of,
    headers_of,
    hookimpl,
    supports,
)

from .config import Policy
from .keys import store as key_store
from .keys.secrets import BEARER, hash_key, is_basic, read_key
from .keys.usage import KeyUses
from .sessions.store import SessionStore
from .tokens import Tokens

TOPIC: Final = "auth"
"""Notifications of what ended: `session:<id>`, `user:<id>` or `key:<id>`."""
HEADER: Final = re.compile(rb"Bearer ([A-Za-z0-9_.-]+)")
MAX_HEADER: Final = len("Bearer ") + MAX_TOKEN
BEARER_KEY: Final = b"Bearer cdx_"
PUBLIC_KEY_SIGNATURES: Final = ("RS", "PS", "ES", "Ed")
BAD_KEY: Final = "the API key is not valid"
OTHER_DOOR: Final = "the token is for another host: log in here"
REVOKED_SESSION: Final = "session revoked: log in again"
SET_UP_FACTOR: Final = "second factor must be set up"
CHANGE_PASSWORD: Final = "password change required"
ALLOWED: Final = ("/api/v1/auth/password", "/api/v1/auth/me", "/api/v1/auth/totp")
"""Routes that work while a demand is not met, with those below them. Logout needs no token."""

_BELOW: Final = tuple(f"{route}/" for route in ALLOWED)


class CachedToken(NamedTuple):
    """What a valid token or API key says; `expires` in seconds since 1970.

    `limits` are those of the key, also in the token of a worker. `factor` is true where no second
    factor is missing, or none can be demanded.
    """

    user_id: str
    username: str
    session_id: str
    door: str | None
    expires: float
    delegation: Delegation | None
    limits: Limits | None
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
        if not supports(access, FactorDemands):
            return None
        return access

    def demands_factor(self, user_id: str) -> Awaitable[bool]:
        """Whether the user needs a second factor. Raises Unavailable."""
        if self._policy == "required":
            return _decide(needed=True)
        if self._roles is None:
            return _decide(needed=False)
        return self._roles.demands_factor(user_id, of_admins=self._policy == "admins")


async def _decide(*, needed: bool) -> bool:
    return needed


class TokenAuthenticator:
    """Checks access tokens and API keys, and caches valid ones until they expire or are revoked.

    The first use of a token on a server process reads its session from the database. An entry takes
    about 1 kB.
    """

    def __init__(
        self,
        tokens: Tokens,
        store: SessionStore,
        notifications: Notifications,
        demands: Demands,
        size: int = 20_000,
        uses: KeyUses | None = None,
    ) -> None:
        self._uses = uses
        self._tokens = tokens
        self._store = store
        self._demands = demands
        self._cache = InvalidatedCache[bytes, CachedToken](
            notifications, TOPIC, size=size, ttl=_count_seconds_left, affects=_ends_token
        )

    async def actor(
        self,
        header: bytes,
        request_id: str = "",
        address: str = "",
        path: str = "",
        *,
        door: str | None = None,
    ) -> Actor:
        """Return the actor of the header `Bearer <access token or key>`, or `Basic` with a key.

        A token is good at the door of its session only. A key is good at every `door`, for what
        there is behind it. Raises Unauthenticated; Forbidden where the account must change its
        password or set up a second factor first, unless `path` is that of a route for it.
        """
        token = self._cache.get(header)
        if token is None:
            token = await self._cache.get_or_load(header, lambda: self._check(header))
        # Here, and not before it is cached: the same bytes may come through any door.
        is_key = not token.session_id and token.delegation is None
        if token.door != door and not is_key:
            raise Unauthenticated(OTHER_DOOR).with_caller(token.user_id, token.session_id)
        limits = token.limits
        if limits is not None and limits.key:
            bind_contextvars(key=limits.key)
            if token.delegation is None and self._uses is not None:
                self._uses.note(limits.key, address)
        if token.password_temporary and not _is_always_open(path):
            raise Forbidden(CHANGE_PASSWORD).with_caller(token.user_id, token.session_id)
        if not token.factor:
            is_demanded = await self._demands.demands_factor(token.user_id)
            if is_demanded and not _is_always_open(path):
                raise Forbidden(SET_UP_FACTOR).with_caller(token.user_id, token.session_id)
        return Actor(
            user_id=token.user_id,
            username=token.username,
            session_id=token.session_id or None,
            request_id=request_id,
            address=address,
            delegation=token.delegation,
            limits=limits,
            door=door,
        )

    async def _check(self, header: bytes) -> CachedToken:
        if is_basic(header) or header.startswith(BEARER_KEY):
            return await self._check_key(header)
        return await self._check_token(header)

    async def _check_key(self, header: bytes) -> CachedToken:
        key = read_key(header)
        if key is None:
            raise Unauthenticated(BAD_KEY)
        key_hash = hash_key(key)
        user = await key_store.find(self._store.reader, key_hash)
        if user is None or not hmac.compare_digest(user.hash, key_hash):
            raise Unauthenticated(BAD_KEY)
        return CachedToken(
            user_id=user.user_id,
            username=user.username,
            session_id="",
            door=None,
            expires=time.time() + user.remaining,
            delegation=None,
            limits=user.limits,
            password_temporary=False,
            factor=user.factor,
        )

    async def _check_token(self, header: bytes) -> CachedToken:
        if len(header) > MAX_HEADER:
            raise Unauthenticated
        match = HEADER.fullmatch(header)
        if match is None:
            raise Unauthenticated

        claims = self._tokens.read_access(match[1].decode("ascii"))
        delegation = claims.delegation
        app_id = claims.app
        if delegation is not None:
            app_id = delegation.app_id

        user = await self._store.identify(claims.sub, claims.sid, claims.epoch, app_id)
        if user is None:
            raise Unauthenticated(REVOKED_SESSION).with_caller(claims.sub, claims.sid)
        expires: float = claims.exp
        limits = claims.limits
        if limits is not None and limits.key:
            key = await key_store.find_id(self._store.reader, limits.key, claims.sub)
            if key is None:
                raise Unauthenticated(BAD_KEY).with_caller(claims.sub)
            limits = key.limits
            expires = min(expires, time.time() + key.remaining)
        return CachedToken(
            user_id=claims.sub,
            username=user.username,
            session_id=claims.sid,
            door=claims.door,
            expires=expires,
            delegation=delegation,
            limits=limits,
            password_temporary=user.password_temporary,
            factor=user.factor,
        )


class BearerAuthentication:
    """The hook that each request passes, for the class of the plugin."""

    _authenticator: TokenAuthenticator

    @hookimpl
    async def authenticate(self, request: Request) -> Actor | None:
        """Authenticate a bearer token; None without one, and for one that another server signed."""
        header = authorization(request)
        if header is None:
            return None
        try:
            return await self._authenticator.actor(
                header,
                request.request_id,
                request.address,
                request.scope["path"],
                door=door_of(request.scope),
            )
        except Unauthenticated:
            if is_signed_by_another(header):
                return None  # a plugin that trusts the signer may know its user
            raise


def is_signed_by_another(header: bytes) -> bool:
    """Whether a bearer token is a JWT with a signature of public keys, as ours never are."""
    match = HEADER.fullmatch(header[:MAX_HEADER])
    if match is None:
        return False
    head = match[1].partition(b".")[0]
    try:
        algorithm = msgspec.json.decode(
            base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4)), type=_Head
        ).alg
    except (ValueError, msgspec.MsgspecError):
        return False
    return algorithm.startswith(PUBLIC_KEY_SIGNATURES)


class _Head(msgspec.Struct, frozen=True):
    """The header of a JWT (RFC 7515, 4.1)."""

    alg: str


def _refuse_page(request: Request) -> None:
    """Refuse Basic of a browser's page, which would repeat it for any site. Raises Unauthenticated.

    An address that a user has typed has `none`.
    """
    site = headers_of(request.scope).get(b"sec-fetch-site", b"none")
    if site != b"none":
        raise Unauthenticated("Basic is for programs: send the API key as a bearer token")


def _count_seconds_left(token: CachedToken) -> float:
    return token.expires - time.time()


def _ends_token(payload: str, _: bytes, token: CachedToken) -> bool:
    """Whether a notification ends a token. One of an unknown kind ends each token."""
    kind, _separator, name = payload.partition(":")
    if kind == "session":
        return token.session_id == name
    if kind == "key":
        return token.limits is not None and token.limits.key == name
    if kind == "user":
        return token.user_id == name
    if kind == "app":
        is_of_worker = token.delegation is not None and token.delegation.app_id == name
        return is_of_worker or token.door == name
    return True


def _is_always_open(path: str) -> bool:
    """Whether a route works while a demand is not met."""
    return path in ALLOWED or path.startswith(_BELOW)


def authorization(request: Request) -> bytes | None:
    """Return the Authorization header. Raises Unauthenticated when there are several,
    and for Basic of a page."""
    pairs = request.scope["headers"]
    headers = headers_of(request.scope)
    has_repeated = len(headers) < len(pairs)
    if has_repeated and sum(name == b"authorization" for name, _ in pairs) > 1:
        raise Unauthenticated
    header = headers.get(b"authorization")
    if header is None or header.startswith(BEARER):
        return header
    if is_basic(header):
        _refuse_page(request)
    return header
