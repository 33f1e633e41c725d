"""On whose behalf jobs run: accounts and tokens, remembered for a moment."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from kernel.public import Caller, Identity, NotFound

FRESH: Final = 60.0
"""Seconds that an account is remembered."""

SPARE: Final = 300.0
"""Seconds that a token is good for beyond the job it is made for."""

MAX_KNOWN: Final = 1000


class _Known(NamedTuple):
    caller: Caller
    fresh_until: float
    good_until: float


class Callers:
    """Makes callers whose tokens are good for as long as their job may run, and a little more."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._known: dict[str, _Known] = {}

    async def of(self, user_id: str | None, seconds: float) -> Caller | None:
        """The caller of a job that may run for `seconds`; None where the server enqueued it.

        An account that has gone or is disabled is named all the same, without a token: a job of a
        user must not come to rights that the user never had. ACCESS grants it nothing either.
        """
        if user_id is None:
            return None
        now, known = time.monotonic(), self._known.get(user_id)
        if known is None or known.fresh_until <= now or known.good_until < now + seconds + FRESH:
            known = await self._ask(user_id, seconds, now)
            while len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[user_id] = known
        return known.caller

    async def _ask(self, user_id: str, seconds: float, now: float) -> _Known:
        user = await self._identity.user(user_id)
        lasts = seconds + SPARE
        try:
            token = await self._identity.token(user_id, lasts)
        except NotFound:
            token = ""
        caller = Caller(
            user_id=user_id,
            username=user.username if user else "",
            email=user.email if user else None,
            auth_token=token,
        )
        return _Known(caller, now + FRESH, now + lasts)
