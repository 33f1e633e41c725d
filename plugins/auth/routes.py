"""The routes under /auth and /users."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from kernel.public import (
    ANY_USER,
    CORE_ADMIN,
    HOOKS,
    PUBLIC,
    AuthMode,
    Forbidden,
    Message,
    Request,
    Response,
    Route,
    Services,
    SignInProvider,
    UserView,
    next_page,
    read_limit,
    reply,
    show_users,
)

from . import hookspecs
from .authenticator import authorization
from .config import AuthConfig
from .invites.routes import InviteRoutes
from .keys.routes import KeyRoutes
from .keys.service import refuse_key
from .models import (
    MAX_BODY,
    Credentials,
    LoggedIn,
    PasswordChange,
    Refreshed,
    RefreshToken,
    Registered,
    Registration,
    SessionView,
    UserChanges,
    UsersQuery,
    describe_client,
)
from .people.routes import PeopleRoutes
from .service import AUTH, Auth
from .sign_in.routes import SecondFactorRoutes


class AuthRoutes:
    """Decodes requests, calls the service, encodes replies."""

    def __init__(self, services: Services, config: AuthConfig) -> None:
        self._services = services
        self._second_factor = SecondFactorRoutes(services)
        self._keys = KeyRoutes(services)
        self._invites = InviteRoutes(services, config.url)
        self._people = PeopleRoutes(services)

    def routes(self) -> Sequence[Route]:
        """Declare the routes."""
        auth = "/api/v1/auth"
        users = "/api/v1/users"
        user = "/api/v1/users/{id}"
        return [
            Route(
                "GET", f"{auth}/mode", self.mode, PUBLIC, max_body=MAX_BODY, returns=AuthMode,
                app_hosts=True,
            ),
            Route(
                "POST", f"{auth}/register", self.register, PUBLIC, Registration, MAX_BODY,
                Registered, 201, errors=(401, 403, 429), app_hosts=True,
            ),
            Route(
                "POST", f"{auth}/login", self.login, PUBLIC, Credentials, MAX_BODY, LoggedIn,
                errors=(401, 429), app_hosts=True,
            ),
            Route(
                "POST", f"{auth}/refresh", self.refresh, PUBLIC, RefreshToken, MAX_BODY, Refreshed,
                errors=(401,), app_hosts=True,
            ),
            Route(
                "POST", f"{auth}/logout", self.logout, PUBLIC, RefreshToken, MAX_BODY, Message,
                errors=(401,), app_hosts=True,
            ),
            Route(
                "GET", f"{auth}/me", self.me, ANY_USER, max_body=MAX_BODY, returns=UserView,
                workers=True, app_hosts=True, narrowed=True,
            ),
            Route(
                "POST", f"{auth}/password", self.password, ANY_USER, PasswordChange, MAX_BODY,
                Message, errors=(429,),
            ),
            Route(
                "GET", f"{auth}/sessions", self.sessions, ANY_USER, max_body=MAX_BODY,
                returns=list[SessionView],
            ),
            Route(
                "DELETE", f"{auth}/sessions/{{id}}", self.end, ANY_USER, max_body=MAX_BODY,
                returns=Message, errors=(400,),
            ),
            Route(
                "GET", users, self.users, ANY_USER, returns=list[UserView], query=UsersQuery,
                workers=True, app_hosts=True,
            ),
            Route("PATCH", user, self.update, CORE_ADMIN, UserChanges, MAX_BODY, UserView),
            Route("DELETE", user, self.delete, CORE_ADMIN, None, MAX_BODY, Message, errors=(400,)),
            *self._second_factor.routes(),
            *self._keys.routes(),
            *self._invites.routes(),
            *self._people.routes(),
        ]  # fmt: skip

    @property
    def _auth(self) -> Auth:
        return self._services.get(AUTH)

    async def mode(self, request: Request) -> Response:
        """Show how to sign in: tokens are always needed, passwords work, `providers` sign users in
        too. `setupRequired`: the server waits for its first account; a public server never shows
        that."""
        required = await self._auth.registrations.setup_required()
        providers = list[SignInProvider]()
        if request.actor.door is None:  # there is no other page to sign in on an app's host
            answers = self._services.get(HOOKS).collect(hookspecs.sign_in_providers)
            providers = [provider for _, answer in answers for provider in answer]
        allows_passwords = self._allows_passwords(request)
        mode = AuthMode(
            setup_required=required, password_login_enabled=allows_passwords, providers=providers
        )
        return reply(mode)

    def _allows_passwords(self, request: Request) -> bool:
        """Whether an app's page may ask for passwords, where the request came through its host."""
        door = request.actor.door
        if door is None:
            return True
        hooks = self._services.get(HOOKS)
        answers = hooks.collect(hookspecs.app_host_allows_passwords, app_id=door)
        return all(is_allowed for _, is_allowed in answers)

    async def register(self, request: Request, body: Registration) -> Response:
        """Register an account; log in for tokens. The first account is admin of `core`.

        On a public server it needs the setup token that the server prints at its start, as
        `setupToken` or in the header `X-Setup-Token`.
        """
        if body.setup_token is None:
            body = replace(body, setup_token=request.headers.get("x-setup-token"))
        user = await self._auth.registrations.register(body, request.actor, authorization(request))
        return reply({"user": user.view}, 201)

    async def login(self, request: Request, body: Credentials) -> Response:
        """Log in with a username or an email: begin a session.

        On the host of an app its tokens are good there only.
        """
        if not self._allows_passwords(request):
            raise Forbidden("passwords are for the server's own page: sign in there")
        user_agent = request.headers.get("user-agent", "")
        client = describe_client(request.address, user_agent)
        return reply(await self._auth.logins.login(body, request.actor, client))

    async def refresh(self, request: Request, body: RefreshToken) -> Response:
        """Refresh a session: get an access token, and a successor of the refresh token."""
        return reply(await self._auth.sessions.refresh(body.refresh_token, request.actor))

    async def logout(self, request: Request, body: RefreshToken) -> Response:
        """Log out: end a session and its access tokens at once."""
        await self._auth.sessions.logout(body.refresh_token, request.actor)
        return reply({"message": "logged out"})

    async def me(self, request: Request) -> Response:
        """Show the caller."""
        user = await self._auth.accounts.me(request.actor)
        return reply(user.view)

    async def password(self, request: Request, body: PasswordChange) -> Response:
        """Change the caller's password and end the other sessions."""
        refuse_key(request.actor)
        await self._auth.logins.change_password(request.actor, body)
        return reply({"message": "password changed"})

    async def sessions(self, request: Request) -> Response:
        """List the caller's sessions."""
        return reply(await self._auth.sessions.list(request.actor))

    async def end(self, request: Request) -> Response:
        """End one of the caller's sessions."""
        refuse_key(request.actor)
        session_id = request.path("id")
        await self._auth.sessions.end(request.actor, session_id)
        return reply({"message": f"session '{session_id}' ended"})

    async def users(self, request: Request) -> Response:
        """List the accounts that the caller may see, by username: all, or a page of `limit`.

        A worker, and a caller on the host of an app, see the names of who has a role on the app. A
        full page has the header `Link` with the address of the next one, where `after` is the id
        of the last user.
        """
        query = request.query()
        limit = None
        if "limit" in query:
            limit = read_limit(query["limit"], 0)
        users = await self._auth.accounts.page(request.actor, limit, query.get("after"))
        headers = next_page(request, limit, [user.id for user in users])
        return reply(show_users(request.actor, users), headers=headers)

    async def update(self, request: Request, body: UserChanges) -> Response:
        """Change an account: display name, email, password, or whether it is disabled."""
        user = await self._auth.changes.update(request.actor, request.path("id"), body)
        return reply(user.view)

    async def delete(self, request: Request) -> Response:
        """Remove an account."""
        user = await self._auth.changes.delete(request.actor, request.path("id"))
        return reply({"message": f"user '{user.username}' deleted"})
