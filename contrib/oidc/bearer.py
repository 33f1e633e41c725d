"""Access tokens of the provider, which agents bring: for a few paths of this server alone."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final

import msgspec

from kernel.public import (
    MAX_TOKEN,
    Access,
    Actor,
    FactorDemands,
    Forbidden,
    Identity,
    Request,
    Unauthenticated,
    find_bearer_token,
    supports,
)

from .config import OidcConfig
from .provider import OidcProvider
from .store import OidcStore

NO_ACCOUNT: Final = "no account is linked to this sign-in: sign in once in the browser"
NEEDS_FACTOR: Final = "this account needs a second factor here: use an API key"


class _Issued(msgspec.Struct, frozen=True, kw_only=True):
    """What an unverified token says of itself."""

    iss: str = ""


class BearerTokens:
    """Finds the user of an access token that the provider issued for a path of this server.

    Nothing is made for such a token: its subject is linked to an account by a sign-in before.
    """

    def __init__(
        self,
        config: OidcConfig,
        provider: OidcProvider,
        store: OidcStore,
        identity: Identity,
        find_access: Callable[[], Access | None],
    ) -> None:
        self._config = config
        self._provider = provider
        self._store = store
        self._identity = identity
        self._find_access = find_access

    def is_for(self, request: Request, door: str | None) -> bool:
        """Whether a request is for a path that takes such tokens, at the server's own host."""
        return door is None and request.scope["path"] in self._config.resources

    async def find_actor(self, request: Request) -> Actor | None:
        """Return the user of the token; None without one, and for one of another issuer.

        Raises Unauthenticated, Forbidden, Unavailable.
        """
        token = find_bearer_token(request)
        if _read_issuer(token) != self._config.issuer:
            return None
        audience = self._config.public_url.rstrip("/") + request.scope["path"]
        claims = await self._provider.verify_access_token(token, audience)
        user_id = await self._store.find_linked(claims["iss"], claims["sub"])
        user = None if user_id is None else await self._identity.user(user_id)
        if user is None or user.disabled:
            raise Unauthenticated(NO_ACCOUNT)
        access = self._find_access()
        if (
            access is not None
            and supports(access, FactorDemands)
            and await access.demands_factor(user.id, of_admins=False)
        ):
            raise Forbidden(NEEDS_FACTOR)
        return Actor(
            user_id=user.id,
            username=user.username,
            request_id=request.request_id,
            address=request.address,
        )


def _read_issuer(token: str) -> str:
    """Return who issued a JWT, as it says itself; empty for any other text."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN or len(parts) != 3:
        return ""
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(claims, type=_Issued).iss
    except (ValueError, msgspec.MsgspecError):
        return ""
