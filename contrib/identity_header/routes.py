"""Accounts over HTTP, without login and logout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kernel.public import (
    ANY_USER,
    CORE_ADMIN,
    PUBLIC,
    AuthMode,
    Message,
    NotFound,
    Person,
    Request,
    Response,
    Route,
    ServiceKey,
    Services,
    UserView,
    next_page,
    read_limit,
    reply,
    show_users,
)

from .models import NewUser, UserChanges, UsersQuery
from .service import HeaderIdentity

MAX_BODY: Final = 64_000
HEADER_IDENTITY: Final = ServiceKey[HeaderIdentity]("identity")
"""IDENTITY, by an engine that can do more."""


class IdentityHeaderRoutes:
    """Decode, ask the service, encode."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Sequence[Route]:
        """Declare them."""
        auth = "/api/v1/auth"
        users = "/api/v1/users"
        return [
            Route(
                "GET", f"{auth}/mode", self.mode, PUBLIC, returns=AuthMode, app_hosts=True
            ),
            Route(
                "GET", f"{auth}/me", self.me, ANY_USER, returns=UserView, errors=(404,),
                workers=True, app_hosts=True,
            ),
            Route(
                "GET", users, self.users, ANY_USER, returns=list[UserView], query=UsersQuery,
                workers=True, app_hosts=True,
            ),
            Route(
                "POST", users, self.add, CORE_ADMIN, NewUser, MAX_BODY, returns=UserView, status=201
            ),
            Route(
                "PATCH", f"{users}/{{id}}", self.update, CORE_ADMIN, UserChanges, MAX_BODY,
                returns=UserView,
            ),
            Route(
                "DELETE", f"{users}/{{id}}", self.delete, CORE_ADMIN, returns=Message,
                errors=(400,),
            ),
        ]  # fmt: skip

    @property
    def _identity(self) -> HeaderIdentity:
        return self._services.get(HEADER_IDENTITY)

    async def mode(self, request: Request) -> Response:
        """Report that a proxy signs users in, and whether any user has signed in."""
        setup = await self._identity.setup_required()
        return reply(AuthMode(setup_required=setup, password_login_enabled=False))

    async def me(self, request: Request) -> Response:
        """Show the caller's account."""
        user = await self._identity.user(request.actor.user_id or "")
        if user is None:
            raise NotFound("the account is gone")
        return reply(user.view)

    async def users(self, request: Request) -> Response:
        """List the accounts that the caller may see, by username: all, or a page of `limit`.

        A full page has the header `Link` with the address of the next one, where `after` is the id
        of the last user.
        """
        query = request.query()
        limit = None
        if "limit" in query:
            limit = read_limit(query["limit"], 0)
        users = await self._identity.page(request.actor, limit, query.get("after"))
        headers = next_page(request, limit, [user.id for user in users])
        return reply(show_users(request.actor, users), headers=headers)

    async def add(self, request: Request, body: NewUser) -> Response:
        """Create an account before the first sign-in of its user."""
        person = Person(username=body.username, email=body.email, display_name=body.display_name)
        user = await self._identity.add(request.actor, person)
        return reply(user.view, 201)

    async def update(self, request: Request, body: UserChanges) -> Response:
        """Close an account, or open it again."""
        user_id = request.path("id")
        user = await self._identity.set_disabled(request.actor, user_id, body.disabled)
        return reply(user.view)

    async def delete(self, request: Request) -> Response:
        """Delete an account; not while records need it."""
        user = await self._identity.delete(request.actor, request.path("id"))
        return reply({"message": f"user '{user.username}' deleted"})
