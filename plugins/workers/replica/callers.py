"""On whose behalf a worker is called: account and token, remembered for a moment."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from msgspec.structs import replace

from kernel.public import (
    Actor,
    Caller,
    Delegation,
    Identity,
    NotFound,
    ServiceKey,
    Unauthenticated,
    issue_delegated_token,
)

MAX_KNOWN: Final = 2000


class _Known(NamedTuple):
    caller: Caller
    fresh_until: float


class Callers:
    """Makes callers whose tokens are good for at least `seconds` and at most twice that, and for a
    worker that acts for somebody no longer than its own."""

    def __init__(self, identity: Identity, seconds: float) -> None:
        self._identity = identity
        self._seconds = seconds
        self._known: dict[tuple[str, Delegation | None], _Known] = {}
        self._changed_event = 0

    async def of(self, actor: Actor) -> Caller:
        """The caller that an actor is. Raises Unauthenticated for an account that has gone."""
        key = (user_id := actor.user_id or "", actor.delegation)
        known = self._known.get(key)
        if known is not None and known.fresh_until > time.monotonic():
            return known.caller
        now, heard = time.monotonic(), self._changed_event
        user = await self._identity.user(user_id)
        if user is None or user.disabled:
            raise Unauthenticated
        token = await self._token(user_id, actor.delegation)
        caller = Caller(user_id=user.id, username=user.username, email=user.email, auth_token=token)
        if heard == self._changed_event:  # else the token may be older than the news
            self._remember(key, _Known(caller, now + self._seconds))
        return caller

    async def on_notification(self, news: str | None) -> None:
        """Forget the user whose tokens hold no more; None means that anybody's may not."""
        self._changed_event += 1
        for key in [key for key in self._known if news in (None, key[0])]:
            del self._known[key]

    async def _token(self, user_id: str, delegation: Delegation | None) -> str:
        seconds = 2 * self._seconds + 5
        if delegation is None:
            return await self._identity.token(user_id, seconds)
        # Else a worker that goes on calling itself would be its caller for ever.
        expires = min(delegation.expires, time.time() + seconds)
        try:
            return await issue_delegated_token(
                self._identity, user_id, replace(delegation, expires=expires)
            )
        except NotFound:  # withdrawn since the request came
            raise Unauthenticated from None

    def _remember(self, key: tuple[str, Delegation | None], known: _Known) -> None:
        self._known.pop(key, None)
        while len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[key] = known


CALLERS = ServiceKey[Callers]("workers_callers")
