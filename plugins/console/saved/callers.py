"""Who may see and change a view."""

from __future__ import annotations

import msgspec

from kernel.public import Access, Actor, limits_of
from plugins.console.models import StoredView


class Caller(msgspec.Struct, frozen=True):
    """Who asks, with the rights on the app that a view is of."""

    user_id: str
    roles: list[str]
    is_admin: bool

    def may_see(self, view: StoredView) -> bool:
        """Whether the caller may see a view."""
        if view.owner_id is None and view.role is None:
            return self.is_admin or bool(self.roles)
        if view.role is not None and (self.is_admin or view.role in self.roles):
            return True
        return view.owner_id == self.user_id

    def may_change(self, view: StoredView) -> bool:
        """Whether the caller may change a view that it sees: those for a role are the admins'."""
        if view.owner_id is None:
            return False
        return view.owner_id == self.user_id or self.is_admin


async def identify(access: Access | None, actor: Actor, app_id: str) -> Caller:
    """Return the caller with its rights on an app; without ACCESS it has none."""
    user_id = actor.user_id or ""
    if access is None:
        return Caller(user_id, [], False)
    rights = await access.effective(user_id, app_id, **limits_of(actor))
    is_admin = await access.is_app_admin(user_id, app_id, **limits_of(actor))
    return Caller(user_id, rights.roles, is_admin)
