"""The routes of invites."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    CORE_ADMIN,
    PUBLIC,
    Message,
    Request,
    Response,
    Route,
    Services,
    find_origin,
    reply,
)
from plugins.auth.models import MAX_BODY, Registered
from plugins.auth.service import AUTH, Auth

from .models import Acceptance, InviteRow, InviteToken, MadeInvite, NewInvite, ShownInvite


class InviteRoutes:
    """Decodes requests, calls the service, encodes replies."""

    def __init__(self, services: Services, url: str) -> None:
        """`url` is what links begin with; empty for the address of a request."""
        self._services = services
        self._url = url

    def routes(self) -> Sequence[Route]:
        """Declare the routes."""
        invites = "/api/v1/users/invites"
        guest = "/api/v1/auth/invites"
        return [
            Route("GET", invites, self.list, CORE_ADMIN, returns=list[InviteRow]),
            Route("POST", invites, self.create, CORE_ADMIN, NewInvite, MAX_BODY, MadeInvite, 201,
                  errors=(403, 404)),
            Route("DELETE", f"{invites}/{{id}}", self.withdraw, CORE_ADMIN, None, MAX_BODY, Message,
                  errors=(400, 403, 404)),
            Route("POST", f"{guest}/show", self.show, PUBLIC, InviteToken, MAX_BODY, ShownInvite,
                  errors=(403, 429)),
            Route("POST", f"{guest}/accept", self.accept, PUBLIC, Acceptance, MAX_BODY, Registered,
                  201, errors=(403, 429)),
        ]  # fmt: skip

    @property
    def _auth(self) -> Auth:
        return self._services.get(AUTH)

    async def list(self, request: Request) -> Response:
        """List the invites, the newest first; used and expired ones for 30 days more."""
        return reply(await self._auth.invites.list())

    async def create(self, request: Request, body: NewInvite) -> Response:
        """Invite a person: get a link that makes one account, with a role. It is shown this once.

        It ends after 7 days, or at `expires`. Plugins may send it (hook `invite_created`).
        """
        page = find_origin(request, self._url) + request.public_path("/console/")
        return reply(await self._auth.invites.create(request.actor, body, page), 201)

    async def withdraw(self, request: Request) -> Response:
        """Withdraw an invite: its link is worth nothing from now on."""
        invite_id = request.path("id")
        await self._auth.invites.withdraw(request.actor, invite_id)
        return reply({"message": f"invite '{invite_id}' withdrawn"})

    async def show(self, request: Request, body: InviteToken) -> Response:
        """Show what the invite of a link is for."""
        return reply(await self._auth.invites.show(request.actor, body.token))

    async def accept(self, request: Request, body: Acceptance) -> Response:
        """Make the account of an invite, which works once; log in for tokens."""
        user = await self._auth.invites.accept(request.actor, body)
        return reply({"user": user.view}, 201)
