"""Roles that a claim grants and revokes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set

import structlog

from kernel.public import Access, BadRequest, NotFound, server_actor

from .models import Granted
from .store import OidcStore

log = structlog.get_logger("caudex.oidc")


class ClaimedRoles:
    """Assigns the roles that `roles` maps the values of a claim to.

    When a value is gone, the roles that it granted are revoked. Roles that an admin assigned stay.
    """

    def __init__(
        self,
        rules: Mapping[str, Sequence[str]],
        store: OidcStore,
        find_access: Callable[[], Access | None],
    ) -> None:
        self._rules = rules
        self._store = store
        self._find_access = find_access

    async def update(self, user_id: str, values: Set[str]) -> None:
        """Update a user's roles; one that cannot be changed is logged."""
        access = self._find_access()
        if access is None or not self._rules:
            return
        due_roles = {_read_role(text) for value in values for text in self._rules.get(value, ())}
        granted_roles = set(await self._store.list_granted(user_id))
        for role in sorted(due_roles - granted_roles, key=str):
            if await _holds(access, user_id, role):
                continue
            assignment = access.assign(server_actor(), role.app_id, user_id, role.role)
            if await _try_change(assignment, role):
                await self._store.remember(user_id, role)
        for role in sorted(granted_roles - due_roles, key=str):
            revocation = access.revoke(server_actor(), role.app_id, user_id, role.role)
            is_revoked = await _try_change(revocation, role)
            if is_revoked or not await _holds(access, user_id, role):
                await self._store.forget(user_id, role)


def _read_role(text: str) -> Granted:
    app_id, _, role = text.partition(":")
    return Granted(app_id, role)


async def _holds(access: Access, user_id: str, role: Granted) -> bool:
    """Whether a user was assigned a role.

    The list of assignments is the source: the effective roles of a core admin hold more.
    """
    try:
        rights = await access.effective(user_id, role.app_id)
        if role.role not in rights.roles:
            return False
        assignments = await access.assignments(role.app_id)
    except NotFound:
        return False
    return any(
        assignment.user_id == user_id and assignment.role == role.role for assignment in assignments
    )


async def _try_change(change: Awaitable[None], role: Granted) -> bool:
    try:
        await change
    except (BadRequest, NotFound) as error:
        log.warning(
            "a role of a claim cannot be changed",
            app=role.app_id,
            role=role.role,
            error=error.message,
        )
        return False
    return True
