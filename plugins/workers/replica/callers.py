"""On whose behalf a worker is called: the account with a token, kept for a moment."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from kernel.public import (
    REVOKED_DELEGATIONS,
    Actor,
    Caller,
    Delegation,
    Identity,
    InvalidatedCache,
    Limits,
    NotFound,
    Notifications,
    ServiceKey,
    Unauthenticated,
    new_delegation,
)


class Callers:
    """Makes callers whose tokens name an app, for at least `seconds`, and at most twice that.

    A worker that acts on behalf of a user passes on a token that expires no later than its own.
    """

    def __init__(self, identity: Identity, notifications: Notifications, seconds: float) -> None:
        self._identity = identity
        self._seconds = seconds
        self._cache = InvalidatedCache[tuple[str, str, Delegation | None, Limits | None], Caller](
            notifications, REVOKED_DELEGATIONS, size=2000, ttl=seconds,
            affects=lambda user_id, key, _: user_id == key[0],
        )  # fmt: skip

    async def get_caller(self, actor: Actor, app_id: str) -> Caller:
        """Return the caller for an actor that calls a worker of an app.

        Raises Unauthenticated if the account is gone.
        """
        key = (actor.user_id or "", app_id, actor.delegation, actor.limits)
        caller = self._cache.get(key)
        if caller is not None:
            return caller
        return await self._cache.get_or_load(key, lambda: self._load(*key))

    async def _load(
        self, user_id: str, app_id: str, delegation: Delegation | None, limits: Limits | None
    ) -> Caller:
        user = await self._identity.user(user_id)
        if user is None or user.disabled:
            raise Unauthenticated
        token = await self._issue_token(user_id, app_id, delegation, limits)
        return Caller(
            user_id=user.id,
            username=user.username,
            email=user.email,
            auth_token=token,
            limits=UNSET if limits is None else limits,
        )

    async def _issue_token(
        self, user_id: str, app_id: str, delegation: Delegation | None, limits: Limits | None
    ) -> str:
        new = new_delegation(app_id, 2 * self._seconds + 5)
        if delegation is not None:
            # A worker that goes on calling itself must not remain its caller for ever.
            expires = min(delegation.expires, new.expires)
            new = replace(delegation, app_id=app_id, expires=expires)
        try:
            if limits is None:
                return await self._identity.issue_delegated_token(user_id, new)
            return await self._identity.issue_delegated_token(user_id, new, limits)
        except NotFound:  # revoked since the request arrived
            raise Unauthenticated from None


CALLERS = ServiceKey[Callers]("workers_callers")
