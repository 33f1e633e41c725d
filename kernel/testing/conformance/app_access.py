"""Roles and permissions of one app of the kit, by the engine of one server."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from kernel.contracts.access import ACCESS, Effective, Grant, Needs, Role
from kernel.contracts.base import Actor, server_actor
from kernel.errors import Forbidden, NotFound
from kernel.testing import Client, Server
from kernel.testing.conformance.kit import SOON, eventually, install, unique

ACTOR = server_actor("conformance")
ACTIONS = ("create", "read", "update", "delete")
MANIFEST: dict[str, Any] = {
    "dataContract": [
        {"entityName": "notes", "fields": [{"name": "text", "type": "text"}]},
        {"entityName": "notes_private", "fields": [{"name": "text", "type": "text"}]},
    ],
    "permissions": [
        {"key": "notes.publish", "description": "Publish"},
        {"key": "notes.read", "description": "Look at notes"},
    ],
}


class AppAccess:
    """Roles and permissions of one app by the engine of one server; without an id the app of the
    kit is installed. Methods raise what the engine raises."""

    def __init__(self, server: Server, app_id: str = "") -> None:
        self._run = server.run
        self.engine = server.services.get(ACCESS)
        self.id = app_id or install(server.admin, **MANIFEST)
        self.path = f"/api/v1/apps/{self.id}"

    def create(self, *keys: str, name: str | None = None, inherits: Sequence[str] = ()) -> str:
        """Create a role and return its name, by default a new one."""
        if name is None:
            name = unique("role")
        role = Role(name=name, permissions=list(keys), inherits=list(inherits))
        self._run(self.engine.create_role, ACTOR, self.id, role)
        return name

    def update(self, role: str, **changes: object) -> None:
        """Change `permissions` or `inherits` of a role."""
        self._run(self.engine.update_role, ACTOR, self.id, role, changes)

    def delete(self, role: str) -> None:
        self._run(self.engine.delete_role, ACTOR, self.id, role)

    def assign(self, user_id: str, role: str) -> None:
        self._run(self.engine.assign, ACTOR, self.id, user_id, role)

    def revoke(self, user_id: str, role: str) -> None:
        self._run(self.engine.revoke, ACTOR, self.id, user_id, role)

    def give(self, user_id: str, *keys: str) -> str:
        """Give a user a role that holds these keys, and return its name."""
        name = self.create(*keys)
        self.assign(user_id, name)
        return name

    def roles(self) -> dict[str, Role]:
        """Return the roles by name, in the engine's order."""
        return {role.name: role for role in self._run(self.engine.roles, self.id)}

    def available(self) -> dict[str, str | None]:
        """Return the descriptions of the permissions by key, in the engine's order."""
        return {
            permission.key: permission.description
            for permission in self._run(self.engine.available, self.id)
        }

    def effective(self, user_id: str) -> Effective:
        return self._run(self.engine.effective, user_id, self.id)

    def holds(self, user_id: str | None) -> dict[str, Grant]:
        """Return what a user may do with the entities of the kit's app."""
        grants: dict[str, Grant] = {}
        for name in ("notes", "notes_private"):
            for action in ACTIONS:
                with suppress(Forbidden):
                    grant = self._run(self.engine.grant, user_id, self.id, name, action)
                    grants[f"{name}.{action}"] = grant
        return grants

    def wait_for(self, user_id: str, expected: dict[str, Grant]) -> None:
        """Wait until a user may do this and nothing else."""
        eventually(lambda: self.holds(user_id) == expected, SOON)

    def holders(self) -> list[str]:
        """Return the users that hold roles, once for each."""
        return [held.user_id for held in self._run(self.engine.assignments, self.id)]

    def known(self) -> bool:
        """Return whether the engine knows the app."""
        try:
            self.roles()
        except NotFound:
            return False
        return True

    def authorize(self, user: Client, needs: Needs, entity: str = "notes") -> Grant:
        """Decide as the guard of a route does."""
        actor = Actor(user_id=user.id, username=user.username)
        path = {"app_id": self.id, "entity": entity}
        return self._run(self.engine.authorize, actor, needs, path)

    def decide(self, user: Client, needs: Needs) -> Grant | None:
        """Do the same; None for a refusal."""
        try:
            return self.authorize(user, needs)
        except Forbidden:
            return None
