"""On whose behalf jobs run: accounts and tokens, remembered for a moment."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from kernel.public import Caller, Delegation, Identity, NotFound, issue_delegated_token

from .models import Claimed

FRESH: Final = 60.0
"""Seconds that an account is remembered."""

SPARE: Final = 300.0
"""Seconds that a token is good for beyond the job it is made for."""

MAX_KNOWN: Final = 1000


class _Key(NamedTuple):
    """What jobs have in common that share a token: it is good for no longer than each needs."""

    user_id: str
    seconds: float
    until: float
    mark: str


class _Known(NamedTuple):
    caller: Caller
    fresh_until: float


class Callers:
    """Makes callers whose tokens are good for as long as their job may run, and a little more, but
    not beyond the end of the delegation that the job has."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._known: dict[_Key, _Known] = {}
        self._news = 0

    async def of(self, job: Claimed) -> Caller | None:
        """The caller of a job; None where the server enqueued it.

        An account that has gone or is disabled is named all the same, without a token: a job of a
        user must not come to rights that the user never had. ACCESS grants it nothing either. So
        is the user of a job whose delegation has ended, or was withdrawn.
        """
        if job.user_id is None:
            return None
        key = _Key(job.user_id, job.timeout_s, job.until, job.mark)
        now, known = time.monotonic(), self._known.get(key)
        if known is not None and known.fresh_until > now:
            return known.caller
        heard = self._news
        caller = await self._ask(key)
        if heard == self._news:  # else the token may be older than the news
            self._remember(key, _Known(caller, now + FRESH))
        return caller

    async def hear(self, news: str | None) -> None:
        """Forget the user whose tokens hold no more; None means that anybody's may not."""
        self._news += 1
        for key in [key for key in self._known if news in (None, key.user_id)]:
            del self._known[key]

    async def _ask(self, key: _Key) -> Caller:
        user = await self._identity.user(key.user_id)
        return Caller(
            user_id=key.user_id,
            username=user.username if user else "",
            email=user.email if user else None,
            auth_token=await self._token(key),
        )

    async def _token(self, key: _Key) -> str:
        now = time.time()
        expires = min(now + key.seconds + SPARE, key.until)
        if expires <= now:
            return ""
        delegation = Delegation(expires=expires, ends=key.until, mark=key.mark)
        try:
            return await issue_delegated_token(self._identity, key.user_id, delegation)
        except NotFound:
            return ""

    def _remember(self, key: _Key, known: _Known) -> None:
        self._known.pop(key, None)
        while len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[key] = known
