"""Writes that act once for each idempotency key of a client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from kernel.public import Action, Actor, Answer, BadRequest, Forbidden, Transaction
from plugins.data.reads.tables import Dependencies, hooked, joining

from .replies import WriteReplies


class KeyedWrites(WriteReplies):
    """Adds writes that join the transaction of a key."""

    def __init__(self, services: Dependencies) -> None:
        super().__init__(services)
        self._idempotency = services.idempotency

    async def once(
        self,
        actor: Actor,
        app_id: str,
        request: tuple[str, str, bytes],
        needed: Sequence[tuple[str, Action]],
        work: Callable[[], Awaitable[Answer]],
    ) -> Answer:
        """See `Collections.once`."""
        service = self._idempotency()
        if service is None:
            raise BadRequest("Idempotency-Key is not supported: the plugin idempotency is off")
        app_key, rights = await self.app_key(app_id), await self._seen(actor, app_id, needed)
        route, key, body = request

        async def joined(tx: Transaction) -> Answer:
            with joining(tx):
                return await work()

        subject = hooked(self._bus, (f"{app_id}.{name}" for name, _ in needed))
        route = f"{app_key} {route}"
        return await service.once(actor, route, key, body, rights, joined, subject=subject)

    async def _seen(self, actor: Actor, app_id: str, needed: Sequence[tuple[str, Action]]) -> str:
        """Check permissions, and return what the actor may see of the entities, in any form."""
        for name, action in needed:
            await self._granted(actor, app_id, name, action)
        seen: list[str] = []
        for name in dict.fromkeys(name for name, _ in needed):
            try:
                grant = await self._granted(actor, app_id, name, "read")
                seen.append(f"{name} {grant.own_only} {sorted(grant.hidden)}")
            except Forbidden:
                seen.append(f"{name} -")
        return "; ".join(seen)
