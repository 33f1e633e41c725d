"""Sessions and their chains of refresh tokens."""

from __future__ import annotations

import uuid
from typing import Literal, NamedTuple

from msgspec.structs import replace

from kernel.public import Actor, Event, NotFound, Statements, Transaction, Unauthenticated, Work

from .accounts import check_id
from .authenticator import REVOKED_SESSION, TOPIC
from .config import AuthConfig
from .models import (
    Account,
    Client,
    Family,
    Limits,
    LoggedIn,
    NewSession,
    Refreshed,
    SessionView,
)  # fmt: skip
from .sign_in.limits import LoginLimiter, network_of
from .store import AuthStore
from .tokens import ACCESS_SECONDS, RefreshClaims, Tokens, digest

Link = Literal["current", "next", "parent", "stale"]


class Login(NamedTuple):
    """How a user has signed in.

    A session begins unless one of the limiter's `keys` is blocked. `new_hash` replaces a password
    hash with outdated parameters; `use_code` uses up a second factor. `external`: another plugin
    has authenticated the user.
    """

    keys: list[str]
    new_hash: str | None = None
    use_code: Work[None] | None = None
    external: bool = False


class AccountChanged(Unauthenticated):
    """The account was disabled, or got another password hash, after it was read."""


class Sessions:
    """Begins, renews and ends sessions."""

    def __init__(
        self,
        statements: Statements,
        store: AuthStore,
        tokens: Tokens,
        limiter: LoginLimiter,
        config: AuthConfig,
    ) -> None:
        self._statements = statements
        self._store = store
        self._tokens = tokens
        self._limiter = limiter
        self._rotate = config.rotate_refresh
        self._limits = Limits(config.session_idle, config.session_max)

    async def begin(
        self, account: Account, login: Login, caller: Actor, client: Client
    ) -> LoggedIn:
        """Begin a session. Raises Throttled, AccountChanged, and what `use_code` raises."""
        session_id, jti = str(uuid.uuid4()), self._tokens.first()
        seconds = min(self._limits.idle, self._limits.total)
        keys, new_hash = self._limiter.counted(login.keys), login.new_hash
        session = NewSession(session_id, digest(jti), seconds, login.external, keys)
        network = network_of(client.address)
        actor = replace(
            caller, user_id=account.id, username=account.username, session_id=session_id
        )

        async def insert(tx: Transaction) -> None:
            seen = account
            if new_hash is not None:
                # First: two that both read the row and then write it would wait for each other.
                await self._store.renew_hash(tx, account.id, account.password_hash, new_hash)
                seen = replace(account, password_hash=new_hash)
            found = await self._store.begin_session(tx, session, seen, client, network)
            self._limiter.refuse(found.blocked)
            if not found.begun:
                raise AccountChanged("invalid credentials")
            if login.use_code is not None:
                await login.use_code(tx)
            await _record(tx, "LOGIN", actor, session_id)
            for oldest in await self._store.excess(tx, account.id) if found.full else ():
                await self._end(tx, actor, oldest, "too many sessions")
            if network and not found.noted:
                await self._store.note_network(tx, account.id, network)

        await self._statements.run(actor, insert)
        expires_in = min(ACCESS_SECONDS, seconds)
        return LoggedIn(
            access_token=self._tokens.access(account.id, account.username, session_id, expires_in),
            refresh_token=self._tokens.refresh(account.id, session_id, jti, seconds),
            expires_in=expires_in,
            user=account.user.view,
        )

    async def refresh(self, token: str, caller: Actor) -> Refreshed:
        """Issue an access token, and the successor of the refresh token where tokens rotate.

        Raises Unauthenticated. A token whose successor was used ends the session.
        """
        claims = self._tokens.read_refresh(token)
        actor = replace(caller, user_id=claims.sub, session_id=claims.sid)

        async def use(tx: Transaction) -> tuple[str, int] | Unauthenticated:
            family = await self._store.lock_family(tx, claims.sid, claims.sub, self._limits)
            if family is None or family.revoked:
                return Unauthenticated(REVOKED_SESSION).of(claims.sub, claims.sid)
            if family.expired:
                expired = Unauthenticated("the session has expired: log in again")
                return expired.of(claims.sub, claims.sid)
            if (link := find_link(family, digest(claims.jti))) == "stale":
                await self._end(tx, actor, claims.sid, "a refresh token was used again")
                return Unauthenticated(REVOKED_SESSION).of(claims.sub, claims.sid)
            seconds = await self._advance(tx, claims, family, link, caller.address)
            return family.username, seconds

        # The error is returned, not raised: the transaction must commit.
        used = await self._statements.run(actor, use)
        if isinstance(used, Unauthenticated):
            try:
                raise used
            finally:
                del used  # a traceback would hold its own error
        (name, seconds), expires_in = used, min(ACCESS_SECONDS, used[1])
        return Refreshed(
            access_token=self._tokens.access(claims.sub, name, claims.sid, expires_in),
            expires_in=expires_in,
            refresh_token=self._successor(claims, seconds),
        )

    async def logout(self, token: str, caller: Actor) -> None:
        """End the session of a refresh token on every server process. Raises Unauthenticated."""
        claims = self._tokens.read_refresh(token)
        actor = replace(caller, user_id=claims.sub, session_id=claims.sid)
        if not await self._statements.run(actor, lambda tx: self._end(tx, actor, claims.sid)):
            raise Unauthenticated(REVOKED_SESSION).of(claims.sub, claims.sid)

    async def list(self, actor: Actor) -> list[SessionView]:
        """Return the caller's active sessions, the newest first."""
        found = await self._store.sessions(actor.user_id or "")
        return [replace(s, current=s.id == actor.session_id) for s in found]

    async def end(self, actor: Actor, session_id: str) -> None:
        """End a session of the caller. Raises BadRequest, NotFound."""
        check_id(session_id)
        if not await self._statements.run(
            actor, lambda tx: self._end(tx, actor, session_id.lower())
        ):
            raise NotFound(f"session '{session_id}' not found")

    async def _end(self, tx: Transaction, actor: Actor, session_id: str, reason: str = "") -> bool:
        if not await self._store.revoke_session(tx, session_id, actor.user_id or ""):
            return False
        await tx.publish(TOPIC, f"session:{session_id}")
        await _record(tx, "SESSION_REVOKED" if reason else "LOGOUT", actor, session_id, reason)
        return True

    async def _advance(
        self, tx: Transaction, claims: RefreshClaims, family: Family, link: Link, address: str
    ) -> int:
        if link == "next":
            await self._store.advance_session(tx, claims.sid)
        following = family.next_hash
        if link != "parent":
            following = digest(self._tokens.successor(claims.jti)) if self._rotate else None
        sid, limits = claims.sid, self._limits
        seconds = await self._store.touch_session(tx, sid, following, address, limits)
        await self._note_network(tx, claims.sub, address)
        return seconds

    def _successor(self, claims: RefreshClaims, seconds: int) -> str | None:
        if not self._rotate:
            return None
        jti = self._tokens.successor(claims.jti)
        return self._tokens.refresh(claims.sub, claims.sid, jti, seconds)

    async def _note_network(self, tx: Transaction, user_id: str, address: str) -> None:
        if network := network_of(address):
            await self._store.note_network(tx, user_id, network)


def find_link(family: Family, jti_hash: str) -> Link:
    """Return which link of its family's chain a refresh token is.

    `current` is the last one that was used. Its predecessor is valid for a grace period. Any older
    one is `stale`: a client fell behind, or the token was stolen.
    """
    if jti_hash == family.current_hash:
        return "current"
    if jti_hash == family.next_hash:
        return "next"
    if jti_hash == family.parent_hash and family.in_grace:
        return "parent"
    return "stale"


async def _record(
    tx: Transaction, operation: str, actor: Actor, session_id: str, reason: str = ""
) -> None:
    said = {"user_id": actor.user_id, "address": actor.address}
    new = said | {"reason": reason} if reason else said
    await tx.record(Event.core("sessions", operation, actor, session_id, new=new))
