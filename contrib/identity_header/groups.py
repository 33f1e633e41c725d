"""Roles that follow from the groups that the proxy sends with a user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from kernel.public import Access, BadRequest, NotFound, server_actor

log = structlog.get_logger("caudex.identity_header")


class GroupRoles:
    """Assigns the roles of a user's groups, and removes those of groups that the user left.

    A role that the map names is held through groups only: one given by hand is taken again.
    """

    def __init__(
        self, roles: Mapping[str, Sequence[str]], find_access: Callable[[], Access | None]
    ) -> None:
        self._roles = roles
        self._mapped_roles = sorted({role for roles_of in roles.values() for role in roles_of})
        self._find_access = find_access

    async def assign_roles(self, user_id: str, groups: Iterable[str]) -> None:
        """Make the roles of a user what the groups say."""
        access = self._find_access()
        if access is None:
            return
        due_roles = {role for group in groups for role in self._roles.get(group, ())}
        for spec in self._mapped_roles:
            try:
                if spec in due_roles:
                    await _assign(access, user_id, spec)
                else:
                    await _revoke(access, user_id, spec)
            except (NotFound, BadRequest) as error:  # no such app or role yet, or the last admin
                log.warning("a role of a group stays as it is", role=spec, why=error.message)


async def _assign(access: Access, user_id: str, spec: str) -> None:
    app_id, _, role = spec.partition(":")
    rights = await access.effective(user_id, app_id)
    if role not in rights.roles:
        await access.assign(server_actor(), app_id, user_id, role)


async def _revoke(access: Access, user_id: str, spec: str) -> None:
    """Revoke a role where it is held.

    Core admins count as admins of every app without being assigned: for them nothing is done.
    """
    app_id, _, role = spec.partition(":")
    rights = await access.effective(user_id, app_id)
    if role not in rights.roles:
        return
    if app_id != "core" and await access.is_core_admin(user_id):
        return
    await access.revoke(server_actor(), app_id, user_id, role)
