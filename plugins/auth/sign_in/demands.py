"""What an account must do before it may do anything else."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Final, Literal

from kernel.public import Access, FactorDemands

Policy = Literal["optional", "admins", "required"]

SET_UP_FACTOR: Final = "second factor must be set up"
CHANGE_PASSWORD: Final = "password change required"
ALLOWED: Final = ("/api/v1/auth/password", "/api/v1/auth/me", "/api/v1/auth/totp")
"""Routes that work while a demand is not met, with those below them. Logout needs no token."""

_BELOW: Final = tuple(f"{route}/" for route in ALLOWED)


class Demands:
    """Decides by the configuration and the user's roles whether a second factor is needed."""

    def __init__(self, policy: Policy, find_access: Callable[[], Access | None]) -> None:
        self._policy = policy
        self._find_access = find_access

    @cached_property
    def _roles(self) -> FactorDemands | None:
        access = self._find_access()
        return access if isinstance(access, FactorDemands) else None

    async def factor(self, user_id: str) -> bool:
        """Whether the user needs a second factor. Raises Unavailable."""
        if self._policy == "required":
            return True
        if self._roles is None:
            return False
        return await self._roles.demands_factor(user_id, of_admins=self._policy == "admins")


def allowed(path: str) -> bool:
    """Whether a route works while a demand is not met."""
    return path in ALLOWED or path.startswith(_BELOW)
