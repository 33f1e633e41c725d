"""Permissions: what routes declare, and the service that decides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, Protocol, TypedDict, runtime_checkable

import msgspec

from kernel.contracts.base import Actor, Limits, ServiceKey
from kernel.contracts.statements import Transaction

__all__ = [
    "ACCESS",
    "ANY_USER",
    "APP_ADMIN",
    "APP_USER",
    "CORE_ADMIN",
    "JOBS_MANAGE",
    "JOBS_READ",
    "JOBS_USER",
    "LOGS_READ",
    "PERMISSION_KEY",
    "PUBLIC",
    "RPC_USER",
    "Access",
    "Action",
    "AppGrant",
    "AppGrants",
    "Assignment",
    "Effective",
    "FactorDemands",
    "Grant",
    "JoinedAssignments",
    "Kind",
    "Narrowing",
    "Needs",
    "Peers",
    "Permission",
    "Role",
    "RoleGrants",
    "WithLimits",
    "app_permission",
    "core_permission",
    "entity",
    "limits_of",
]  # fmt: skip

Action = Literal["create", "read", "update", "delete"]
"""What a caller does with records; a permission on an entity is `<entity>.<action>`."""

PERMISSION_KEY = re.compile(r"(?=.{1,128}$)[A-Za-z][A-Za-z0-9_-]*([.:][A-Za-z0-9_-]+)*")
"""The key of a permission that a manifest declares, of at most 128 characters."""
Kind = Literal[
    "public", "user", "core_admin", "app_user", "app_admin", "app_permission", "entity",
    "core_permission",
]  # fmt: skip
"""What a route can need. A constant or a function of this module makes each."""


class Needs(msgspec.Struct, frozen=True):
    """What a caller must hold to call a route. Every route declares it.

    `app_user`, `app_admin`, `app_permission` and `entity` take the app from the path parameter
    `app_id`, `entity` the entity from `entity`; `key` is the action, or the permission key. For
    `app_user` it is a word of `Limits.permissions`. For `user` it is `*` where limits must leave
    every right on the app, or on `core`.
    """

    kind: Kind
    key: str = ""

    def __str__(self) -> str:
        words = {"core_admin": "core admin", "app_user": "any role on the app"}
        words |= {"app_admin": "app admin", "entity": f"<entity>.{self.key}", "user": "any user"}
        words |= {"core_permission": f"core: {self.key}", "app_permission": self.key}
        return words.get(self.kind, self.kind)


PUBLIC = Needs("public")
"""The route needs nothing, not even a token."""
ANY_USER = Needs("user")
"""The route needs a valid token; where more is needed, the handler asks ACCESS."""
CORE_ADMIN = Needs("core_admin")
"""The route needs the role `admin` on `core`."""
APP_USER = Needs("app_user")
"""The route needs any role on the app of the path's `app_id`."""
APP_ADMIN = Needs("app_admin")
"""The route needs the role `admin` on the app of the path's `app_id`, or on `core`."""


RPC_USER = Needs("app_user", "rpc")
"""As APP_USER; permissions that narrow the caller must have `<app>:rpc`."""
JOBS_USER = Needs("app_user", "jobs")
"""As APP_USER; permissions that narrow the caller must have `<app>:jobs`."""


@cache
def entity(action: Action) -> Needs:
    """The generated permission `<entity>.<action>`, or its `.own` form."""
    return Needs("entity", action)


def app_permission(key: str) -> Needs:
    """A permission that every app has: a role holds it by its name, or by `*`.

    Admins of the app and of `core` hold it. It is a key of the app if a plugin has
    registered it with `on="app"`.
    """
    return Needs("app_permission", key)


JOBS_READ = app_permission("core:jobs.read")
"""The route needs the permission to see the jobs of every user of an app."""
JOBS_MANAGE = app_permission("core:jobs.manage")
"""The route needs the permission to cancel the jobs of every user of an app."""
LOGS_READ = app_permission("core:logs.read")
"""The route needs the permission to read the log of an app."""


def core_permission(key: str) -> Needs:
    """A permission that a plugin registered, held through a role on `core`."""
    return Needs("core_permission", key)


class Grant(msgspec.Struct, frozen=True):
    """What an access check allows; with `own_only` just the rows that the caller created.

    The fields in `hidden` do not exist for the caller; those in `locked` can be read only.
    """

    own_only: bool = False
    hidden: frozenset[str] = frozenset()
    locked: frozenset[str] = frozenset()


class Permission(msgspec.Struct, frozen=True):
    """A permission key with the words that explain it.

    One that a plugin registers is held by roles of `core`, or with `on="app"` by roles of each app.
    """

    key: str
    description: str = ""
    on: Literal["core", "app"] | msgspec.UnsetType = msgspec.UNSET


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A named set of permissions on one app."""

    name: str
    description: str | None = None
    inherits: list[str] = []
    permissions: list[str] = []
    second_factor: Literal[True] | msgspec.UnsetType = msgspec.field(
        default=msgspec.UNSET, name="secondFactor"
    )
    """Whether users that hold the role need a second factor; absent where not."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The fact that a user has a role; `assigned_at` is RFC 3339 text."""

    user_id: str
    role: str
    assigned_at: str


class Effective(msgspec.Struct, frozen=True):
    """What a user holds on one app: assigned roles, and permissions in declaration order."""

    roles: list[str]
    permissions: list[str]


class Access(Protocol):
    """Decides about access and stores roles. Decisions come from memory; a change applies to all
    processes within a second. `app_id` may be `core`. All raise NotFound for an unknown app."""

    async def authorize(self, actor: Actor, needs: Needs, path: Mapping[str, str]) -> Grant:
        """Return what `needs` grants, or raise NotFound or Forbidden in that order.

        A worker (`actor.delegation`) has the user's rights on its own app only, unless the provider
        has grants (see `AppGrants`). An actor with limits has a part of the user's rights (see
        `Narrowing`).
        """
        ...

    async def grant(
        self,
        user_id: str | None,
        app_id: str,
        entity: str,
        action: str,
        limits: Limits | None = None,
    ) -> Grant:
        """Return the grant for an action, for callers without a request (workers, jobs).

        No sign-in precedes them, so the account is checked as well: a disabled or deleted account
        may still have roles, and is granted nothing.
        """
        ...

    async def is_core_admin(self, user_id: str | None, limits: Limits | None = None) -> bool:
        """Whether the user is admin of `core`, and so of every app."""
        ...

    async def is_app_admin(
        self, user_id: str | None, app_id: str, limits: Limits | None = None
    ) -> bool:
        """Whether the user is admin of the app or of `core`; False for an unknown app."""
        ...

    async def effective(self, user_id: str, app_id: str, limits: Limits | None = None) -> Effective:
        """A user's roles and expanded permissions on an app; empty lists without a role.

        Limits with permissions leave no role.
        """
        ...

    async def available(self, app_id: str) -> Sequence[Permission]:
        """Every permission key of an app in declaration order."""
        ...

    async def roles(self, app_id: str) -> Sequence[Role]:
        """Every role of an app by name."""
        ...

    async def create_role(self, actor: Actor, app_id: str, role: Role) -> None:
        """Add a role."""
        ...

    async def update_role(
        self, actor: Actor, app_id: str, name: str, changes: Mapping[str, object]
    ) -> None:
        """Change what `changes` names: description, inherits, permissions."""
        ...

    async def delete_role(self, actor: Actor, app_id: str, name: str) -> None:
        """Remove a role with its assignments and from the `inherits` of others."""
        ...

    async def assignments(self, app_id: str) -> Sequence[Assignment]:
        """The assignments of roles on an app."""
        ...

    async def assign(self, actor: Actor, app_id: str, user_id: str, role: str) -> None:
        """Assign a role to a user; idempotent."""
        ...

    async def revoke(self, actor: Actor, app_id: str, user_id: str, role: str) -> None:
        """Revoke a role from a user; the last admin keeps it."""
        ...


class AppGrant(msgspec.Struct, frozen=True):
    """The permission keys of `app` that workers of another app may use on behalf of users."""

    app: str
    permissions: list[str]


@runtime_checkable
class AppGrants(Protocol):
    """A provider of ACCESS that lets workers act on other apps, for users that hold the right too.

    Its `authorize` checks both for an actor with a delegation of another app.
    """

    async def grants(self, app_id: str) -> Sequence[AppGrant]:
        """Return what the workers of an app may do on others. Raises NotFound."""
        ...


@runtime_checkable
class Narrowing(Protocol):
    """A provider of ACCESS that narrows rights by limits. Others get no request with such limits.

    Without limits its decisions are those about the user.
    """

    async def covers(self, user_id: str, limits: Limits) -> bool:
        """Whether the user holds now something under each name of the limits, and none is empty."""
        ...


@runtime_checkable
class FactorDemands(Protocol):
    """A provider of ACCESS whose roles can demand a second factor."""

    async def demands_factor(self, user_id: str, *, of_admins: bool) -> bool:
        """Whether a role of the user demands a second factor; `of_admins`: every `admin` does."""
        ...


@runtime_checkable
class Peers(Protocol):
    """A provider of ACCESS that knows which users share an app."""

    async def peers(self, user_id: str) -> Sequence[str] | None:
        """Return the ids of the users that have a role on an app where this user has one.

        Core admins share every app. None for an admin of any app, who assigns roles to every user.
        """
        ...


@runtime_checkable
class RoleGrants(Protocol):
    """A provider of ACCESS that says what a role allows by itself."""

    async def grant_of_role(
        self, app_id: str, role: str, entity: str, action: Action
    ) -> Grant | None:
        """Return the grant of a role for an action, or None. Raises NotFound.

        NotFound is for an unknown app, role or entity.
        """
        ...


@runtime_checkable
class JoinedAssignments(Protocol):
    """A provider of ACCESS that assigns roles within the transaction of another change."""

    async def assign_within(self, tx: Transaction, app_id: str, user_id: str, role: str) -> None:
        """Assign a role to a user that the transaction can see.

        Raises NotFound for an unknown app, BadRequest for an unknown role.
        """
        ...


class WithLimits(TypedDict, total=False):
    """The argument `limits` of methods of ACCESS."""

    limits: Limits


def limits_of(actor: Actor) -> WithLimits:
    """Return the argument by which ACCESS narrows its answer about the user of an actor.

    As in `await access.is_core_admin(actor.user_id, **limits_of(actor))`. It is empty where nothing
    is narrowed, so that providers without `Narrowing` need not have it.
    """
    limits = actor.limits
    return {} if limits is None or not limits.narrow else {"limits": limits}


ACCESS = ServiceKey[Access]("access")
