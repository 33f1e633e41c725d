"""From an Authorization header to an actor, thousands of times a second."""

from __future__ import annotations

import re
import time
from typing import Final, NamedTuple

from kernel.public import Actor, Delegation, Unauthenticated

from .store import AuthStore
from .tokens import MAX_TOKEN, Tokens

HEADER: Final = re.compile(rb"Bearer ([A-Za-z0-9_.-]+)")
MAX_KNOWN: Final = 20_000
"""Tokens that are remembered, about 1 kB each."""

OVER: Final = "session revoked: log in again"


class _Known(NamedTuple):
    user_id: str
    username: str
    session_id: str
    expires: int
    delegation: Delegation | None


class Gate:
    """Checks access tokens and remembers those that hold, until their time or news of their end.

    A token that is not remembered costs one look at its session, so a server that has just
    started, or has lost news, is never wrong about what was revoked.
    """

    def __init__(self, tokens: Tokens, store: AuthStore) -> None:
        self._tokens = tokens
        self._store = store
        self._known: dict[bytes, _Known] = {}
        self._news = 0

    async def actor(self, header: bytes, request_id: str = "", address: str = "") -> Actor:
        """Return who sends the header `Bearer <access token>`. Raises Unauthenticated."""
        known = self._known.get(header)
        if known is None or known.expires <= time.time():
            known = await self._check(header)
        return Actor(
            user_id=known.user_id,
            username=known.username,
            session_id=known.session_id or None,
            request_id=request_id,
            address=address,
            delegation=known.delegation,
        )

    async def hear(self, news: str | None) -> None:
        """Forget the tokens of a session (`session:<id>`) or user (`user:<id>`) that changed."""
        self._news += 1
        kind, _, name = (news or "").partition(":")
        if kind == "session":
            stale = [key for key, known in self._known.items() if known.session_id == name]
        elif kind == "user":
            stale = [key for key, known in self._known.items() if known.user_id == name]
        else:
            stale = list(self._known)
        for key in stale:
            del self._known[key]

    async def _check(self, header: bytes) -> _Known:
        self._known.pop(header, None)
        match = HEADER.fullmatch(header) if len(header) <= MAX_TOKEN + 7 else None
        if match is None:
            raise Unauthenticated
        claims = self._tokens.read_access(match[1].decode("ascii"))
        heard = self._news
        username = await self._store.username(claims.sub, claims.sid, claims.epoch)
        if username is None:
            raise Unauthenticated(OVER)
        known = _Known(claims.sub, username, claims.sid, claims.exp, claims.delegation)
        if heard == self._news:  # else the answer may be older than the news
            self._remember(header, known)
        return known

    def _remember(self, header: bytes, known: _Known) -> None:
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[header] = known
