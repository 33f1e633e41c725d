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
        self._mapped = sorted({role for given in roles.values() for role in given})
        self._find_access = find_access

    async def settle(self, user_id: str, groups: Iterable[str]) -> None:
        """Make the roles of a user what the groups say."""
        if (access := self._find_access()) is None:
            return
        wanted = {role for group in groups for role in self._roles.get(group, ())}
        for spec in self._mapped:
            app_id, _, role = spec.partition(":")
            try:
                await _give(access, user_id, app_id, role, spec in wanted)
            except (NotFound, BadRequest) as error:  # no such app or role yet, or the last admin
                log.warning("a role of a group stays as it is", role=spec, why=error.message)


async def _give(access: Access, user_id: str, app_id: str, role: str, wanted: bool) -> None:
    """Assign or revoke a role, where that is not so already.

    Core admins count as admins of every app without being assigned: for them nothing is done.
    """
    held = role in (await access.effective(user_id, app_id)).roles
    if held == wanted or (held and app_id != "core" and await access.is_core_admin(user_id)):
        return
    change = access.assign if wanted else access.revoke
    await change(server_actor(), app_id, user_id, role)
