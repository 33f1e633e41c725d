"""The routes under /auth and /users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kernel.public import (
    ANY_USER,
    CORE_ADMIN,
    PUBLIC,
    Actor,
    Request,
    Response,
    Route,
    Services,
    Unauthenticated,
    reply,
)

from .models import (
    Client,
    Credentials,
    PasswordChange,
    RefreshToken,
    Registration,
    UserChanges,
    view,
)
from .service import AUTH, AuthService

MAX_BODY: Final = 64_000


class AuthRoutes:
    """Decode, ask the service, encode."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Sequence[Route]:
        """Declare them."""
        auth, users = "/api/v1/auth", "/api/v1/users"
        return [
            Route("GET", f"{auth}/mode", self.mode, PUBLIC, max_body=MAX_BODY),
            Route("POST", f"{auth}/register", self.register, PUBLIC, Registration, MAX_BODY),
            Route("POST", f"{auth}/login", self.login, PUBLIC, Credentials, MAX_BODY),
            Route("POST", f"{auth}/refresh", self.refresh, PUBLIC, RefreshToken, MAX_BODY),
            Route("POST", f"{auth}/logout", self.logout, PUBLIC, RefreshToken, MAX_BODY),
            Route("GET", f"{auth}/me", self.me, ANY_USER, max_body=MAX_BODY),
            Route("POST", f"{auth}/password", self.password, ANY_USER, PasswordChange, MAX_BODY),
            Route("GET", f"{auth}/sessions", self.sessions, ANY_USER, max_body=MAX_BODY),
            Route("DELETE", f"{auth}/sessions/{{id}}", self.end, ANY_USER, max_body=MAX_BODY),
            Route("GET", users, self.users, ANY_USER),
            Route("PATCH", f"{users}/{{id}}", self.update, CORE_ADMIN, UserChanges, MAX_BODY),
            Route("DELETE", f"{users}/{{id}}", self.delete, CORE_ADMIN, max_body=MAX_BODY),
        ]

    @property
    def _auth(self) -> AuthService:
        return self._services.get(AUTH)

    async def authenticate(self, request: Request) -> Actor | None:
        """Answer the hook: None only where there is no Authorization header at all."""
        header = authorization(request)
        if header is None:
            return None
        return await self._auth.gate.actor(header, request.request_id, request.address)

    async def mode(self, request: Request) -> Response:
        """Tell whether tokens are needed (always), and whether nobody has registered yet."""
        setup = {"setupRequired": True} if await self._auth.setup_required() else {}
        return reply({"authRequired": True, **setup})

    async def register(self, request: Request, body: Registration) -> Response:
        """Make an account; no tokens."""
        user = await self._auth.register(body, request.actor, authorization(request))
        return reply({"user": view(user)}, 201)

    async def login(self, request: Request, body: Credentials) -> Response:
        """Begin a session."""
        client = Client(request.address, request.headers.get("user-agent", ""))
        return reply(await self._auth.login(body, request.actor, client))

    async def refresh(self, request: Request, body: RefreshToken) -> Response:
        """Go on with a session."""
        return reply(await self._auth.refresh(body.refresh_token, request.actor))

    async def logout(self, request: Request, body: RefreshToken) -> Response:
        """End a session."""
        await self._auth.logout(body.refresh_token, request.actor)
        return reply({"message": "logged out"})

    async def me(self, request: Request) -> Response:
        """Show the caller."""
        return reply(view(await self._auth.me(request.actor)))

    async def password(self, request: Request, body: PasswordChange) -> Response:
        """Change the caller's password."""
        await self._auth.change_password(request.actor, body)
        return reply({"message": "password changed"})

    async def sessions(self, request: Request) -> Response:
        """List the caller's sessions."""
        return reply(await self._auth.sessions(request.actor))

    async def end(self, request: Request) -> Response:
        """End one of the caller's sessions."""
        session_id = request.path("id")
        await self._auth.end_session(request.actor, session_id)
        return reply({"message": f"session '{session_id}' ended"})

    async def users(self, request: Request) -> Response:
        """List the accounts by username."""
        return reply([view(user) for user in await self._auth.accounts.users()])

    async def update(self, request: Request, body: UserChanges) -> Response:
        """Change an account."""
        return reply(
            view(await self._auth.accounts.update(request.actor, request.path("id"), body))
        )

    async def delete(self, request: Request) -> Response:
        """Remove an account."""
        user = await self._auth.accounts.delete(request.actor, request.path("id"))
        return reply({"message": f"user '{user.username}' deleted"})


def authorization(request: Request) -> bytes | None:
    """The one Authorization header. Raises Unauthenticated where there are several."""
    found: bytes | None = None
    for name, value in request.scope["headers"]:
        if name == b"authorization":
            if found is not None:
                raise Unauthenticated
            found = value
    return found
