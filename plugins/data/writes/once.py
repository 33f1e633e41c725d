"""Writes that act once for each idempotency key of a client."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kernel.public import Action, Actor, Answer, Apps, BadRequest, Idempotency, KeyedRequest, Work
from plugins.data.execution.participants import Participants
from plugins.data.rights.permissions import Permissions


class KeyedWrites:
    """Runs writes in the transaction that keeps their key."""

    def __init__(
        self,
        apps: Apps,
        permissions: Permissions,
        participants: Participants,
        idempotency: Callable[[], Idempotency | None],
    ) -> None:
        self._apps = apps
        self._permissions = permissions
        self._participants = participants
        self._idempotency = idempotency

    async def run_once(
        self,
        actor: Actor,
        app_id: str,
        request: KeyedRequest,
        needed: Sequence[tuple[str, Action]],
        work: Work[Answer],
    ) -> Answer:
        """See `Records.run_once`."""
        service = self._idempotency()
        if service is None:
            raise BadRequest("Idempotency-Key is not supported: the plugin idempotency is off")
        app = await self._apps.app(app_id)
        rights = await self._describe_rights(actor, app_id, needed)
        subjects = [f"{app_id}.{name}" for name, _ in needed]
        subject = self._participants.find_joined_subject(subjects)
        of_app = KeyedRequest(f"{app.key} {request.route}", request.key, request.body)
        return await service.run_once(actor, of_app, rights, work, subject=subject)

    async def _describe_rights(
        self, actor: Actor, app_id: str, needed: Sequence[tuple[str, Action]]
    ) -> str:
        """Check permissions, and return what the actor may see of the entities, in any form."""
        for name, action in needed:
            await self._permissions.require(actor, app_id, name, action)
        descriptions: list[str] = []
        for name in dict.fromkeys(name for name, _ in needed):
            grant = await self._permissions.find_read_grant(actor, app_id, name)
            if grant is None:
                descriptions.append(f"{name} -")
            else:
                descriptions.append(f"{name} {grant.own_only} {sorted(grant.hidden)}")
        return "; ".join(descriptions)
