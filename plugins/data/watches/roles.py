"""What a role alone may read, for watches that no user has."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

from kernel.public import (
    Access,
    Action,
    Actor,
    Forbidden,
    Grant,
    PluginFailed,
    RoleGrants,
    supports,
)
from plugins.data.rights.permissions import Permissions

_ROLES: Final = uuid.UUID("5c1a9d3e-6f0b-5d57-9a53-2b8f4be0c7a1")
"""The namespace of the ids of actors that represent roles."""


def actor_of_role(app_id: str, role: str) -> Actor:
    """Make the actor that represents a role. No account has its id, so it owns no record."""
    return Actor(user_id=str(uuid.uuid5(_ROLES, f"{app_id}/{role}")), username=f"role {role}")


class RolePermissions(Permissions):
    """Asks ACCESS what a role allows, for any actor."""

    def __init__(self, access: Callable[[], Access], role: str) -> None:
        super().__init__(access)
        self._find_access = access
        self._role = role

    async def require(self, actor: Actor, app_id: str, entity_name: str, action: Action) -> Grant:
        """Return the grant of the role. Raises NotFound, Forbidden."""
        access = self._find_access()
        if not supports(access, RoleGrants):
            problem = "the provider of ACCESS does not say what a role alone allows"
            raise PluginFailed(problem, "choose one with `grant_of_role`, such as rbac")
        grant = await access.grant_of_role(app_id, self._role, entity_name, action)
        if grant is None:
            raise Forbidden(f"the role '{self._role}' has no '{entity_name}.{action}'")
        return grant
