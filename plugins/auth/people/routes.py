"""The routes of profiles and of the accounts as admins see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kernel.public import (
    ANY_USER,
    CORE_ADMIN,
    Request,
    Response,
    Route,
    Services,
    UserView,
    next_page,
    read_limit,
    reply,
)
from plugins.auth.models import MAX_BODY, UsersQuery
from plugins.auth.service import AUTH, Auth

from .models import AccountRow, EndedSessions, OwnChanges

PAGE: Final = 200
"""Accounts of a page whose request names no number."""


class PeopleRoutes:
    """Decodes requests, calls the service, encodes replies."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Sequence[Route]:
        """Declare the routes."""
        return [
            Route("PATCH", "/api/v1/auth/profile", self.change, ANY_USER, OwnChanges, MAX_BODY,
                  UserView, errors=(400, 403, 429)),
            Route("GET", "/api/v1/users/accounts", self.list, CORE_ADMIN,
                  returns=list[AccountRow], query=UsersQuery),
            Route("DELETE", "/api/v1/users/{id}/sessions", self.end, CORE_ADMIN, None, MAX_BODY,
                  EndedSessions, errors=(400, 403, 404)),
        ]  # fmt: skip

    @property
    def _auth(self) -> Auth:
        return self._services.get(AUTH)

    async def change(self, request: Request, body: OwnChanges) -> Response:
        """Change the caller's display name, or with the password the email."""
        user = await self._auth.people.change_own(request.actor, body)
        return reply(user.view)

    async def list(self, request: Request) -> Response:
        """List accounts by username, with the last sign-in and what secures them: 200 a page.

        A full page has the header `Link` with the address of the next one.
        """
        query = request.query()
        limit = read_limit(query.get("limit", str(PAGE)), 0)
        accounts = await self._auth.people.list_accounts(limit, query.get("after"))
        headers = next_page(request, limit, [account.id for account in accounts])
        return reply(accounts, headers=headers)

    async def end(self, request: Request) -> Response:
        """End all sessions of an account; of the caller's own all but the present one."""
        ended = await self._auth.people.end_sessions(request.actor, request.path("id"))
        return reply(ended)
