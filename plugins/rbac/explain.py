"""Explains a decision: which role allows an action, through what, or why none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from kernel.public import (
    APP_USER,
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
    Target,
    User,
    hookspecs,
    nearest,
    server_actor,
)
from kernel.public import entity as on_entity

from .grammar import ACTIONS, OWN, canonical_user_id, check_keys, prefix
from .models import ADMIN, CORE, Assumed, ExplainBody, Explained, Reason
from .narrowing.limits import LIMITED, limited_rights
from .rights import FULL, OWN_ROWS, AppPermissions
from .service import RbacService

ASSUMED: Final = "(assumed)"
"""The role that holds the assumed permissions."""
OUT_OF_REACH: Final = "no such record is within reach"


class Explainer:
    """Answers for the user itself, for admins of the app and for core admins.

    A user learns only what other routes show as well: roles and permission keys, which are open to
    users with a role on the app, and records that it may read.
    """

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

    async def explain(self, caller: Actor, body: ExplainBody) -> Explained:
        """Explain whether a user may do something.

        Raises NotFound for an unknown app, then Forbidden, NotFound for an unknown user, and
        BadRequest.
        """
        await self._service.authorize(caller, APP_USER, {"app_id": body.app})
        is_admin = await self._service.is_app_admin(caller.user_id, body.app, caller.limits)
        if not is_admin and body.user.lower() != caller.user_id:
            raise Forbidden("only the user itself and admins of the app may ask this")

        user = await self._identity.user(canonical_user_id(body.user))
        if user is None:
            raise NotFound(f"user '{body.user}' not found")
        app = await self._cache.app(body.app)
        _check_action(app, body.action)
        _check_assumed(app, body.assume)

        reasons = await self._list_reasons(app, user.id, body)
        if user.disabled:
            return Explained(allowed=False, by=reasons, reason="this account is closed")
        if not reasons:
            missing = f"no role of {user.username} on '{body.app}' holds '{body.action}'"
            return Explained(allowed=False, by=reasons, reason=missing)

        own_only = all(reason.permission.endswith(OWN) for reason in reasons)
        if body.action.endswith(".create"):
            own_only = False
        if user.id == caller.user_id and caller.limits is not None and caller.limits.narrow:
            left = limited_rights(caller.limits, body.app).list_keys([body.action])
            if not left:
                return Explained(allowed=False, by=reasons, reason=LIMITED)
            own_only = own_only or left[0].endswith(OWN)
        text = f"{user.username} may do this"
        if own_only:
            text += ", on records that the user created"
        explained = Explained(allowed=True, own_only=own_only, by=reasons, reason=text)

        if body.record is None or body.action.partition(".")[2] not in ACTIONS:
            return explained
        refusal = await self._find_refusal_of_record(
            user, body, own_only=own_only, is_admin=is_admin
        )
        if refusal is not None:
            return msgspec.structs.replace(explained, allowed=False, reason=refusal)
        return msgspec.structs.replace(explained, reason="within reach")

    async def _list_reasons(
        self, app: AppPermissions, user_id: str, body: ExplainBody
    ) -> list[Reason]:
        held_roles = await self._cache.held_roles(user_id)
        roles = dict(app.roles)
        names = [*held_roles.get(body.app, ()), *body.assume.roles]
        if body.assume.permissions:
            roles[ASSUMED] = Role(name=ASSUMED, permissions=body.assume.permissions)
            names.append(ASSUMED)
        reasons = [
            Reason(role=path[0], permission=key, via=list(path[1:]))
            for path, key in find_granting(dict.fromkeys(names), roles, body.action)
        ]
        if body.app != CORE and ADMIN in held_roles.get(CORE, ()):
            reasons.append(Reason(role=f"{CORE}:{ADMIN}", permission="*"))
        return reasons

    async def _find_refusal_of_record(
        self, user: User, body: ExplainBody, *, own_only: bool, is_admin: bool
    ) -> str | None:
        """Return why a record is out of reach, None where it is within. Only admins learn more
        than that. Raises Forbidden for other callers that may not read records."""
        if self._apps is None or self._records is None:
            raise BadRequest("record: no plugin keeps records here")
        name, _, verb = body.action.partition(".")
        entity = await self._apps.entity(body.app, name)
        actor = Actor(user_id=user.id, username=user.username)
        record = {"id": body.record}

        if not is_admin:
            # Other rights, also assumed ones, must not show whether a record exists.
            path = {"app_id": body.app, "entity": name}
            reading = await self._service.authorize(actor, on_entity("read"), path)
            if not await self._exists(actor, reading, entity, record):
                return OUT_OF_REACH

        trees = await self._collect_scopes(actor, entity, cast("Action", verb))
        grant = OWN_ROWS if own_only else FULL
        is_readable = await self._exists(actor, grant, entity, record)
        # A tree of a plugin is judged over all records, whatever the user may read of them.
        within_trees = {"$and": [record, *trees.values()]}
        if is_readable and await self._exists(server_actor(), FULL, entity, within_trees):
            return None
        if not is_admin:
            return OUT_OF_REACH
        if own_only and await self._exists(actor, FULL, entity, record):
            key = f"{body.action}{OWN}"
            return f"{user.username} did not create this record, and holds only '{key}'"
        if trees:
            return f"no such record, or it is kept away by: {', '.join(sorted(trees))}"
        return OUT_OF_REACH

    async def _collect_scopes(self, actor: Actor, entity: Entity, action: Action) -> dict[str, Any]:
        """Return the where-tree of each plugin that narrows the records."""
        trees: dict[str, Any] = {}
        for implementation in self._bus.implementations(hookspecs.record_scope):
            arguments = {"actor": actor, "entity": entity, "action": action}
            tree = await implementation.call(arguments)
            if tree is not None:
                trees[implementation.plugin] = tree
        return trees

    async def _exists(
        self, actor: Actor, grant: Grant, entity: Entity, where: Mapping[str, Any]
    ) -> bool:
        assert self._records is not None
        page = Page(where=where, limit=1)
        target = Target(actor, grant, entity.app_id, entity.name)
        array = await self._records.page(target, page)
        return bool(msgspec.json.decode(array, type=list[msgspec.Raw]))


def find_granting(
    names: Sequence[str] | Mapping[str, None], roles: Mapping[str, Role], action: str
) -> list[tuple[tuple[str, ...], str]]:
    """Return each (path of roles, key) that grants an action; a path begins with a held role."""
    granting: list[tuple[tuple[str, ...], str]] = []
    for name in names:
        visited: set[str] = set()
        waiting: list[tuple[str, ...]] = [(name,)]
        while waiting:
            path = waiting.pop(0)
            role = roles.get(path[-1])
            if role is None or path[-1] in visited:
                continue
            visited.add(path[-1])
            granting += [(path, key) for key in role.permissions if _grants(key, action)]
            waiting += [(*path, parent) for parent in role.inherits]
    return granting


def _grants(key: str, action: str) -> bool:
    return key in ("*", action, f"{prefix(action)}.*", f"{action}{OWN}")


def _check_action(app: AppPermissions, action: str) -> None:
    keys = [permission.key for permission in app.permissions]
    if action not in keys:
        hint = nearest(action, keys)
        raise BadRequest(f"action: {action[:128]!r} is no permission of this app; {hint}")


def _check_assumed(app: AppPermissions, assume: Assumed) -> None:
    """Refuse roles and keys that the app does not have. Raises BadRequest."""
    for name in assume.roles:
        if name not in app.roles:
            hint = nearest(name, list(app.roles))
            raise BadRequest(f"assume.roles: {name[:64]!r} is no role of this app; {hint}")
    try:
        check_keys(assume.permissions, app.entities, app.permissions)
    except BadRequest as error:
        raise BadRequest(f"assume.{error.message}") from None
