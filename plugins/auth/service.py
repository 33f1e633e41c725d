"""Registration, login and change of password."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, NoReturn

import msgspec

from kernel.public import (
    Access,
    Actor,
    BadRequest,
    Event,
    Forbidden,
    ServiceKey,
    Statements,
    Transaction,
    Unauthenticated,
    User,
    fold_name,
)

from .accounts import Accounts
from .authenticator import REVOKED_SESSION, TokenAuthenticator
from .config import AuthConfig
from .limits import LoginLimiter, login_keys, network_of, throttled
from .models import Account, Client, Credentials, LoggedIn, PasswordChange, Registration
from .passwords import MAX_PASSWORD, PasswordHasher
from .sessions import AccountChanged, Sessions
from .store import AuthStore


class Registrations:
    """Creates accounts for callers, as `registration` of the configuration allows."""

    def __init__(
        self,
        config: AuthConfig,
        accounts: Accounts,
        authenticator: TokenAuthenticator,
        limiter: LoginLimiter,
        find_access: Callable[[], Access | None],
    ) -> None:
        self._mode = config.registration
        self._accounts = accounts
        self._authenticator = authenticator
        self._limiter = limiter
        self._find_access = find_access

    async def register(self, form: Registration, caller: Actor, header: bytes | None) -> User:
        """Register an account. Raises Forbidden where only core admins may; BadRequest."""
        if (admin := await self._admin(caller, header)) is not None:
            return await self._accounts.create(admin, form, by_itself=False)
        only_first = self._mode == "first-user"
        if self._mode == "closed" or (only_first and await self._accounts.exist()):
            raise Forbidden("registration is closed")
        self._accounts.check(form)
        await self._limiter.count_registration(caller)
        return await self._accounts.create(caller, form, by_itself=True, only_first=only_first)

    async def _admin(self, caller: Actor, header: bytes | None) -> Actor | None:
        """Return the core admin that registers another user.

        Where registration is open, an invalid token is the same as none.
        """
        access = self._find_access()
        if header is None or access is None:
            return None
        try:
            actor = await self._authenticator.actor(header, caller.request_id, caller.address)
        except Unauthenticated:
            if self._mode == "open":
                return None
            raise
        return actor if await access.is_core_admin(actor.user_id) else None


class Logins:
    """Signs users in, and changes their passwords. Provides SESSIONS."""

    def __init__(
        self,
        statements: Statements,
        store: AuthStore,
        accounts: Accounts,
        sessions: Sessions,
        hasher: PasswordHasher,
        limiter: LoginLimiter,
    ) -> None:
        self._statements = statements
        self._store = store
        self._accounts = accounts
        self._sessions = sessions
        self._hasher = hasher
        self._limiter = limiter

    async def login(self, form: Credentials, caller: Actor, client: Client) -> LoggedIn:
        """Begin a session by a password. Raises Throttled and Unauthenticated.

        Every failure has the same text and takes the same time.
        """
        return await _twice(lambda: self._by_password(form, caller, client))

    async def _by_password(self, form: Credentials, caller: Actor, client: Client) -> LoggedIn:
        if form.username is None and form.email is None:
            raise BadRequest("username is required")
        network = network_of(caller.address)
        account = await self._store.named(
            key := fold_name(form.username or form.email or ""), network
        )
        keys = login_keys(account, key, network)
        await self._limiter.check(keys)
        if not await self._matches(account, form.password) or account is None or account.disabled:
            await self._failed(caller, account, keys)
        new_hash = None
        if self._hasher.outdated(account.password_hash):
            new_hash = await self._hasher.hash(form.password)
        return await self._sessions.begin(account, new_hash, caller, client, keys)

    async def begin(self, user_id: str, caller: Actor, user_agent: str = "") -> bytes:
        """See `kernel.contracts.identity.Sessions.begin`."""

        async def attempt() -> LoggedIn:
            account = await self._store.account(user_id)
            if account is None or account.disabled:
                raise Unauthenticated("this account is closed")
            client = Client.of(caller.address, user_agent)
            return await self._sessions.begin(account, None, caller, client, [])

        return msgspec.json.encode(await _twice(attempt))

    async def change_password(self, actor: Actor, form: PasswordChange) -> None:
        """Change the caller's password and end the other sessions. Raises BadRequest, Throttled."""
        account = await self._store.account(actor.user_id or "")
        if account is None:
            raise Unauthenticated(REVOKED_SESSION)
        # Workers have a key of their own: a new password revokes their tokens, so a worker must not
        # be able to block the change by failures.
        keys = [f"password:{account.id}" if actor.delegation is None else f"worker:{account.id}"]
        await self._limiter.check(keys)
        if not await self._matches(account, form.current):
            count = self._limiter.count_failure
            if blocked := await self._statements.run(actor, lambda tx: count(tx, keys)):
                raise throttled(blocked)
            raise BadRequest("the current password is wrong")
        await self._limiter.check(keys)  # against guesses that ran at the same time
        await self._accounts.set_password(
            actor,
            account,
            form.new,
            keep=actor.session_id,
            first=lambda tx: self._limiter.check(keys, tx),
        )

    async def _matches(self, account: Account | None, password: str) -> bool:
        if len(password) > MAX_PASSWORD:
            return False
        return await self._hasher.verify(account and account.password_hash, password)

    async def _failed(self, caller: Actor, account: Account | None, keys: list[str]) -> NoReturn:
        async def count(tx: Transaction) -> int:
            blocked = await self._limiter.count_failure(tx, keys)
            # The typed name is not recorded: it may be a password in the wrong field.
            said = {"address": caller.address, "username": account and account.username}
            user_id = account and account.id
            await tx.record(Event.core("users", "LOGIN_FAILED", caller, user_id, new=said))
            return blocked

        if blocked := await self._statements.run(caller, count):
            raise throttled(blocked)
        raise Unauthenticated("invalid credentials")


async def _twice(attempt: Callable[[], Awaitable[LoggedIn]]) -> LoggedIn:
    """Try once more when the account changed: a concurrent login may have renewed its hash."""
    try:
        return await attempt()
    except AccountChanged:
        return await attempt()


class Auth(NamedTuple):
    """The parts of this plugin, for its routes and commands."""

    accounts: Accounts
    authenticator: TokenAuthenticator
    registrations: Registrations
    logins: Logins
    sessions: Sessions


AUTH = ServiceKey[Auth]("auth")
