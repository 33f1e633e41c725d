"""Lets a machine in by a key in a header of its own."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hmac import compare_digest

from caudex import (
    IDENTITY,
    Actor,
    Identity,
    Plugin,
    Request,
    Section,
    Services,
    Unauthenticated,
    hookimpl,
)


class KeyConfig(Section, frozen=True, kw_only=True):
    """`[plugins.authenticate]`: the key, and its account."""

    key: str = ""
    username: str = ""


class AuthenticatePlugin(Plugin):
    """Reads `X-Machine-Key`; other plugins authenticate all other requests."""

    name = "authenticate"
    requires = (IDENTITY,)
    Config = KeyConfig
    config: KeyConfig
    _identity: Identity

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Keep the service that each request needs."""
        self._identity = services.get(IDENTITY)
        yield

    @hookimpl
    async def authenticate(self, request: Request) -> Actor | None:
        """None is "not mine"; raising is "mine, and bad"."""
        given = request.headers.get("x-machine-key")
        if given is None or not self.config.key:
            return None
        if not compare_digest(given.encode(), self.config.key.encode()):
            raise Unauthenticated("this machine key opens nothing")
        user = await self._identity.find(self.config.username)
        if user is None or user.disabled:
            raise Unauthenticated("there is no such machine account")
        return Actor(user_id=user.id, username=user.username, request_id=request.request_id)
