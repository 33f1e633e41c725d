"""The rules of API keys: who makes, sees, rotates and revokes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kernel.public import (
    REVOKED_DELEGATIONS,
    UNPRINTABLE,
    Access,
    Actor,
    BadRequest,
    Event,
    Forbidden,
    Limits,
    Narrowing,
    NotFound,
    Statements,
    Transaction,
    User,
    limits_of,
    read_expiry,
    supports,
)
from plugins.auth.accounts.identity import Accounts
from plugins.auth.authenticator import TOPIC
from plugins.auth.logins import Logins
from plugins.auth.rules.ids import check_id

from . import store
from .models import KeyRow, MadeKey, NewKey, OwnedKey, Rotation
from .secrets import hash_key, make_key, shown_prefix

MAX_KEYS: Final = 100
"""Keys of one account that have not expired."""
MAX_OVERLAP: Final = 604_800
"""Seconds for which a key that was rotated may stay valid."""
NOT_HELD: Final = (
    "apps and permissions must name what the owner of the key has now, at least one each"
)
NOT_BY_KEY: Final = "an API key may not do this: sign in"

FindAccess = Callable[[], Access | None]


class Keys:
    """Makes, lists, rotates and revokes API keys."""

    def __init__(
        self, statements: Statements, accounts: Accounts, logins: Logins, find_access: FindAccess
    ) -> None:
        self._statements = statements
        self._accounts = accounts
        self._logins = logins
        self._find_access = find_access

    async def create(self, actor: Actor, form: NewKey) -> MadeKey:
        """Make a key of the caller, or of a service account for a core admin.

        Raises BadRequest, Forbidden, NotFound; SecondFactorRequired without the caller's code.
        """
        refuse_key(actor)
        name = clean_name(form.name)
        expires = read_end(form.expires)
        owner = await self._find_owner(actor, form.user)
        await self._check_held(owner.id, form.limits)
        use_code = await self._logins.check_code(actor, form.code)

        async def insert(tx: Transaction) -> MadeKey:
            key = await self.add(tx, owner.id, name, form.limits, expires)
            if use_code is not None:  # the account first: a login locks both in this order
                await use_code(tx)
            return key

        return await self._statements.run(actor, insert)

    async def add(
        self, tx: Transaction, user_id: str, name: str, limits: Limits, expires: str | None
    ) -> MadeKey:
        """Add a key that was checked. Raises BadRequest where there are too many."""
        await self._accounts.lock(tx, user_id)
        if await store.count(tx, user_id) >= MAX_KEYS:
            raise BadRequest(f"a user has at most {MAX_KEYS} API keys: revoke one first")
        key = await store.insert(tx, user_id, name, limits, expires, _new_secret())
        values = {"user_id": user_id, "name": name, "prefix": key.prefix, "expires": expires}
        await _record(tx, "KEY_CREATED", key.id, {**values, **_describe(limits)})
        return key

    async def list(self, actor: Actor, user_id: str | None) -> list[KeyRow]:
        """Return the caller's keys; for core admins those of any user. Raises Forbidden."""
        if user_id is None or user_id.lower() == actor.user_id:
            return await store.read_keys(self._statements, actor.user_id or "")
        await self._require_core_admin(actor)
        owner = await self._accounts.require(user_id)
        return await store.read_keys(self._statements, owner.id)

    async def rotate(self, actor: Actor, key_id: str, form: Rotation) -> MadeKey:
        """Replace a key by a new one with the same id and limits.

        Raises BadRequest, Forbidden, NotFound; SecondFactorRequired without the caller's code.
        """
        refuse_key(actor)
        if not 0 <= form.overlap <= MAX_OVERLAP:
            raise BadRequest(f"overlap must be from 0 to {MAX_OVERLAP} seconds")
        is_admin = await self._is_core_admin(actor)
        use_code = await self._logins.check_code(actor, form.code)

        async def write(tx: Transaction) -> MadeKey:
            key = await self._lock(tx, key_id)
            _check_reach(key, actor, is_admin=is_admin)
            if use_code is not None:
                await use_code(tx)
            return await self.replace(tx, key, form.overlap)

        return await self._statements.run(actor, write)

    async def replace(self, tx: Transaction, key: OwnedKey, overlap: int) -> MadeKey:
        """Replace a locked key. Raises BadRequest where it has expired."""
        if key.expired:
            raise BadRequest("the key has expired: make a new one")
        new_key = await store.rotate(tx, key.id, _new_secret(), overlap)
        await self._end(tx, key)
        values = {"user_id": key.user_id, "prefix": new_key.prefix, "overlap": overlap}
        await _record(tx, "KEY_ROTATED", key.id, values)
        return new_key

    async def revoke(self, actor: Actor, key_id: str) -> None:
        """End a key on every server process. Raises BadRequest, NotFound."""
        is_admin = await self._is_core_admin(actor)

        async def write(tx: Transaction) -> None:
            key = await self._lock(tx, key_id)
            _check_reach(key, actor, is_admin=is_admin)
            await self.remove(tx, key)

        await self._statements.run(actor, write)

    async def remove(self, tx: Transaction, key: OwnedKey) -> None:
        """End a locked key."""
        await store.delete(tx, key.id)
        await self._end(tx, key)
        await _record(tx, "KEY_REVOKED", key.id, {"user_id": key.user_id, "name": key.name})

    async def lock(self, tx: Transaction, key_id: str) -> OwnedKey:
        """Read and lock a key. Raises BadRequest, NotFound."""
        return await self._lock(tx, key_id)

    async def check(self, owner: User, limits: Limits) -> None:
        """Raise BadRequest for limits that name what the owner does not hold."""
        await self._check_held(owner.id, limits)

    async def _lock(self, tx: Transaction, key_id: str) -> OwnedKey:
        check_id(key_id)
        key = await store.lock(tx, key_id)
        if key is None:
            raise unknown_key(key_id)
        return key

    async def _end(self, tx: Transaction, key: OwnedKey) -> None:
        await tx.publish(TOPIC, f"key:{key.id}")
        await tx.publish(REVOKED_DELEGATIONS, key.user_id)

    async def _find_owner(self, actor: Actor, user_id: str | None) -> User:
        if user_id is None or user_id.lower() == actor.user_id:
            return await self._accounts.require(actor.user_id or "")
        await self._require_core_admin(actor)
        owner = await self._accounts.require(user_id)
        if owner.kind != "service":
            raise BadRequest("user: a person makes keys by signing in; this is no service account")
        if owner.disabled:
            raise BadRequest("user: the account is disabled")
        return owner

    async def _check_held(self, user_id: str, limits: Limits) -> None:
        if not limits.narrow:
            return
        access = self._find_access()
        if not supports(access, Narrowing):
            raise BadRequest("apps, permissions: the permissions of this server are not narrowed")
        if not await access.covers(user_id, limits):
            raise BadRequest(NOT_HELD)

    async def _is_core_admin(self, actor: Actor) -> bool:
        access = self._find_access()
        if access is None:
            return False
        return await access.is_core_admin(actor.user_id, **limits_of(actor))

    async def _require_core_admin(self, actor: Actor) -> None:
        if not await self._is_core_admin(actor):
            raise Forbidden("only core admins may do this for others")


def refuse_key(actor: Actor) -> None:
    """Refuse a request that came with a key, or was made for one. Raises Forbidden."""
    if actor.limits is not None:
        raise Forbidden(NOT_BY_KEY)


def clean_name(text: str) -> str:
    """Trim the name of a key. Raises BadRequest."""
    name = text.strip()
    if not 1 <= len(name) <= 100 or UNPRINTABLE.search(name):
        raise BadRequest("name must have 1 to 100 printable characters")
    return name


def read_end(text: str | None) -> str | None:
    """Read the end of a key, as that of a link is read. Raises BadRequest."""
    end = read_expiry(text)
    return None if end is None else end.isoformat()


def unknown_key(key_id: str) -> NotFound:
    """Return the error for a key that does not exist, or is another's."""
    return NotFound(f"key '{key_id[:64]}' not found")


def _check_reach(key: OwnedKey, actor: Actor, *, is_admin: bool) -> None:
    """Refuse the key of another, except of a service account for core admins. Raises NotFound."""
    is_own = key.user_id == actor.user_id
    is_administered = is_admin and key.kind == "service"
    if not is_own and not is_administered:
        raise unknown_key(key.id)


def _new_secret() -> tuple[str, str, str]:
    """Return a new key with its prefix and its hash."""
    key = make_key()
    return key, shown_prefix(key), hash_key(key)


def _describe(limits: Limits) -> dict[str, object]:
    """Return limits as the audit trail shows them."""
    return {"apps": limits.apps, "permissions": limits.permissions}


async def _record(
    tx: Transaction, operation: str, key_id: str, values: Mapping[str, object]
) -> None:
    await tx.record(Event.core("keys", operation, tx.actor, key_id, new=values))
