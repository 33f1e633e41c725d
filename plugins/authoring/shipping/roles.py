"""The roles of a deploy: those of `roles.json` exist with their permissions; none is removed."""

from __future__ import annotations

from typing import Any, cast

from plugins.authoring.project.folder import Project, pick
from plugins.authoring.server.connection import ServerConnection

from .step import UNCHANGED, StepPlan, StepReport, absent

MEMBERS = ("description", "inherits", "permissions")


class RolesStep:
    """Makes the roles that are missing, and changes those that differ."""

    part = "roles"

    def __init__(self, server: ServerConnection, project: Project) -> None:
        self.version_before: int | None = None
        self._server = server
        self._declared = project.roles()
        self._path = f"/api/v1/apps/{project.app_id}/roles"
        self._made: list[str] = []
        self._changed: list[dict[str, Any]] = []
        self._present: dict[str, dict[str, Any]] = {}

    async def plan(self) -> StepPlan:
        """Compare with the roles of the app; before its first install there are none."""
        if not self._declared:
            return absent("no roles.json")
        roles = await self._server.find_rows(self._path) or []
        self._present = {role["name"]: role for role in roles}
        changes: list[str] = []
        for role in self._declared:
            present = self._present.get(role["name"])
            if present is None:
                changes.append(f"+ {role['name']}")
            elif _differs(role, present):
                changes.append(f"~ {role['name']}")
        if not changes:
            return UNCHANGED
        return StepPlan(state="changed", changes=changes)

    async def apply(self, plan: StepPlan) -> StepReport:
        """Make and change them one by one; those before a refused one are undone."""
        try:
            for role in self._declared:
                await self._send(role)
        except Exception:
            await self.undo()
            raise
        return StepReport(part=self.part, state="changed", changes=plan.changes)

    async def _send(self, role: dict[str, Any]) -> None:
        present = self._present.get(role["name"])
        if present is None:
            await self._server.post(self._path, role)
            self._made.append(role["name"])
        elif _differs(role, present):
            changes = pick(role, *MEMBERS)
            await self._server.call("PATCH", f"{self._path}/{role['name']}", json=changes)
            self._changed.append(present)

    async def undo(self) -> str:
        """Remove the roles that were made, and change the others back."""
        for name in self._made:
            await self._server.call("DELETE", f"{self._path}/{name}")
        for role in self._changed:
            body = pick(role, *MEMBERS)
            await self._server.call("PATCH", f"{self._path}/{role['name']}", json=body)
        return "the roles are as before"


def _differs(declared: dict[str, Any], present: dict[str, Any]) -> bool:
    """Whether a role has other permissions, ancestors or another text than the file declares."""
    for name in MEMBERS:
        if name not in declared:
            continue
        wish = declared[name]
        value = present.get(name)
        if _canonical(wish) != _canonical(value):
            return True
    return False


def _canonical(value: Any) -> object:
    """Return lists without their order."""
    if isinstance(value, list):
        return sorted(map(str, cast("list[object]", value)))
    return value
