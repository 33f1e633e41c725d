"""Bodies of the routes, and rows of the tables."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, UnsetType

from kernel.public import Permission, Role

from .field_rules import FieldRule

CORE: Final = "core"
"""The app of the server itself: roles and permissions like any, no collections."""
ADMIN: Final = "admin"
"""The built-in role of every app, which holds `*`."""

Description = Annotated[str, msgspec.Meta(max_length=1000)]
Parents = Annotated[list[str], msgspec.Meta(max_length=100)]
Keys = Annotated[list[str], msgspec.Meta(max_length=5000)]


class NewRole(msgspec.Struct, frozen=True, kw_only=True):
    """Body of POST roles; with `secondFactor` its users need one."""

    name: str
    description: Description | None = None
    inherits: Parents = []
    permissions: Keys = []
    second_factor: bool = msgspec.field(default=False, name="secondFactor")


class RoleChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of PATCH roles/{role}: absent members stay as they are; `name` must be the role's.

    A misspelt member is refused, as the reply would claim a change that was not made.
    """

    name: str | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    inherits: Parents | UnsetType = UNSET
    permissions: Keys | UnsetType = UNSET
    second_factor: bool | UnsetType = msgspec.field(default=UNSET, name="secondFactor")


class RoleOfUser(msgspec.Struct, frozen=True, kw_only=True):
    """Body of roles/assign and roles/revoke; `user_id` is accepted beside `userId`."""

    role: str
    user_id: str | UnsetType = UNSET
    user_id_camel: str | UnsetType = msgspec.field(default=UNSET, name="userId")


class AppAssignment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The fact that a user has a role on an app; `assigned_at` is RFC 3339 text."""

    app: str
    user_id: str
    role: str
    assigned_at: str


class NewGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST grants: permission keys of another app."""

    app: str
    permissions: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1000)]


class AppRow(msgspec.Struct, frozen=True, kw_only=True):
    """One app as stored."""

    app_id: str
    entities: list[str]
    permissions: list[Permission]
    roles: list[Role]
    field_rules: list[FieldRule] = []
    grants: dict[str, list[str]] = {}
    """Keys that workers of other apps may use here, by app."""


class Assumed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Roles and permissions on the app that a user does not hold, to explain what they would do."""

    roles: Parents = []
    permissions: Keys = []


class ExplainQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question: may this user do this, on this record?"""

    user: str
    app: str
    action: str
    record: str | None = None


class ExplainBody(ExplainQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same question under an assumption."""

    assume: Assumed = Assumed()


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A role that allows the action by a key; `via` are the roles that it inherits the key from."""

    role: str
    permission: str
    via: list[str] = []
    plugin: str = "rbac"


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, with every reason; with `own_only` just for records that the user created."""

    allowed: bool
    by: list[Reason]
    reason: str
    own_only: bool = False
