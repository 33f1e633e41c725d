"""Decides which accounts a user sees, for providers of IDENTITY."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from kernel.contracts.access import Access, Peers
from kernel.contracts.base import Actor, supports
from kernel.contracts.identity import DirectoryPolicy, MemberView, User, UserView
from kernel.errors import BadRequest

FindUser = Callable[[str], Awaitable[User | None]]
FindUsers = Callable[[Sequence[str] | None], Awaitable[Sequence[User]]]


def app_of(actor: Actor) -> str | None:
    """Return the only app of which a caller sees the users: that of its door, or of its worker."""
    if actor.door is not None:
        return actor.door
    return None if actor.delegation is None else actor.delegation.app_id


def show_users(actor: Actor, users: Sequence[User]) -> list[UserView] | list[MemberView]:
    """Return accounts as a list of them shows them; see `app_of`."""
    if app_of(actor) is None:
        return [user.view for user in users]
    return [
        MemberView(id=user.id, username=user.username, display_name=user.display_name)
        for user in users
    ]


class AccountDirectory:
    """Applies a policy to who sees whom.

    A provider of ACCESS that knows no peers shows only the own account to those who see no others.
    """

    def __init__(self, policy: DirectoryPolicy, access: Callable[[], Access | None]) -> None:
        self._policy = policy
        self._find_access = access

    async def visible(self, actor: Actor) -> frozenset[str] | None:
        """See `Directory.visible`. A worker that acts for no user sees what its admins see."""
        if actor.is_server:
            return None
        if actor.user_id is None:
            return frozenset()
        if self._policy == "all":
            return None
        access = self._find_access()
        if not supports(access, Peers):
            return frozenset({actor.user_id})
        peers = await access.peers(actor.user_id)
        if peers is None:
            return None
        if self._policy != "members":
            return frozenset({actor.user_id})
        return frozenset({actor.user_id, *peers})

    async def find_page(
        self, actor: Actor, after: str | None, find_user: FindUser, find_users: FindUsers
    ) -> list[User]:
        """Return the accounts that a caller may see, as the caller sees them, after one of them.

        `find_users` gets the ids of the visible accounts in order, or None for all. A caller that
        is narrowed to an app (see `app_of`) sees who has a role on it. Raises BadRequest where
        `after` is the id of no visible account.
        """
        visible = await self.visible(actor)
        app_id = app_of(actor)
        if app_id is not None:
            visible = await self._select_members(app_id, visible)
        if after is not None:
            is_visible = visible is None or after.lower() in visible
            if not is_visible or await find_user(after) is None:
                raise BadRequest("after: there is no user with this id")
        ids = None if visible is None else sorted(visible)
        return self.show(actor, await find_users(ids), visible)

    async def _select_members(self, app_id: str, visible: frozenset[str] | None) -> frozenset[str]:
        """Return the visible accounts that have a role on an app."""
        access = self._find_access()
        if access is None:
            return frozenset()
        assignments = await access.assignments(app_id)
        members = frozenset(assignment.user_id for assignment in assignments)
        return members if visible is None else members & visible

    def show(
        self, actor: Actor, users: Sequence[User], visible: frozenset[str] | None
    ) -> list[User]:
        """Return accounts as a caller sees them: in a narrowed directory without other emails."""
        if visible is None:
            return list(users)
        return [user if user.id == actor.user_id else replace(user, email=None) for user in users]
