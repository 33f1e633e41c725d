"""Login, refresh, logout: sessions and the tokens that stand for them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, Literal, NoReturn

import msgspec
from msgspec.structs import replace

from kernel.public import (
    Access,
    Actor,
    BadRequest,
    Event,
    Forbidden,
    NotFound,
    ServiceKey,
    Statements,
    Throttled,
    Transaction,
    Unauthenticated,
    User,
)

from .accounts import TOPIC, Accounts, check_id
from .config import AuthConfig
from .gate import OVER, Gate
from .models import (
    Account,
    Client,
    Credentials,
    Family,
    LoggedIn,
    PasswordChange,
    Refreshed,
    Registration,
    SessionView,
    view,
)
from .passwords import PasswordHasher
from .rules import MAX_PASSWORD, fold
from .store import AuthStore
from .tokens import ACCESS_SECONDS, RefreshClaims, Tokens, digest

MAX_AGENT: Final = 256
Use = Literal["current", "next", "parent", "stale"]


class AuthService:
    """The rules of registration and sessions."""

    def __init__(
        self,
        config: AuthConfig,
        statements: Statements,
        store: AuthStore,
        accounts: Accounts,
        gate: Gate,
        hasher: PasswordHasher,
        tokens: Tokens,
        find_access: Callable[[], Access | None],
    ) -> None:
        self.accounts = accounts
        self.gate = gate
        self._config = config
        self._statements = statements
        self._store = store
        self._hasher = hasher
        self._tokens = tokens
        self._find_access = find_access

    # Registration

    async def setup_required(self) -> bool:
        """Whether nobody has registered yet."""
        return not await self._store.any_user()

    async def register(self, form: Registration, caller: Actor, header: bytes | None) -> User:
        """Register an account. Raises Forbidden where only core admins may, BadRequest."""
        if (admin := await self._admin(caller, header)) is not None:
            return await self.accounts.create(admin, form, by_itself=False)
        mode = self._config.registration
        if mode == "closed" or (mode == "first-user" and await self._store.any_user()):
            raise Forbidden("registration is closed")
        self.accounts.check(form)
        await self._count_registration(caller)
        return await self.accounts.create(
            caller, form, by_itself=True, only_first=mode == "first-user"
        )

    async def _count_registration(self, caller: Actor) -> None:
        """Refuse those who register account after account: each costs a hash and a row."""
        keys = [f"register:{_network(caller.address)}"] if caller.address else []
        if not self._config.rate_limit_logins or not keys:
            return
        seconds = await self._store.blocked_for(None, keys)
        if not seconds:
            seconds = await self._statements.run(
                caller, lambda tx: self._store.count_address(tx, keys[0])
            )
        if seconds:
            raise _throttled(seconds, "registrations")

    async def _admin(self, caller: Actor, header: bytes | None) -> Actor | None:
        """Return the core admin who registers somebody else; a stale token is nobody's where
        anybody may register."""
        access = self._find_access()
        if header is None or access is None:
            return None
        try:
            actor = await self.gate.actor(header, caller.request_id, caller.address)
        except Unauthenticated:
            if self._config.registration == "open":
                return None
            raise
        return actor if await access.is_core_admin(actor.user_id) else None

    # Login

    async def login(self, form: Credentials, caller: Actor, client: Client) -> LoggedIn:
        """Begin a session. Raises Unauthenticated (one text, one duration), Throttled."""
        return await _twice(lambda: self._by_password(form, caller, client))

    async def _by_password(self, form: Credentials, caller: Actor, client: Client) -> LoggedIn:
        if form.username is None and form.email is None:
            raise BadRequest("username is required")
        network = _network(caller.address)
        account = await self._store.named(key := fold(form.username or form.email or ""), network)
        keys = _throttle_keys(account, key, network)
        await self._refuse_blocked(keys)
        if not await self._fits(account, form.password) or account is None or account.disabled:
            await self._failed(caller, account, keys)
        new_hash = None
        if self._hasher.outdated(account.password_hash):
            new_hash = await self._hasher.hash(form.password)
        return await self._begin(account, new_hash, caller, client, keys)

    async def begin(self, user_id: str, caller: Actor, user_agent: str = "") -> bytes:
        """See `kernel.contracts.identity.Sessions.begin`."""

        async def attempt() -> LoggedIn:
            account = await self._store.account(user_id)
            if account is None or account.disabled:
                raise Unauthenticated("this account is closed")
            return await self._begin(account, None, caller, Client(caller.address, user_agent), [])

        return msgspec.json.encode(await _twice(attempt))

    async def _fits(self, account: Account | None, password: str) -> bool:
        if len(password) > MAX_PASSWORD:
            return False
        return await self._hasher.verify(account and account.password_hash, password)

    async def _begin(
        self, account: Account, new_hash: str | None, caller: Actor, client: Client, keys: list[str]
    ) -> LoggedIn:
        """Begin a session; `new_hash` replaces one of older parameters. Raises Throttled."""
        session_id, jti = str(uuid.uuid4()), self._tokens.first()
        actor = replace(
            caller, user_id=account.id, username=account.username, session_id=session_id
        )

        async def insert(tx: Transaction) -> None:
            await self._refuse_blocked(keys, tx)
            seen = account
            if new_hash is not None:
                # First: two who both read the row and then write it would wait for each other.
                await self._store.renew_hash(tx, account.id, account.password_hash, new_hash)
                seen = replace(account, password_hash=new_hash)
            if not await self._store.insert_session(
                tx, session_id, seen, digest(jti), _cut(client)
            ):
                raise _Changed("invalid credentials")
            if self._config.rate_limit_logins and keys:
                await self._store.forgive(tx, keys[0])
            await _record(tx, "LOGIN", actor, session_id)
            for oldest in await self._store.excess(tx, account.id):
                await self._end(tx, actor, oldest, "too many sessions")
            await self._been(tx, account.id, client.address)

        await self._statements.run(actor, insert)
        return LoggedIn(
            access_token=self._tokens.access(account.id, account.username, session_id),
            refresh_token=self._tokens.refresh(account.id, session_id, jti),
            expires_in=ACCESS_SECONDS,
            user=view(account.user),
        )

    async def _been(self, tx: Transaction, user_id: str, address: str) -> None:
        if network := _network(address):
            await self._store.been(tx, user_id, network)

    async def _failed(self, caller: Actor, account: Account | None, keys: list[str]) -> NoReturn:
        """Count a failure and refuse. Attempts that ran at the same time as the one that used up
        the free ones get no answer: parallel guesses gain nothing."""

        async def count(tx: Transaction) -> int:
            blocked = await self._counted(tx, keys)
            # What was typed is not kept: it may be a password in the wrong field.
            said = {"address": caller.address, "username": account and account.username}
            await tx.record(
                Event(
                    app_id="core",
                    entity="users",
                    operation="LOGIN_FAILED",
                    actor=caller,
                    record_id=account and account.id,
                    new=msgspec.json.encode(said),
                )
            )
            return blocked

        if blocked := await self._statements.run(caller, count):
            raise _throttled(blocked)
        raise Unauthenticated("invalid credentials")

    async def _counted(self, tx: Transaction, keys: list[str]) -> int:
        """Count a failure of an account, and of an address; return for how many seconds others
        that were counted first have blocked them."""
        if not self._config.rate_limit_logins:
            return 0
        blocked = await self._store.blocked_for(tx, keys)
        if not await self._store.fail_account(tx, keys[0]):  # it waited for one of those
            blocked = blocked or await self._store.blocked_for(tx, keys) or 1
        for key in keys[1:]:
            blocked = max(blocked, await self._store.count_address(tx, key))
        return blocked

    async def _refuse_blocked(self, keys: list[str], tx: Transaction | None = None) -> None:
        wanted = self._config.rate_limit_logins and keys
        if wanted and (seconds := await self._store.blocked_for(tx, keys)):
            raise _throttled(seconds)

    # Refresh and logout

    async def refresh(self, token: str, caller: Actor) -> Refreshed:
        """Issue an access token, and the successor of the refresh token where tokens rotate.

        Raises Unauthenticated; the use of a token whose successor was used ends the session.
        """
        claims = self._tokens.read_refresh(token)
        actor = replace(caller, user_id=claims.sub, session_id=claims.sid)

        async def use(tx: Transaction) -> str | Unauthenticated:
            family = await self._store.lock_family(tx, claims.sid, claims.sub)
            if family is None or family.revoked:
                return Unauthenticated(OVER)
            if family.expired:
                return Unauthenticated("the session has expired: log in again")
            if (use := used(family, digest(claims.jti))) == "stale":
                await self._end(tx, actor, claims.sid, "a refresh token was used again")
                return Unauthenticated(OVER)
            await self._step(tx, claims, family, use, caller.address)
            return family.username

        # An error that is returned lets the transaction commit what it found out.
        if isinstance(name := await self._statements.run(actor, use), Unauthenticated):
            raise name
        return Refreshed(
            access_token=self._tokens.access(claims.sub, name, claims.sid),
            expires_in=ACCESS_SECONDS,
            refresh_token=self._successor(claims),
        )

    async def _step(
        self, tx: Transaction, claims: RefreshClaims, family: Family, use: Use, address: str
    ) -> None:
        if use == "next":
            await self._store.advance_session(tx, claims.sid)
        following = family.next_hash
        if use != "parent":
            rotate = self._config.rotate_refresh
            following = digest(self._tokens.successor(claims.jti)) if rotate else None
        await self._store.touch_session(tx, claims.sid, following, address)
        await self._been(tx, claims.sub, address)

    def _successor(self, claims: RefreshClaims) -> str | None:
        if not self._config.rotate_refresh:
            return None
        return self._tokens.refresh(claims.sub, claims.sid, self._tokens.successor(claims.jti))

    async def logout(self, token: str, caller: Actor) -> None:
        """End the session of a refresh token on every server process. Raises Unauthenticated."""
        claims = self._tokens.read_refresh(token)
        actor = replace(caller, user_id=claims.sub, session_id=claims.sid)
        if not await self._statements.run(actor, lambda tx: self._end(tx, actor, claims.sid)):
            raise Unauthenticated(OVER)

    async def _end(self, tx: Transaction, actor: Actor, session_id: str, why: str = "") -> bool:
        if not await self._store.revoke_session(tx, session_id, actor.user_id or ""):
            return False
        await tx.publish(TOPIC, f"session:{session_id}")
        await _record(tx, "SESSION_REVOKED" if why else "LOGOUT", actor, session_id, why)
        return True

    # One's own account

    async def me(self, actor: Actor) -> User:
        """Return the caller's account."""
        user = await self.accounts.user(actor.user_id or "")
        if user is None:
            raise Unauthenticated(OVER)
        return user

    async def sessions(self, actor: Actor) -> list[SessionView]:
        """Return the caller's sessions that go on, the newest first."""
        found = await self._store.sessions(actor.user_id or "")
        return [replace(s, current=s.id == actor.session_id) for s in found]

    async def end_session(self, actor: Actor, session_id: str) -> None:
        """End a session of the caller. Raises BadRequest, NotFound."""
        check_id(session_id)
        if not await self._statements.run(
            actor, lambda tx: self._end(tx, actor, session_id.lower())
        ):
            raise NotFound(f"session '{session_id}' not found")

    async def change_password(self, actor: Actor, form: PasswordChange) -> None:
        """Change the caller's password and end the other sessions. Raises BadRequest, Throttled."""
        account = await self._store.account(actor.user_id or "")
        if account is None:
            raise Unauthenticated(OVER)
        # Apart for workers: a new password is what ends their tokens, and they must not put it off.
        keys = [f"password:{account.id}" if actor.delegation is None else f"worker:{account.id}"]
        await self._refuse_blocked(keys)
        if not await self._fits(account, form.current):
            if blocked := await self._statements.run(actor, lambda tx: self._counted(tx, keys)):
                raise _throttled(blocked)
            raise BadRequest("the current password is wrong")
        await self._refuse_blocked(keys)  # by guesses that ran at the same time
        await self.accounts.set_password(
            actor,
            account,
            form.new,
            keep=actor.session_id,
            first=lambda tx: self._refuse_blocked(keys, tx),
        )

    async def sweep(self) -> None:
        """Remove what is over from the tables."""
        await self._store.sweep()


class _Changed(Unauthenticated):
    """The account was closed, or got another hash, after it was looked at."""


async def _twice(attempt: Callable[[], Awaitable[LoggedIn]]) -> LoggedIn:
    """Look again, once, at an account that changed: a login beside this one renewed its hash."""
    try:
        return await attempt()
    except _Changed:
        return await attempt()


def used(family: Family, jti_hash: str) -> Use:
    """Tell which link of its family's chain a refresh token is.

    `current` is the furthest one that was used. Its predecessor answers for the time of grace;
    whoever brings an older one has fallen behind, or the token was stolen.
    """
    if jti_hash == family.current_hash:
        return "current"
    if jti_hash == family.next_hash:
        return "next"
    if jti_hash == family.parent_hash and family.in_grace:
        return "parent"
    return "stale"


def _throttle_keys(account: Account | None, name_key: str, network: str) -> list[str]:
    """First the key of the account, whether its name or its address was typed: one for each network
    where it has signed in, which no stranger can use up, and one for all others. Names that nobody
    has are hashed: any text may be typed, of any length."""
    typed = hashlib.sha256(name_key.encode()).hexdigest()
    keys = [f"name:{typed}" if account is None else f"account:{account.id}"]
    if account is not None and account.been_here:
        keys = [f"account:{account.id}@{network}"]
    return [*keys, f"address:{network}"] if network else keys


def _network(address: str) -> str:
    """An IPv6 customer has a /64, so that is what counts as one address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((parsed, 64), strict=False))
    return str(parsed)


def _throttled(seconds: int, what: str = "failed logins") -> Throttled:
    return Throttled(f"too many {what}; try again in {seconds} s", seconds)


def _cut(client: Client) -> Client:
    agent = "".join(letter for letter in client.user_agent if letter.isprintable())
    return replace(client, user_agent=agent[:MAX_AGENT])


async def _record(
    tx: Transaction, operation: str, actor: Actor, session_id: str, why: str = ""
) -> None:
    said = {"user_id": actor.user_id, "address": actor.address}
    await tx.record(
        Event(
            app_id="core",
            entity="sessions",
            operation=operation,
            actor=actor,
            record_id=session_id,
            new=msgspec.json.encode(said | {"reason": why} if why else said),
        )
    )


AUTH = ServiceKey[AuthService]("auth")
