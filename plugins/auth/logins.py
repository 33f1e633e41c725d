"""Login, and change of password."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, NoReturn

import msgspec

from kernel.public import (
    Actor,
    BadRequest,
    Event,
    Statements,
    Transaction,
    Unauthenticated,
    Work,
    fold_name,
)

from .accounts.changes import AccountChanges
from .accounts.store import AccountStore
from .authenticator import REVOKED_SESSION
from .models import Account, Client, Credentials, LoggedIn, PasswordChange, describe_client
from .rules.passwords import MAX_PASSWORD, PasswordHasher
from .sessions.service import AccountChanged, Login, Sessions
from .sign_in.limits import LoginLimiter, network_of, throttled
from .sign_in.second_factor import CodeUsed, SecondFactorRequired, SecondFactors


class LoginGuard(NamedTuple):
    """What a login is checked with."""

    hasher: PasswordHasher
    limiter: LoginLimiter
    factors: SecondFactors


class Logins:
    """Signs users in, and changes their passwords. Provides SESSIONS."""

    def __init__(
        self,
        statements: Statements,
        store: AccountStore,
        changes: AccountChanges,
        sessions: Sessions,
        guard: LoginGuard,
    ) -> None:
        self._statements = statements
        self._store = store
        self._changes = changes
        self._sessions = sessions
        self._hasher = guard.hasher
        self._limiter = guard.limiter
        self._factors = guard.factors

    async def login(self, form: Credentials, caller: Actor, client: Client) -> LoggedIn:
        """Begin a session by a password, and a code where the account has a second factor.

        Every failure has the same text and takes the same time, except a missing code after the
        right password. Raises Throttled, Unauthenticated and SecondFactorRequired.
        """
        return await _try_twice(lambda: self._log_in(form, caller, client))

    async def _log_in(self, form: Credentials, caller: Actor, client: Client) -> LoggedIn:
        if form.username is None and form.email is None:
            raise BadRequest("username is required")
        key = fold_name(form.username or form.email or "")
        sign_in = await self._store.sign_in(key, network_of(caller.address))
        self._limiter.refuse(sign_in.blocked)

        account = sign_in.account
        # The password is checked even without an account: the time must not reveal which it was.
        is_right = await self._matches(account, form.password)
        can_sign_in = account is not None and not account.disabled and account.kind == "person"
        if not is_right or account is None or not can_sign_in:
            await self._refuse_login(caller, account, sign_in.keys)

        use_code = None
        if account.factor:
            use_code = await self._check_code(account, form.code, caller, sign_in.keys)
        new_hash = None
        if self._hasher.is_outdated(account.password_hash):
            new_hash = await self._hasher.hash(form.password)

        login = Login(sign_in.keys, new_hash, use_code)
        try:
            return await self._sessions.begin(account, login, caller, client)
        except CodeUsed:
            await self._refuse_login(caller, account, sign_in.keys)

    async def _check_code(
        self, account: Account, code: str | None, caller: Actor, keys: list[str]
    ) -> Work[None]:
        """Return what uses up a code that fits."""
        if not code:
            await self._limiter.check(keys)  # against guesses that ran at the same time
            raise SecondFactorRequired().with_caller(account.id)
        accepted = await self._factors.check(account.id, code)
        if accepted is None:
            await self._refuse_login(caller, account, keys)
        return partial(self._factors.use, user_id=account.id, accepted=accepted)

    async def begin(self, user_id: str, caller: Actor, user_agent: str = "") -> bytes:
        """See `kernel.contracts.identity.Sessions.begin`."""

        async def attempt() -> LoggedIn:
            account = await self._store.account(user_id)
            if account is None or account.disabled:
                raise Unauthenticated("this account is closed")
            if account.kind == "service":
                raise Unauthenticated("a service account cannot sign in")
            is_external = await self._is_external(caller, user_id)
            client = describe_client(caller.address, user_agent)
            login = Login([], external=is_external)
            return await self._sessions.begin(account, login, caller, client)

        return msgspec.json.encode(await _try_twice(attempt))

    async def _is_external(self, caller: Actor, user_id: str) -> bool:
        """Whether a session begins without a password; one that rests on another is as that."""
        if caller.session_id is None:
            return True
        return await self._sessions.is_external(caller.session_id, user_id)

    async def refresh(self, token: str, caller: Actor) -> bytes:
        """See `kernel.contracts.identity.Sessions.refresh`."""
        return msgspec.json.encode(await self._sessions.refresh(token, caller))

    async def logout(self, token: str, caller: Actor) -> None:
        """See `kernel.contracts.identity.Sessions.logout`."""
        await self._sessions.logout(token, caller)

    async def change_password(self, actor: Actor, form: PasswordChange) -> None:
        """Change the caller's password and end the other sessions. Raises BadRequest, Throttled."""
        account = await self._confirm_password(actor, form.current)
        keys = _name_failures(account.id)
        await self._changes.set_password(
            actor,
            account,
            form.new,
            keep_session=actor.session_id,
            check=lambda tx: self._limiter.check(keys, tx),
        )

    async def check_code(self, actor: Actor, code: str | None) -> Work[None] | None:
        """Return what uses up the caller's code; None where no second factor is set up.

        Wrong codes are counted as wrong passwords are. Raises SecondFactorRequired, Throttled,
        Unauthenticated.
        """
        user_id = actor.user_id or ""
        if not await self._factors.is_set_up(user_id):
            return None
        keys = _name_failures(user_id)
        await self._limiter.check(keys)
        if not code:
            raise SecondFactorRequired().with_caller(user_id)
        accepted = await self._factors.check(user_id, code)
        if accepted is None:
            blocked_for = await self._statements.run(
                actor, lambda tx: self._limiter.count_failure(tx, keys)
            )
            if blocked_for:
                raise throttled(blocked_for)
            raise Unauthenticated("the code is wrong").with_caller(user_id)
        return partial(self._factors.use, user_id=user_id, accepted=accepted)

    async def check_password(self, actor: Actor, password: str) -> None:
        """Raise BadRequest for another password than the caller's; Throttled."""
        await self._confirm_password(actor, password)

    async def _confirm_password(self, actor: Actor, password: str) -> Account:
        """Return the caller's account. Raises BadRequest for another password; Throttled."""
        account = await self._store.account(actor.user_id or "")
        if account is None:
            raise Unauthenticated(REVOKED_SESSION)
        keys = _name_failures(account.id)
        await self._limiter.check(keys)
        if not await self._matches(account, password):
            blocked_for = await self._statements.run(
                actor, lambda tx: self._limiter.count_failure(tx, keys)
            )
            if blocked_for:
                raise throttled(blocked_for)
            raise BadRequest("the current password is wrong")
        await self._limiter.check(keys)  # against guesses that ran at the same time
        return account

    async def _matches(self, account: Account | None, password: str) -> bool:
        if len(password) > MAX_PASSWORD:
            return False
        return await self._hasher.verify(account and account.password_hash, password)

    async def _refuse_login(
        self, caller: Actor, account: Account | None, keys: list[str]
    ) -> NoReturn:
        """Count and record a failed login. Raises Throttled, else Unauthenticated."""
        user_id = account and account.id

        async def count(tx: Transaction) -> int:
            blocked_for = await self._limiter.count_failure(tx, keys)
            # The typed name is not recorded: it may be a password in the wrong field.
            values = {"address": caller.address, "username": account and account.username}
            await tx.record(Event.core("users", "LOGIN_FAILED", caller, user_id, new=values))
            return blocked_for

        blocked_for = await self._statements.run(caller, count)
        if blocked_for:
            raise throttled(blocked_for)
        raise Unauthenticated("invalid credentials").with_caller(user_id)


def _name_failures(user_id: str) -> list[str]:
    """Return the keys under which wrong passwords and codes of a signed-in user are counted."""
    return [f"password:{user_id}"]


async def _try_twice(attempt: Callable[[], Awaitable[LoggedIn]]) -> LoggedIn:
    """Try once more when the account changed: a concurrent login may have renewed its hash."""
    try:
        return await attempt()
    except AccountChanged:
        return await attempt()
