"""Decides which accounts a user sees, for providers of IDENTITY."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from kernel.contracts.access import Access, Peers
from kernel.contracts.base import Actor, supports
from kernel.contracts.identity import DirectoryPolicy, User


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
        peers = await access.peers(actor.user_id) if supports(access, Peers) else ()
        if peers is None:
            return None
        others = peers if self._policy == "members" else ()
        return frozenset((actor.user_id, *others))

    def show(
        self, actor: Actor, users: Sequence[User], visible: frozenset[str] | None
    ) -> list[User]:
        """Return accounts as a caller sees them: in a narrowed directory without other emails."""
        if visible is None:
            return list(users)
        return [user if user.id == actor.user_id else replace(user, email=None) for user in users]
