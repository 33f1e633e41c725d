"""On whose behalf a worker is called: account and token, remembered for a moment."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from kernel.public import Actor, Caller, Identity, ServiceKey, Unauthenticated

MAX_KNOWN: Final = 2000


class _Known(NamedTuple):
    caller: Caller
    fresh_until: float


class Callers:
    """Makes callers whose tokens are good for at least `seconds` and at most twice that."""

    def __init__(self, identity: Identity, seconds: float) -> None:
        self._identity = identity
        self._seconds = seconds
        self._known: dict[str, _Known] = {}

    async def of(self, actor: Actor) -> Caller:
        """The caller that an actor is. Raises Unauthenticated for an account that has gone."""
        user_id = actor.user_id or ""
        known = self._known.get(user_id)
        if known is not None and known.fresh_until > time.monotonic():
            return known.caller
        now = time.monotonic()
        user = await self._identity.user(user_id)
        if user is None or user.disabled:
            raise Unauthenticated
        token = await self._identity.token(user_id, 2 * self._seconds + 5)
        caller = Caller(user_id=user.id, username=user.username, email=user.email, auth_token=token)
        while len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[user_id] = _Known(caller, now + self._seconds)
        return caller


CALLERS = ServiceKey[Callers]("workers_callers")
