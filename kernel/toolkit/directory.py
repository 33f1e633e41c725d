"""Decides which accounts a user sees, for providers of IDENTITY."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from kernel.contracts.access import Access, Peers
from kernel.contracts.base import Actor, supports
from kernel.contracts.identity import DirectoryPolicy, User
from kernel.errors import BadRequest

FindUser = Callable[[str], Awaitable[User | None]]
FindUsers = Callable[[Sequence[str] | None], Awaitable[Sequence[User]]]


class AccountDirectory:
    """Applies a policy to who sees whom.

    A provider of ACCESS that knows no peers shows only the own account to those who see no others.
    """

    def __init__(self, policy: DirectoryPolicy, access: Callable[[], Access | None]) -> None:
        self._policy = policy
        self._find_access = access

    async def visible(self, actor: Actor) -> frozenset[str] | None:
        """See `Directory.visible`. A worker that acts for no user sees what its admins see."""
        if self._policy == "all" or actor.user_id is None:
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

        `find_users` gets the ids of the visible accounts in order, or None for all. Raises
        BadRequest where `after` is the id of no visible account.
        """
        visible = await self.visible(actor)
        if after is not None:
            is_visible = visible is None or after.lower() in visible
            if not is_visible or await find_user(after) is None:
                raise BadRequest("after: there is no user with this id")
        ids = None if visible is None else sorted(visible)
        return self.show(actor, await find_users(ids), visible)

    def show(
        self, actor: Actor, users: Sequence[User], visible: frozenset[str] | None
    ) -> list[User]:
        """Return accounts as a caller sees them: in a narrowed directory without other emails."""
        if visible is None:
            return list(users)
        return [user if user.id == actor.user_id else replace(user, email=None) for user in users]
