"""Roles and assignments: what is listed, and how they change. See `kernel.contracts.access`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from kernel.public import (
    Access,
    Actor,
    AppGrant,
    Assignment,
    BadRequest,
    Effective,
    Event,
    Forbidden,
    Identity,
    Limits,
    NotFound,
    Permission,
    Role,
    Statements,
    Transaction,
    limits_of,
)

from . import store
from .decisions import TOPIC, Decisions, RoleCache, notification
from .grammar import canonical_user_id, check_keys, check_role_name
from .grants import CrossAppGrants
from .inheritance import check_inheritance
from .models import ADMIN, CORE, AppAssignment
from .narrowing.limits import WORDS, holds_under, limited_rights
from .rights import AppPermissions, Rights
from .store import RbacStore

MAX_SIZE: Final = 1_000_000
"""Bytes of JSON of all of them, which every process reads again when one changes."""

_encode: Final = msgspec.json.Encoder().encode


class RbacService(Decisions):
    """Provides ACCESS. Decisions read the role cache, changes go through the store."""

    def __init__(
        self,
        statements: Statements,
        rbac_store: RbacStore,
        role_cache: RoleCache,
        identity: Identity,
    ) -> None:
        super().__init__(role_cache, identity)
        self._statements = statements
        self._store = rbac_store
        self.cross_app = CrossAppGrants(statements, role_cache)

    # --- roles and permissions of an app

    async def effective(self, user_id: str, app_id: str, limits: Limits | None = None) -> Effective:
        """See `Access.effective`. A core admin holds `admin` on every app."""
        effective = await self._find_effective_by_roles(user_id, app_id)
        if limits is None or not limits.narrow:
            return effective
        rights = limited_rights(limits, app_id)
        if rights.everything:
            return effective
        if not rights.any:
            return Effective([], [])
        keys = effective.permissions
        if keys == ["*"]:
            keys = [permission.key for permission in await self.available(app_id)]
        return Effective([], rights.list_keys(keys))

    async def covers(self, user_id: str, limits: Limits) -> bool:
        """See `Narrowing.covers`."""
        if limits.apps == () or limits.permissions == ():
            return False
        for app_id in limits.apps or ():
            if not await self._covers(user_id, app_id, None):
                return False
        for permission in limits.permissions or ():
            app_id, _, name = permission.partition(":")
            if not await self._covers(user_id, app_id, name):
                return False
        return True

    async def _covers(self, user_id: str, app_id: str, name: str | None) -> bool:
        """Whether a user holds something under a name, None for any role on the app."""
        try:
            app, held_roles = await self._cache.app_and_roles(app_id, user_id)
        except NotFound:
            return False
        is_core_admin = ADMIN in held_roles.get(CORE, ())
        if app_id not in held_roles and not is_core_admin:
            return False
        if name is None:
            return True
        if app_id == CORE and name in WORDS:
            return False
        rights = app.rights(held_roles.get(app_id, ()))
        if is_core_admin:
            rights = Rights(frozenset("*"))
        return holds_under(name, rights, app.permissions, app.entities)

    async def _find_effective_by_roles(self, user_id: str, app_id: str) -> Effective:
        """Return what a user holds by roles."""
        app, held_roles = await self._cache.app_and_roles(app_id, user_id)
        roles = held_roles.get(app_id, ())
        rights = app.rights(roles)
        everything = rights.everything
        if ADMIN in held_roles.get(CORE, ()):
            roles = tuple(sorted({*roles, ADMIN}))
            everything = True
        if everything and app_id == CORE:
            return Effective(list(roles), ["*"])
        if everything:
            keys = [permission.key for permission in app.permissions]
        else:
            keys = rights.list_keys(app.permissions)
        return Effective(list(roles), keys)

    async def available(self, app_id: str) -> Sequence[Permission]:
        """See `Access.available`."""
        return (await self._cache.app(app_id)).permissions

    async def roles(self, app_id: str) -> Sequence[Role]:
        """See `Access.roles`."""
        return list((await self._cache.app(app_id)).roles.values())

    async def grants(self, app_id: str) -> Sequence[AppGrant]:
        """See `AppGrants.grants`."""
        return await self.cross_app.list_grants(app_id)

    async def peers(self, user_id: str) -> Sequence[str] | None:
        """See `Peers.peers`."""
        held_roles = await self._cache.held_roles(user_id)
        if any(ADMIN in roles for roles in held_roles.values()):
            return None
        if not held_roles:
            return ()
        return await self._store.peers(user_id)

    async def assignments(self, app_id: str) -> Sequence[Assignment]:
        """See `Access.assignments`."""
        await self._cache.app(app_id)
        return await self._store.assignments(app_id)

    async def administered_assignments(self, user_id: str) -> list[AppAssignment]:
        """Return who has which role on the apps that a user is admin of; a core admin, of all."""
        held_roles = await self._cache.held_roles(user_id)
        administered = [app_id for app_id, roles in held_roles.items() if ADMIN in roles]
        if CORE in administered:
            return await self._store.all_assignments(None)
        if not administered:
            return []
        return await self._store.all_assignments(administered)

    # --- roles

    async def create_role(self, actor: Actor, app_id: str, role: Role) -> None:
        """See `Access.create_role`."""
        check_role_name(role.name)

        async def work(tx: Transaction) -> None:
            app, roles = await self._lock(tx, app_id)
            if role.name in roles:
                raise BadRequest(f"role '{role.name}' already exists")
            if len(roles) >= 500:
                raise BadRequest("an app has at most 500 roles")
            created = _check_role(app, roles, role)
            await store.insert_role(tx, app_id, created)
            await _record_role(tx, "ROLE_CREATED", app_id, None, created)

        await self._statements.run(actor, work)

    async def update_role(
        self, actor: Actor, app_id: str, name: str, changes: Mapping[str, object]
    ) -> None:
        """See `Access.update_role`. Of `admin` only the description can be changed."""

        async def work(tx: Transaction) -> None:
            app, roles = await self._lock(tx, app_id)
            role = _require_role(roles, name)
            if name == ADMIN and changes.keys() - {"description"}:
                raise BadRequest("of the role 'admin' only the description can be changed")
            members: dict[str, Any] = dict(changes)
            changed = _check_role(app, roles, replace(role, **members))
            await store.update_role(tx, app_id, changed)
            await _record_role(tx, "ROLE_UPDATED", app_id, role, changed)

        await self._statements.run(actor, work)

    async def delete_role(self, actor: Actor, app_id: str, name: str) -> None:
        """See `Access.delete_role`. `admin` stays."""

        async def work(tx: Transaction) -> None:
            _, roles = await self._lock(tx, app_id)
            role = _require_role(roles, name)
            if name == ADMIN:
                raise BadRequest("the role 'admin' cannot be deleted")
            await store.delete_role(tx, app_id, name)
            await _record_role(tx, "ROLE_DELETED", app_id, role, None)

        await self._statements.run(actor, work)

    async def _lock(self, tx: Transaction, app_id: str) -> tuple[AppPermissions, dict[str, Role]]:
        row, roles = await store.lock_app(tx, app_id)
        return AppPermissions(row, self._cache.core_keys), roles

    # --- assignments

    async def assign(self, actor: Actor, app_id: str, user_id: str, role: str) -> None:
        """See `Access.assign`."""
        await self._cache.app(app_id)
        user_id = canonical_user_id(user_id)

        async def work(tx: Transaction) -> None:
            await store.lock_user(tx, user_id)
            if await self._identity.user(user_id, tx) is None:
                raise NotFound(f"user '{user_id}' not found")
            await _give_existing(tx, app_id, role, user_id)

        await self._statements.run(actor, work)

    async def assign_within(self, tx: Transaction, app_id: str, user_id: str, role: str) -> None:
        """See `JoinedAssignments.assign_within`."""
        await self._cache.app(app_id)
        await store.lock_user(tx, user_id)
        await _give_existing(tx, app_id, role, user_id)

    async def revoke(self, actor: Actor, app_id: str, user_id: str, role: str) -> None:
        """See `Access.revoke`."""
        await self._cache.app(app_id)
        user_id = canonical_user_id(user_id)

        async def work(tx: Transaction) -> None:
            if not await store.lock_role(tx, app_id, role):
                raise BadRequest(f"role: there is no role '{role[:64]}'")
            if not await store.revoke(tx, app_id, role, user_id):
                raise NotFound(f"user '{user_id}' does not hold the role '{role}'")
            if role == ADMIN:
                await self._require_admin(tx, app_id, f"the last admin of {app_id} must stay")
            await _record_assignment(tx, "ROLE_REVOKED", app_id, role, user_id)

        await self._statements.run(actor, work)

    async def close_account(self, tx: Transaction, user_id: str, *, delete: bool) -> None:
        """Refuse to lose the last core admin; remove the assignments of a deleted account.

        The role's row is locked until the account is closed: of two concurrent closings the second
        sees the first. The user is locked too, so that no role is assigned meanwhile.
        """
        await store.lock_user(tx, user_id)
        if user_id in await store.holders(tx, CORE, ADMIN):
            await store.lock_role(tx, CORE, ADMIN)
            await self._require_admin(tx, CORE, "the last core admin must stay", except_id=user_id)
        if delete:
            for app_id in await store.forget_user(tx, user_id):
                await tx.publish(TOPIC, notification(app_id, user_id))

    async def _require_admin(
        self, tx: Transaction, app_id: str, refusal: str, except_id: str = ""
    ) -> None:
        """Raise BadRequest unless a user other than `except_id` holds `admin` and can sign in.

        Of `core` it must be a person.
        """
        for holder in await store.holders(tx, app_id, ADMIN):
            if holder != except_id:
                user = await self._identity.user(holder, tx)
                if user is None or user.disabled:
                    continue
                if app_id == CORE and user.kind == "service":
                    continue
                return
        raise BadRequest(refusal)


async def _give_existing(tx: Transaction, app_id: str, role: str, user_id: str) -> None:
    """Assign a role. Raises BadRequest for one that does not exist."""
    if not await store.share_role(tx, app_id, role):
        raise BadRequest(f"role: there is no role '{role[:64]}'")
    await give(tx, app_id, role, user_id)


async def give(tx: Transaction, app_id: str, role: str, user_id: str) -> None:
    """Assign a role that exists; twice is once."""
    if await store.assign(tx, app_id, role, user_id):
        await _record_assignment(tx, "ROLE_ASSIGNED", app_id, role, user_id)


async def permissions_for(
    access: Access, identity: Identity, actor: Actor, app_id: str, user_id: str
) -> Effective:
    """Return what a user holds, to that user, admins of the app and core admins.

    Raises NotFound for an unknown app, Forbidden, then BadRequest or NotFound for the user.
    """
    await access.available(app_id)
    is_self = user_id.lower() == actor.user_id
    is_admin = await access.is_app_admin(actor.user_id, app_id, **limits_of(actor))
    if not is_admin and not is_self:
        raise Forbidden("only admins of the app may see what others hold")
    user_id = canonical_user_id(user_id)
    if await identity.user(user_id) is None:
        raise NotFound(f"user '{user_id}' not found")
    if not is_self:
        return await access.effective(user_id, app_id)
    return await access.effective(user_id, app_id, **limits_of(actor))


def _require_role(roles: Mapping[str, Role], name: str) -> Role:
    role = roles.get(name)
    if role is None:
        raise NotFound(f"role '{name}' not found")
    return role


def _check_role(app: AppPermissions, roles: Mapping[str, Role], role: Role) -> Role:
    """Return a role that is valid to store. Raises BadRequest."""
    present_keys: Sequence[str] = ()
    if role.name in roles:
        present_keys = roles[role.name].permissions
    role = replace(
        role,
        inherits=list(dict.fromkeys(role.inherits)),
        permissions=check_keys(role.permissions, app.entities, app.permissions, present_keys),
    )
    parents = {name: present_role.inherits for name, present_role in roles.items()}
    check_inheritance(role.name, {**parents, role.name: role.inherits})
    _check_size(roles, role)
    return role


def _check_size(roles: Mapping[str, Role], role: Role) -> None:
    """Refuse a role that makes an app's roles too large; one may always become smaller."""
    sizes = {name: len(_encode(present_role)) for name, present_role in roles.items()}
    old_size = sizes.get(role.name, 0)
    new_size = len(_encode(role))
    if new_size > old_size and sum(sizes.values()) - old_size + new_size > MAX_SIZE:
        raise BadRequest(
            f"permissions: the roles of an app take at most {MAX_SIZE} bytes of JSON together;"
            " wildcards and `inherits` take less"
        )


async def _record_role(
    tx: Transaction, operation: str, app_id: str, old: Role | None, new: Role | None
) -> None:
    role = new or old
    assert role is not None
    before = _describe(app_id, old)
    after = _describe(app_id, new)
    await tx.record(Event.core("roles", operation, tx.actor, role.name, old=before, new=after))
    await tx.publish(TOPIC, notification(app_id))


def _describe(app_id: str, role: Role | None) -> object:
    return role and {"app_id": app_id, **msgspec.to_builtins(role)}


async def _record_assignment(
    tx: Transaction, operation: str, app_id: str, role: str, user_id: str
) -> None:
    values = {"app_id": app_id, "role": role, "user_id": user_id}
    if operation == "ROLE_REVOKED":
        event = Event.core("role_assignments", operation, tx.actor, user_id, old=values)
    else:
        event = Event.core("role_assignments", operation, tx.actor, user_id, new=values)
    await tx.record(event)
    await tx.publish(TOPIC, notification(app_id, user_id))
