"""What workers of an app may do on other apps, on behalf of users that may do it themselves."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import Actor, AppGrant, BadRequest, Event, NotFound, Statements, Transaction

from . import store
from .decisions import TOPIC, RoleCache, notification
from .grammar import check_keys
from .models import CORE


class CrossAppGrants:
    """Stores them. A change applies to all processes within a second."""

    def __init__(self, statements: Statements, role_cache: RoleCache) -> None:
        self._statements = statements
        self._cache = role_cache

    async def list_grants(self, app_id: str) -> Sequence[AppGrant]:
        """List the grants of an app. Raises NotFound."""
        await self._cache.app(app_id)
        return await store.grants_of(self._statements, app_id)

    async def add(self, actor: Actor, app_id: str, grant: AppGrant) -> None:
        """Add permission keys of another app. Raises BadRequest, NotFound."""
        if CORE in (app_id, grant.app) or app_id == grant.app:
            raise BadRequest("app: must be an app other than this one, and none of them core")

        async def work(tx: Transaction) -> None:
            target, _ = await store.lock_app(tx, grant.app)
            await self._cache.app(app_id)
            check_keys(grant.permissions, target.entities, target.permissions)
            present_keys = target.grants.get(app_id, ())
            keys = list(dict.fromkeys([*present_keys, *grant.permissions]))
            await store.put_grant(tx, app_id, grant.app, keys)
            await _record(tx, "GRANT_ADDED", app_id, AppGrant(grant.app, keys))

        await self._statements.run(actor, work)

    async def revoke(self, actor: Actor, app_id: str, target_id: str) -> None:
        """Revoke all keys of another app. Raises NotFound."""

        async def work(tx: Transaction) -> None:
            keys = await store.delete_grant(tx, app_id, target_id)
            if keys is None:
                raise NotFound(f"app '{app_id}' has no grant on app '{target_id}'")
            await _record(tx, "GRANT_REVOKED", app_id, AppGrant(target_id, keys))

        await self._statements.run(actor, work)

    async def removing(self, tx: Transaction, app_id: str) -> None:
        """Have every process read the apps again that an app has grants on, before it is gone."""
        for grant in await store.grants_of(tx, app_id):
            await tx.publish(TOPIC, notification(grant.app))


async def _record(tx: Transaction, operation: str, app_id: str, grant: AppGrant) -> None:
    values = {"app_id": app_id, "app": grant.app, "permissions": grant.permissions}
    if operation == "GRANT_REVOKED":
        event = Event.core("grants", operation, tx.actor, app_id, old=values)
    else:
        event = Event.core("grants", operation, tx.actor, app_id, new=values)
    await tx.record(event)
    await tx.publish(TOPIC, notification(grant.app))
