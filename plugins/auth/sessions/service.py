"""Sessions and their chains of refresh tokens."""

from __future__ import annotations

import uuid
from typing import Literal, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from kernel.public import Actor, Event, NotFound, Statements, Transaction, Unauthenticated, Work
from plugins.auth.accounts.store import AccountStore
from plugins.auth.authenticator import OTHER_DOOR, REVOKED_SESSION, TOPIC
from plugins.auth.config import AuthConfig
from plugins.auth.models import (
    Account,
    Client,
    Family,
    Limits,
    LoggedIn,
    NewSession,
    Refreshed,
    SessionView,
)  # fmt: skip
from plugins.auth.rules.ids import check_id
from plugins.auth.sign_in.limits import LoginLimiter, network_of
from plugins.auth.tokens import ACCESS_SECONDS, RefreshClaims, Tokens, digest

from .store import SessionStore

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


class TokenUse(NamedTuple):
    """What the use of a refresh token found: whose it is, and how long its session still lasts."""

    username: str
    seconds: int


class AccountChanged(Unauthenticated):
    """The account was disabled, or got another password hash, after it was read."""


class Sessions:
    """Begins, renews and ends sessions."""

    def __init__(
        self,
        statements: Statements,
        accounts: AccountStore,
        store: SessionStore,
        tokens: Tokens,
        limiter: LoginLimiter,
        config: AuthConfig,
    ) -> None:
        self._statements = statements
        self._accounts = accounts
        self._store = store
        self._tokens = tokens
        self._limiter = limiter
        self._rotate = config.rotate_refresh
        self._limits = Limits(config.session_idle, config.session_max)

    async def begin(
        self, account: Account, login: Login, caller: Actor, client: Client
    ) -> LoggedIn:
        """Begin a session. Raises Throttled, AccountChanged, and what `use_code` raises."""
        session_id = str(uuid.uuid4())
        token_id = self._tokens.make_first_id()
        seconds = min(self._limits.idle, self._limits.total)
        session = NewSession(
            id=session_id,
            first_hash=digest(token_id),
            seconds=seconds,
            external=login.external,
            keys=self._limiter.select_counted(login.keys),
            door=caller.door,
        )
        network = network_of(client.address)
        actor = replace(
            caller, user_id=account.id, username=account.username, session_id=session_id
        )

        async def insert(tx: Transaction) -> None:
            current = account
            if login.new_hash is not None:
                # First: two that both read the row and then write it would wait for each other.
                old_hash = account.password_hash
                await self._accounts.renew_hash(tx, account.id, old_hash, login.new_hash)
                current = replace(account, password_hash=login.new_hash)

            result = await self._store.begin_session(tx, session, current, client, network)
            self._limiter.refuse(result.blocked)
            if not result.begun:
                raise AccountChanged("invalid credentials")

            if login.use_code is not None:
                await login.use_code(tx)
            await _record(tx, "LOGIN", actor, session_id)
            if result.full:
                for oldest_id in await self._store.list_excess(tx, account.id):
                    await self._end(tx, actor, oldest_id, "too many sessions")
            if network and not result.noted:
                await self._store.note_network(tx, account.id, network)

        await self._statements.run(actor, insert)
        expires_in = min(ACCESS_SECONDS, seconds)
        access_token = self._tokens.access(
            account.id, account.username, session_id, expires_in, door=caller.door
        )
        refresh_token = self._tokens.refresh(
            account.id, session_id, token_id, seconds, door=caller.door
        )
        return LoggedIn(
            access_token=access_token,
            refresh_token=refresh_token,
            expires_in=expires_in,
            user=account.user.view,
        )

    async def is_external(self, session_id: str, user_id: str) -> bool:
        """Whether a session began without a password. Raises Unauthenticated where it ended."""
        is_external = await self._store.is_external(session_id, user_id)
        if is_external is None:
            raise Unauthenticated(REVOKED_SESSION)
        return is_external

    async def refresh(self, token: str, caller: Actor) -> Refreshed:
        """Issue an access token, and the successor of the refresh token where tokens rotate.

        Raises Unauthenticated. A token whose successor was used ends the session.
        """
        claims = self._read_token(token, caller)
        actor = replace(caller, user_id=claims.sub, session_id=claims.sid)

        async def use(tx: Transaction) -> TokenUse | Unauthenticated:
            family = await self._store.lock_family(
                tx, claims.sid, claims.sub, claims.door, self._limits
            )
            if family is None or family.revoked:
                return Unauthenticated(REVOKED_SESSION).with_caller(claims.sub, claims.sid)
            if family.expired:
                expired = Unauthenticated("the session has expired: log in again")
                return expired.with_caller(claims.sub, claims.sid)
            link = find_link(family, digest(claims.jti))
            if link == "stale":
                await self._end(tx, actor, claims.sid, "a refresh token was used again")
                return Unauthenticated(REVOKED_SESSION).with_caller(claims.sub, claims.sid)
            seconds = await self._advance(tx, claims, family, link, caller.address)
            return TokenUse(family.username, seconds)

        # The error is returned, not raised: the transaction must commit.
        outcome = await self._statements.run(actor, use)
        if isinstance(outcome, Unauthenticated):
            try:
                raise outcome
            finally:
                del outcome  # a traceback would hold its own error

        expires_in = min(ACCESS_SECONDS, outcome.seconds)
        access_token = self._tokens.access(
            claims.sub, outcome.username, claims.sid, expires_in, door=claims.door
        )
        return Refreshed(
            access_token=access_token,
            expires_in=expires_in,
            refresh_token=self._issue_successor(claims, outcome.seconds),
        )

    async def logout(self, token: str, caller: Actor) -> None:
        """End the session of a refresh token on every server process. Raises Unauthenticated."""
        claims = self._read_token(token, caller)
        actor = replace(caller, user_id=claims.sub, session_id=claims.sid)
        has_ended = await self._statements.run(actor, lambda tx: self._end(tx, actor, claims.sid))
        if not has_ended:
            raise Unauthenticated(REVOKED_SESSION).with_caller(claims.sub, claims.sid)

    async def list(self, actor: Actor) -> list[SessionView]:
        """Return the caller's active sessions, the newest first."""
        sessions = await self._store.sessions(actor.user_id or "")
        return [
            replace(session, app=session.app or UNSET, current=session.id == actor.session_id)
            for session in sessions
        ]

    async def end(self, actor: Actor, session_id: str) -> None:
        """End a session of the caller. Raises BadRequest, NotFound."""
        check_id(session_id)
        has_ended = await self._statements.run(
            actor, lambda tx: self._end(tx, actor, session_id.lower())
        )
        if not has_ended:
            raise NotFound(f"session '{session_id}' not found")

    def _read_token(self, token: str, caller: Actor) -> RefreshClaims:
        """Check a refresh token, which is good at the door of its session only.

        Raises Unauthenticated.
        """
        claims = self._tokens.read_refresh(token)
        if claims.door != caller.door:
            raise Unauthenticated(OTHER_DOOR).with_caller(claims.sub, claims.sid)
        return claims

    async def _end(self, tx: Transaction, actor: Actor, session_id: str, reason: str = "") -> bool:
        if not await self._store.revoke_session(tx, session_id, actor.user_id or ""):
            return False
        await tx.publish(TOPIC, f"session:{session_id}")
        operation = "LOGOUT"
        if reason:
            operation = "SESSION_REVOKED"
        await _record(tx, operation, actor, session_id, reason)
        return True

    async def _advance(
        self, tx: Transaction, claims: RefreshClaims, family: Family, link: Link, address: str
    ) -> int:
        """Note the use of a refresh token; return the seconds after which its session ends."""
        if link == "next":
            await self._store.advance_session(tx, claims.sid)

        if link == "parent":
            next_hash = family.next_hash
        elif self._rotate:
            next_hash = digest(self._tokens.derive_successor_id(claims.jti))
        else:
            next_hash = None
        seconds = await self._store.touch_session(tx, claims.sid, next_hash, address, self._limits)

        network = network_of(address)
        if network:
            await self._store.note_network(tx, claims.sub, network)
        return seconds

    def _issue_successor(self, claims: RefreshClaims, seconds: int) -> str | None:
        if not self._rotate:
            return None
        token_id = self._tokens.derive_successor_id(claims.jti)
        return self._tokens.refresh(claims.sub, claims.sid, token_id, seconds, door=claims.door)


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
    values = {"user_id": actor.user_id, "address": actor.address}
    if actor.door is not None:
        values["app"] = actor.door
    if reason:
        values["reason"] = reason
    await tx.record(Event.core("sessions", operation, actor, session_id, new=values))
