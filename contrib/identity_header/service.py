"""Accounts of users that a proxy signs in: created by the first sign-in, disabled by admins."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import Final, NamedTuple

import structlog
from msgspec.structs import replace

from kernel.public import (
    AccountDirectory,
    Actor,
    BadRequest,
    ConstraintViolation,
    Delegation,
    Event,
    Forbidden,
    HookBus,
    InvalidatedCache,
    Limits,
    NotFound,
    Notifications,
    Person,
    Reader,
    Statements,
    Transaction,
    Unauthenticated,
    User,
    hookspecs,
    is_uuid,
)

from . import store
from .config import IdentityHeaderConfig
from .groups import GroupRoles
from .models import Claim, clean_claim
from .tokens import Tokens

TOPIC: Final = "identity_header"
BEARER: Final = re.compile(r"Bearer ([A-Za-z0-9_.-]+)")

log = structlog.get_logger("caudex.identity_header")


class _CachedUser(NamedTuple):
    user_id: str
    username: str
    expires: float
    """By `time.time`."""
    delegation: Delegation | None = None
    limits: Limits | None = None


class Rights(NamedTuple):
    """What the roles of users decide, and what decides about them."""

    groups: GroupRoles
    directory: AccountDirectory


class HeaderIdentity:
    """Provides IDENTITY."""

    def __init__(
        self,
        config: IdentityHeaderConfig,
        statements: Statements,
        notifications: Notifications,
        hooks: HookBus,
        tokens: Tokens,
        rights: Rights,
    ) -> None:
        self._statements = statements
        self._hooks = hooks
        self._tokens = tokens
        self._rights = rights
        self._auto_create_users = config.auto_create_users
        headers = {"email": config.email_header, "display_name": config.name_header}
        self._sent_attributes = [name for name, header in headers.items() if header]
        """The attributes of a user for which the proxy sends a header."""
        self._cache = InvalidatedCache[Claim | str, _CachedUser](
            notifications,
            TOPIC,
            size=20_000,
            ttl=lambda user: user.expires - time.time(),
            affects=lambda name, _, user: name in (user.user_id, _worker_of(user)),
        )

    # IDENTITY

    async def user(self, user_id: str, reader: Reader | None = None) -> User | None:
        """See `Identity.user`."""
        if not is_uuid(user_id):
            return None
        return await store.find_by_id(reader or self._statements, user_id)

    async def find(self, username: str) -> User | None:
        """See `Identity.find`."""
        return await store.find_by_name(self._statements, username)

    async def find_email(self, email: str) -> User | None:
        """See `Identity.find_email`."""
        return await store.find_by_email(self._statements, email)

    async def users(self) -> list[User]:
        """See `Identity.users`."""
        return await store.users(self._statements)

    async def visible(self, actor: Actor) -> frozenset[str] | None:
        """See `Directory.visible`."""
        return await self._rights.directory.visible(actor)

    async def page(self, actor: Actor, limit: int | None, after: str | None) -> list[User]:
        """Return accounts that a caller may see, by username, after the one with the id `after`.

        Raises BadRequest if no such account has that id.
        """
        find_users = partial(store.users, self._statements, limit, after)
        return await self._rights.directory.find_page(actor, after, self.user, find_users)

    async def add(self, actor: Actor, person: Person) -> User:
        """See `Identity.add`."""
        claim = clean_claim(person.username, person.email, person.display_name)

        async def insert(tx: Transaction) -> User:
            await store.lock_names(tx)
            if not await store.has_users(tx):
                raise Forbidden("the first account is made by its owner's first sign-in")
            if await store.find_by_name(tx, claim.username) is not None:
                raise BadRequest(f"username '{claim.username}' is already taken")
            if await store.find_by_email(tx, claim.email) is not None:
                raise BadRequest(f"email '{claim.email}' is already taken")
            return await self._insert(tx, claim, actor, is_first=False)

        return await self._statements.run(actor, insert)

    async def issue_delegated_token(
        self, user_id: str, delegation: Delegation, limits: Limits | None = None
    ) -> str:
        """See `Identity.issue_delegated_token`; only closing the account revokes delegations."""
        user = await self.user(user_id)
        if user is None or user.disabled:
            raise _unknown(user_id)
        epoch = await store.read_installation(self._statements, delegation.app_id)
        return self._tokens.issue(user.id, replace(delegation, epoch=epoch), limits)

    def relation(self) -> tuple[str, str]:
        """See `Identity.relation`."""
        return "caudex_identity_header", "users"

    # The user of a request

    async def identify_by_claim(self, claim: Claim, caller: Actor) -> Actor:
        """Return the user that a trusted proxy names. Raises Unauthenticated."""

        async def load() -> _CachedUser:
            user = await self._admit(claim, caller)
            await self._rights.groups.assign_roles(user.id, claim.groups)
            # After a minute the groups of a user are compared again.
            return _CachedUser(user.id, user.username, time.time() + 60.0)

        user = await self._cache.get_or_load(claim, load)
        return replace(caller, user_id=user.user_id, username=user.username, limits=None)

    async def identify_by_token(self, header: bytes, caller: Actor) -> Actor:
        """Return the user of a token that this server issued. Raises Unauthenticated."""
        match = BEARER.fullmatch(header.decode("latin-1"))
        if match is None:
            raise Unauthenticated
        token = match[1]

        async def load() -> _CachedUser:
            claims = self._tokens.read(token)
            user = await self.user(claims.sub)
            if user is None or user.disabled:
                raise Unauthenticated("the account has ended")
            delegation = claims.delegation
            epoch = await store.read_installation(self._statements, delegation.app_id)
            if claims.epoch != epoch:
                raise Unauthenticated("the app of the token was removed")
            return _CachedUser(user.id, user.username, claims.exp, delegation, claims.limits)

        user = await self._cache.get_or_load(token, load)
        return replace(
            caller,
            user_id=user.user_id,
            username=user.username,
            delegation=user.delegation,
            limits=user.limits,
        )

    async def setup_required(self) -> bool:
        """Whether no user has signed in yet."""
        return not await store.has_users(self._statements)

    async def _admit(self, claim: Claim, caller: Actor) -> User:
        """Return the account of a claim; create it, or store what has changed about it."""
        user = await store.find_by_name(self._statements, claim.username)
        if user is None:
            user = await self._statements.run(caller, lambda tx: self._create(tx, claim))
        if user.disabled:
            raise Unauthenticated("the account is disabled")
        has_changed = any(
            getattr(claim, name) != getattr(user, name) for name in self._sent_attributes
        )
        if has_changed:
            await self._statements.run(caller, lambda tx: self._describe(tx, user, claim))
        return user

    async def check_again(self, actor: Actor) -> Actor:
        """Check that a user who signed in still has an account. Raises Unauthenticated."""
        user = await self.user(actor.user_id or "")
        if user is None or user.disabled:
            raise Unauthenticated("the account is disabled, or gone")
        return actor

    # Changes

    async def set_disabled(self, actor: Actor, user_id: str, disabled: bool) -> User:
        """Close an account or open it again. Raises NotFound; hooks may refuse."""

        async def write(tx: Transaction) -> User:
            old = await self._lock_existing(tx, user_id)
            if disabled == old.disabled:
                return old
            operation = "USER_ENABLED"
            if disabled:
                operation = "USER_DISABLED"
                await self._hooks.emit(hookspecs.account_closing, tx=tx, user=old, delete=False)
            new = replace(old, disabled=disabled)
            await store.set_disabled(tx, old.id, disabled)
            await _record(tx, operation, actor, old, new)
            return new

        return await self._statements.run(actor, write)

    async def delete(self, actor: Actor, user_id: str) -> User:
        """Remove an account. Raises NotFound; BadRequest while records refer to it."""

        async def remove(tx: Transaction) -> User:
            user = await self._lock_existing(tx, user_id)
            await self._hooks.emit(hookspecs.account_closing, tx=tx, user=user, delete=True)
            await store.delete(tx, user.id)
            await _record(tx, "USER_DELETED", actor, user, None)
            return user

        try:
            return await self._statements.run(actor, remove)
        except ConstraintViolation:
            raise BadRequest(
                "records still refer to this user: change them, or disable the user instead"
            ) from None

    async def _lock_existing(self, tx: Transaction, user_id: str) -> User:
        if not is_uuid(user_id):
            raise BadRequest("id: must be a UUID")
        user = await store.lock_user(tx, user_id)
        if user is None:
            raise _unknown(user_id)
        return user

    async def _create(self, tx: Transaction, claim: Claim) -> User:
        """Create the account of a new user; of concurrent requests one creates it."""
        await store.lock_names(tx)
        user = await store.find_by_name(tx, claim.username)
        if user is not None:
            return user
        is_first = not await store.has_users(tx)
        if not self._auto_create_users and not is_first:
            raise Unauthenticated("there is no account of this name: an admin has to add it")
        claim = await self._drop_taken_email(tx, claim, "")
        return await self._insert(tx, claim, tx.actor, is_first=is_first)

    async def _insert(self, tx: Transaction, claim: Claim, actor: Actor, *, is_first: bool) -> User:
        user = await store.insert(tx, claim)
        creator = actor
        if not actor.user_id:
            creator = replace(actor, user_id=user.id, username=user.username)
        await self._hooks.emit(hookspecs.account_created, tx=tx, user=user, first=is_first)
        await _record(tx, "REGISTER", creator, None, user)
        return user

    async def _describe(self, tx: Transaction, user: User, claim: Claim) -> None:
        """Store what the proxy sends about a user today."""
        old = await self._lock_existing(tx, user.id)
        claim = await self._drop_taken_email(tx, claim, old.id)
        values = {name: getattr(claim, name) for name in self._sent_attributes}
        new = replace(old, **values)
        if new != old:
            await store.describe(tx, new)
            await _record(tx, "USER_UPDATED", replace(tx.actor, user_id=old.id), old, new)

    async def _drop_taken_email(self, tx: Transaction, claim: Claim, user_id: str) -> Claim:
        """Return the claim without an email that is another account's already."""
        holder = await store.find_by_email(tx, claim.email)
        if holder is None or holder.id == user_id:
            return claim
        log.warning("an email is another account's", username=claim.username)
        return replace(claim, email=None)


async def _record(
    tx: Transaction, operation: str, actor: Actor, old: User | None, new: User | None
) -> None:
    """Notify every process of a changed account, and record the change in the audit trail."""
    user = new or old
    assert user is not None
    await tx.publish(TOPIC, user.id)
    before = old and old.view
    after = new and new.view
    await tx.record(Event.core("users", operation, actor, user.id, old=before, new=after))


def _worker_of(user: _CachedUser) -> str:
    """Return the name by which a notification of a removed app ends what is cached."""
    if user.delegation is None:
        return user.user_id
    return f"app:{user.delegation.app_id}"


def _unknown(user_id: str) -> NotFound:
    return NotFound(f"user '{user_id[:64]}' not found")
