"""The caller of a job: the user that its worker acts for, with a token for as long as it runs."""

from __future__ import annotations

import time
from typing import NamedTuple

from msgspec import UNSET

from kernel.public import (
    NOTHING,
    REVOKED_DELEGATIONS,
    Caller,
    Delegation,
    Identity,
    InvalidatedCache,
    Limits,
    NotFound,
    Notifications,
)
from plugins.jobs.models import Claimed


class _Key(NamedTuple):
    """Jobs with the same key share a token."""

    user_id: str
    app_id: str
    seconds: float
    ends: float
    epoch: str
    limits: Limits | None


class Callers:
    """The callers of jobs, each with a token that is valid for as long as the job may run and five
    minutes more, but not beyond the end of the job's delegation."""

    def __init__(self, identity: Identity, notifications: Notifications) -> None:
        self._identity = identity
        self._cache = InvalidatedCache[_Key, Caller](
            notifications,
            REVOKED_DELEGATIONS,
            size=1000,
            ttl=60,
            affects=lambda user_id, key, _: key.user_id == user_id,
        )

    async def find(self, job: Claimed) -> Caller | None:
        """Return the caller of a job; None for a job that the server enqueued.

        For an account that was deleted or disabled the caller has no token: a job of a user must
        not gain rights that the user never had, and ACCESS grants it nothing. The same holds for a
        job whose delegation ended or was revoked.
        """
        if job.user_id is None:
            return None
        key = _Key(
            job.user_id,
            job.app_id,
            job.timeout_s,
            job.delegation_ends,
            job.delegation_epoch,
            job.limits,
        )
        caller = self._cache.get(key)
        if caller is not None:
            return caller
        return await self._cache.get_or_load(key, lambda: self._load(key))

    async def _load(self, key: _Key) -> Caller:
        user = await self._identity.user(key.user_id)
        token = await self._issue_token(key)
        limits = key.limits
        if limits is not None and not token:
            limits = NOTHING  # what an API key began ends with it
        return Caller(
            user_id=key.user_id,
            username=user.username if user else "",
            email=user.email if user else None,
            auth_token=token,
            limits=UNSET if limits is None else limits,
        )

    async def _issue_token(self, key: _Key) -> str:
        now = time.time()
        expires = min(now + key.seconds + 300, key.ends)
        if expires <= now:
            return ""
        delegation = Delegation(app_id=key.app_id, expires=expires, ends=key.ends, epoch=key.epoch)
        try:
            if key.limits is None:
                return await self._identity.issue_delegated_token(key.user_id, delegation)
            return await self._identity.issue_delegated_token(key.user_id, delegation, key.limits)
        except NotFound:
            return ""
