"""Explains a decision: which role allows an action, through what, or why none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kernel.public import (
    Action,
    Actor,
    Apps,
    BadRequest,
    Entity,
    Forbidden,
    Grant,
    HookBus,
    Identity,
    NotFound,
    Page,
    Records,
    Role,
    User,
    hookspecs,
    nearest,
)

from .grammar import ACTIONS, OWN, canonical_user_id, prefix
from .models import ADMIN, CORE, ExplainBody, Explained, Reason
from .rights import FULL, OWN_ROWS, AppPermissions
from .service import RbacService

ASSUMED: Final = "(assumed)"
"""The role that holds the assumed permissions."""


class Explainer:
    """Answers for the user itself, for admins of the app and for core admins."""

    def __init__(
        self,
        service: RbacService,
        identity: Identity,
        bus: HookBus,
        records: Records | None,
        apps: Apps | None,
    ) -> None:
        self._service = service
        self._cache = service.cache
        self._identity = identity
        self._bus = bus
        self._records = records
        self._apps = apps

    async def explain(self, caller: Actor, asked: ExplainBody) -> Explained:
        """Explain whether a user may do something. Raises BadRequest, Forbidden, NotFound."""
        user_id, app_id, action = canonical_user_id(asked.user), asked.app, asked.action
        admin = await self._service.is_app_admin(caller.user_id, app_id)
        if not admin and user_id != caller.user_id:
            raise Forbidden("only the user itself and admins of the app may ask this")
        app = await self._cache.app(app_id)
        user = await self._identity.user(user_id)
        if user is None:
            raise NotFound(f"user '{user_id}' not found")
        _check_action(app, action)
        by = await self._reasons(app, user_id, asked)
        if user.disabled:
            return Explained(allowed=False, by=by, reason="this account is closed")
        if not by:
            missing = f"no role of {user.username} on '{app_id}' holds '{action}'"
            return Explained(allowed=False, by=by, reason=missing)
        own_only = all(each.permission.endswith(OWN) for each in by)
        if action.endswith(".create"):
            own_only = False
        if asked.record is not None and action.partition(".")[2] in ACTIONS:
            found = Explained(allowed=True, own_only=own_only, by=by, reason="within reach")
            return await self._of_record(user, asked, asked.record, found, admin=admin)
        said = f"{user.username} may do this"
        said += ", on records that the user created" if own_only else ""
        return Explained(allowed=True, own_only=own_only, by=by, reason=said)

    async def _reasons(self, app: AppPermissions, user_id: str, asked: ExplainBody) -> list[Reason]:
        app_id, assume = asked.app, asked.assume
        held = await self._cache.held(user_id)
        roles = dict(app.roles)
        for name in assume.roles:
            if name not in roles:
                raise BadRequest(f"assume.roles: {nearest(name, list(roles))}")
        names = [*held.get(app_id, ()), *assume.roles]
        if assume.permissions:
            roles[ASSUMED] = Role(name=ASSUMED, permissions=assume.permissions)
            names.append(ASSUMED)
        by = [
            Reason(role=path[0], permission=key, via=list(path[1:]))
            for path, key in granting(dict.fromkeys(names), roles, asked.action)
        ]
        if app_id != CORE and ADMIN in held.get(CORE, ()):
            by.append(Reason(role=f"{CORE}:{ADMIN}", permission="*"))
        return by

    async def _of_record(
        self, user: User, asked: ExplainBody, record: str, found: Explained, *, admin: bool
    ) -> Explained:
        """Look whether the record is within reach; only admins learn why it is not."""
        own_only, (name, _, verb) = found.own_only, asked.action.partition(".")
        actor = Actor(user_id=user.id, username=user.username)
        if self._apps is None or self._records is None:
            raise BadRequest("record: no plugin keeps records here")
        entity = await self._apps.entity(asked.app, name)
        trees = await self._scopes(actor, entity, verb)
        grant = OWN_ROWS if own_only else FULL
        where = {"$and": [{"id": record}, *trees.values()]}
        if await self._exists(actor, grant, entity, where):
            return found
        reason = "no such record is within reach"
        if admin and own_only and await self._exists(actor, FULL, entity, {"id": record}):
            reason = (
                f"{user.username} did not create this record, and holds only '{asked.action}{OWN}'"
            )
        elif admin and trees:
            reason = f"no such record, or it is kept away by: {', '.join(sorted(trees))}"
        return msgspec.structs.replace(found, allowed=False, reason=reason)

    async def _scopes(self, actor: Actor, entity: Entity, verb: str) -> dict[str, Any]:
        """Return the where-tree of each plugin that narrows the records."""
        found: dict[str, Any] = {}
        for implementation in self._bus.implementations(hookspecs.record_scope):
            arguments = {"actor": actor, "entity": entity, "action": _action(verb)}
            if (tree := await implementation.call(arguments)) is not None:
                found[implementation.plugin] = tree
        return found

    async def _exists(
        self, actor: Actor, grant: Grant, entity: Entity, where: Mapping[str, Any]
    ) -> bool:
        assert self._records is not None
        page = Page(where=where, limit=1)
        array = await self._records.page(actor, grant, entity.app_id, entity.name, page)
        return bool(msgspec.json.decode(array, type=list[msgspec.Raw]))


def granting(
    names: Sequence[str] | Mapping[str, None], roles: Mapping[str, Role], action: str
) -> list[tuple[tuple[str, ...], str]]:
    """Return each (path of roles, key) that grants an action; a path begins with a held role."""
    found: list[tuple[tuple[str, ...], str]] = []
    for name in names:
        seen: set[str] = set()
        waiting: list[tuple[str, ...]] = [(name,)]
        while waiting:
            path = waiting.pop(0)
            role = roles.get(path[-1])
            if role is None or path[-1] in seen:
                continue
            seen.add(path[-1])
            found += [(path, key) for key in role.permissions if _grants(key, action)]
            waiting += [(*path, parent) for parent in role.inherits]
    return found


def _grants(key: str, action: str) -> bool:
    return key in ("*", action, f"{prefix(action)}.*", f"{action}{OWN}")


def _check_action(app: AppPermissions, action: str) -> None:
    known = [permission.key for permission in app.permissions]
    if action not in known:
        meant = nearest(action, known)
        raise BadRequest(f"action: {action[:128]!r} is no permission of this app; {meant}")


def _action(verb: str) -> Action:
    return verb  # type: ignore[return-value]  # one of ACTIONS
