"""The rules of the sign-in: codes, and sessions on apps' hosts."""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec
from msgspec.structs import replace

from kernel.public import (
    Actor,
    Forbidden,
    NotFound,
    ServiceKey,
    Sessions,
    Statements,
    Transaction,
    Unauthenticated,
)

from . import store
from .cookies import Attempt, make_challenge
from .models import PageSession

BAD_CODE = "the sign-in has expired, or was begun in another browser: begin it again"


class Opened(msgspec.Struct, frozen=True, rename="camel"):
    """The reply of SESSIONS: tokens, as far as the sign-in uses them."""

    access_token: str
    expires_in: int
    refresh_token: str | None = None


_decode_opened = msgspec.json.Decoder(Opened).decode


class AppSignIn:
    """Continues sessions of the server on apps' hosts. `key` seals the cookies there."""

    def __init__(self, statements: Statements, sessions: Sessions | None, key: bytes) -> None:
        self._statements = statements
        self._sessions = sessions
        self.key = key

    @property
    def sessions(self) -> Sessions:
        """The provider of SESSIONS. Raises NotFound where a proxy signs users in."""
        if self._sessions is None:
            raise NotFound("this server has no sign-in page: users are signed in before it")
        return self._sessions

    async def issue_code(self, actor: Actor, app_id: str, challenge: str) -> str:
        """Make a code that continues the caller's session on the host of an app.

        Raises Forbidden for a caller without a session, such as one with an API key.
        """
        _ = self.sessions
        user_id = actor.user_id
        session_id = actor.session_id
        if user_id is None or session_id is None or actor.delegation is not None:
            raise Forbidden("only a user that is signed in may continue on another host")
        code = secrets.token_urlsafe(32)
        owner = (user_id, session_id)

        async def insert(tx: Transaction) -> None:
            await store.insert_code(tx, _hash(code), app_id, challenge, owner)

        await self._statements.run(actor, insert)
        return code

    async def redeem_code(
        self, caller: Actor, attempt: Attempt, code: str, user_agent: str
    ) -> Opened:
        """Begin a session on an app's host, `caller.door`, for who made the code.

        The code is used up, whatever comes of it. Raises Unauthenticated.
        """
        used = await store.take_code(self._statements, _hash(code))
        if used is None or used.expired or used.app_id != caller.door:
            raise Unauthenticated(BAD_CODE)
        if not hmac.compare_digest(used.challenge, make_challenge(attempt.verifier)):
            raise Unauthenticated(BAD_CODE)
        actor = replace(caller, session_id=used.session_id)
        return _decode_opened(await self.sessions.begin(used.user_id, actor, user_agent))

    async def refresh(self, caller: Actor, token: str) -> tuple[PageSession, str]:
        """Return an access token, and the refresh token to keep. Raises Unauthenticated."""
        opened = _decode_opened(await self.sessions.refresh(token, caller))
        session = PageSession(access_token=opened.access_token, expires_in=opened.expires_in)
        return session, opened.refresh_token or token


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


SIGN_IN = ServiceKey[AppSignIn]("frontends_sign_in")
