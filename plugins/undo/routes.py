"""POST …/undo."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import APP_USER, ConcurrencyLimiter, Request, Response, Route, Services, reply

from .models import UndoBody, Undone
from .service import UndoService


class UndoRoutes:
    """The route of undo."""

    def __init__(self, services: Services) -> None:
        self._services = services
        # Each lists up to 100,000 changes, and holds a connection for as long as it takes.
        self._turns = ConcurrencyLimiter(
            4, per_key=2, queue=8, timeout=60, message="too many undos are under way",
            key_message="too many undos of this user are under way", retry_after=10,
        )  # fmt: skip

    def routes(self) -> Sequence[Route]:
        """Declare it. What a caller needs depends on the changes, so the service asks."""
        return [
            Route(
                "POST", "/api/v1/apps/{app_id}/undo", self.undo, APP_USER, UndoBody,
                returns=Undone, errors=(400, 403, 404, 412), app_hosts=True,
            ),
        ]  # fmt: skip

    async def undo(self, request: Request, body: UndoBody) -> Response:
        """Undo what a request did, or a user in some time, or what was done to a record.

        Deleted records come back with their ids, times and owners. Changed fields get their former
        values where they have not changed since. Created records are removed. The reply is 412
        where a record has changed since, and names it; with `mode` `possible` the others are put
        back. An undo is recorded as a request of its own, and can be undone.
        """
        service = UndoService(self._services)
        async with self._turns.hold(request.actor.user_id):
            undone = await service.undo(request.actor, request.path("app_id"), body)
        return reply(undone)
